#!/usr/bin/env python3
"""Make the fixture of the full-precision golden test: greedy tokens and logits of the NumPy reference on the F32 file.

    python make_greedy_fixture.py MODEL.F32.gguf ../LlamaEngineTests/Fixtures/greedy-f32.logits [--full DUMP]

Format: logits_fixture.py. --full also writes the whole logits. Needs requirements-llamacpp.txt (for the prompts' ids).
"""

import argparse

import numpy as np

import logits_fixture
import numpy_llama
from llamacpp import LlamaCpp
from prompts import PROMPTS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("fixture")
    parser.add_argument("--full", metavar="DUMP", help="write the whole logits, float32 [positions, vocabulary]")
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--top", type=int, default=8)
    parser.add_argument("--sample", type=int, default=256)
    arguments = parser.parse_args()

    tokenizer = LlamaCpp(arguments.model, vocabulary_only=True)
    model = numpy_llama.Llama(arguments.model)
    writer = logits_fixture.Writer(
        model.output.shape[0], arguments.steps, arguments.top, arguments.sample,
        f"numpy_llama.py, float32, NumPy {np.__version__}", arguments.full)

    for prompt in PROMPTS:
        ids = tokenizer.tokenize(prompt.text, special=prompt.special)
        writer.begin_prompt(prompt.name, prompt.text, prompt.special, ids)
        cache = numpy_llama.Cache(model.configuration)
        tokens, gaps = ids, []
        for _ in range(arguments.steps):
            logits = model.forward(tokens, cache)
            first, second = np.partition(logits, -2)[-1:-3:-1]
            gaps.append(first - second)
            tokens = [writer.add_step(logits)]
        print(f"{prompt.name}: {len(ids)} prompt tokens, smallest gap {min(gaps):.4f}", flush=True)
    writer.save(arguments.fixture)


if __name__ == "__main__":
    main()
