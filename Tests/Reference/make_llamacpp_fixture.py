#!/usr/bin/env python3
"""Make the fixture of the quantised golden test: llama.cpp's greedy tokens and logits on the quantised file.

    python make_llamacpp_fixture.py MODEL.Q4_1.gguf ../LlamaEngineTests/Fixtures/llamacpp-q4_1.logits [--full DUMP]

Format: logits_fixture.py. --full also writes the whole logits. Needs requirements-llamacpp.txt.
"""

import argparse

import logits_fixture
from llamacpp import VERSION, LlamaCpp
from prompts import PROMPTS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("fixture")
    parser.add_argument("--full", metavar="DUMP", help="write the whole logits, float32 [positions, vocabulary]")
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--top", type=int, default=8)
    parser.add_argument("--sample", type=int, default=512)
    arguments = parser.parse_args()

    engine = LlamaCpp(arguments.model)
    writer = logits_fixture.Writer(
        engine.vocabulary, arguments.steps, arguments.top, arguments.sample, VERSION, arguments.full)
    for prompt in PROMPTS:
        ids = engine.tokenize(prompt.text, special=prompt.special)
        writer.begin_prompt(prompt.name, prompt.text, prompt.special, ids)
        engine.clear()
        tokens, position = ids, 0
        for _ in range(arguments.steps):
            logits = engine.decode(tokens, position)[0]
            position += len(tokens)
            tokens = [writer.add_step(logits)]
        print(f"{prompt.name}: {len(ids)} prompt tokens", flush=True)
    writer.save(arguments.fixture)


if __name__ == "__main__":
    main()
