#!/usr/bin/env python3
"""Perplexity of a text with llama.cpp's engine, computed as its perplexity tool does by default.

    python perplexity.py MODEL.gguf ../LlamaEngineTests/Fixtures/perplexity.txt [--context 512]

The whole text is tokenized at once (special tokens' names are plain text; BOS in front where the model adds one) and
cut into chunks of `context` tokens, a remainder dropped. Every chunk starts with an empty context, its first token
replaced by BOS where the model adds one. The first half of a chunk is only read; from its middle on, each token but the
first of them is scored. The result is exp of the mean of -ln p. Prints {"perplexity", "tokens"}. With --numpy the reference in
numpy_llama.py computes the logits instead of llama.cpp. Needs requirements-llamacpp.txt.
"""

import argparse
import json

import numpy as np

import numpy_llama
from llamacpp import LlamaCpp


def negative_log_likelihoods(logits, targets):
    """logits [N, V], targets [N] -> [N], in double."""
    logits = logits.astype(np.float64)
    largest = logits.max(axis=1)
    log_sum = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return log_sum - logits[np.arange(len(targets)), targets]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--numpy", action="store_true", help="compute with numpy_llama.py")
    arguments = parser.parse_args()
    context = arguments.context
    scored = list(range(context // 2, context - 1))  # rows whose next token is scored

    engine = LlamaCpp(arguments.model, context=context, vocabulary_only=arguments.numpy)
    with open(arguments.text, encoding="utf-8", newline="") as file:
        ids = engine.tokenize(file.read(), add_special=True)
    if arguments.numpy:
        model = numpy_llama.Llama(arguments.model)
        compute = lambda chunk: model.forward(chunk, numpy_llama.Cache(model.configuration), every_row=True)[scored]
    else:
        def compute(chunk):
            engine.clear()
            return engine.decode(chunk, 0, scored)

    total, count = 0.0, 0
    for first in range(0, len(ids) - context + 1, context):
        chunk = ids[first : first + context]
        targets = np.array(chunk[context // 2 + 1 :])
        if engine.adds_bos:
            chunk = [engine.bos] + chunk[1:]
        total += negative_log_likelihoods(compute(chunk), targets).sum()
        count += len(targets)
    print(json.dumps({"perplexity": float(np.exp(total / count)), "tokens": count}))


if __name__ == "__main__":
    main()
