#!/usr/bin/env python3
"""Compare the ids of `inference-node tokenize` with llama.cpp's on the texts of the fixtures and on hostile ones.

    python compare_tokenizer.py INFERENCE_NODE VOCABULARY.gguf...

The public vocabularies of llama.cpp (models/ggml-vocab-*.gguf) are in the source package of llama-cpp-python at PyPI.
Needs requirements-llamacpp.txt.
"""

import argparse
import json
import random
import subprocess
import unicodedata

from llamacpp import LlamaCpp
from tokenizer_lines import plain_lines

PIECES = [
    " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\x85", "\x0b", "a", "'", "1", ".", "\u0301", "É", "é", "ñ",
    "日", "’", "'s", "'LL", "ſ", "▁", "/", "<s>", "</s>", "<0x0A>", "[INST]",
]


def hostile_lines() -> list[str]:
    """Scalars of every general category, mixtures of what patterns tell apart, long runs."""
    generator = random.Random(7)
    categories: dict[str, list[str]] = {}
    for value in range(0x110000):
        if not 0xD800 <= value < 0xE000:
            categories.setdefault(unicodedata.category(chr(value)), []).append(chr(value))
    names = sorted(categories)
    lines = ["".join(generator.choice(categories[name]) for _ in range(6)) for name in names for _ in range(12)]
    for _ in range(1500):
        lines.append("".join(generator.choice(categories[generator.choice(names)]) for _ in range(generator.randint(1, 14))))
    for _ in range(2500):
        lines.append("".join(generator.choice(PIECES) for _ in range(generator.randint(1, 12))))
    for count in (1, 2, 3, 5, 17, 100, 1000):
        lines += [" " * count + "x", "x" + " " * count, "\r\n" * count, "\n" * count + " ", "▁" * count, "a▁" * count]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("node")
    parser.add_argument("vocabularies", nargs="+")
    arguments = parser.parse_args()
    lines = list(dict.fromkeys(plain_lines() + hostile_lines()))
    text = "".join(json.dumps(line) + "\n" for line in lines)
    differences = 0
    for path in arguments.vocabularies:
        reference = LlamaCpp(path, vocabulary_only=True)
        command = [arguments.node, "tokenize", "--lines", "--model", path]
        output = subprocess.run(command, input=text, capture_output=True, text=True)
        if output.returncode:
            print(f"{path}: {output.stderr.strip()}")
            continue
        ours = [json.loads(line) for line in output.stdout.splitlines()]
        wrong = [line for line, ids in zip(lines, ours, strict=True) if ids != reference.tokenize(line)]
        differences += len(wrong)
        print(f"{path}: {len(lines)} lines, {len(wrong)} differ", *map(ascii, wrong[:5]))
    raise SystemExit(differences > 0)


if __name__ == "__main__":
    main()
