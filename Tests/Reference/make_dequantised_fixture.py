#!/usr/bin/env python3
"""Make the fixture of the repacking test: random blocks of every quantised type that the engine runs, and what they stand for.

    python make_dequantised_fixture.py ../LlamaEngineTests/Fixtures/dequantised.blocks

Little-endian, for each type: its id in ggml, rows, columns, bytes of a row (four 32-bit integers), the rows' blocks, and the F32
numbers that PyPI's `gguf` gives for them. Every byte is random, so that all scales and quants occur; the F16 scales are finite, of
both signs, and some are subnormal. Needs requirements.txt.
"""

import argparse
import struct

import gguf
import numpy as np
from gguf.quants import dequantize

ROWS, COLUMNS = 5, 512
# Where the F16 fields of a block stand.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_XS": [0],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fixture")
    arguments = parser.parse_args()
    random = np.random.default_rng(256)
    with open(arguments.fixture, "wb") as file:
        for name, halves in HALVES.items():
            kind = gguf.GGMLQuantizationType[name]
            columns, size = gguf.GGML_QUANT_SIZES[kind]
            blocks = random.integers(0, 256, (ROWS * COLUMNS // columns, size), np.uint8)
            for at in halves:
                blocks[:, at + 1] &= 0xBF  # the exponent's highest bit: below 2, and no infinity
                blocks[::7, at + 1] &= 0x83  # subnormal
            rows = blocks.reshape(ROWS, -1)
            file.write(struct.pack("<4I", kind, ROWS, COLUMNS, rows.shape[1]))
            file.write(rows.tobytes())
            file.write(dequantize(rows, kind).astype("<f4").tobytes())


if __name__ == "__main__":
    main()
