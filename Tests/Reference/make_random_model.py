#!/usr/bin/env python3
"""Make a llama model of 1.3 G random weights, for measuring what size does to speed.

    python make_random_model.py SmolLM2-135M-Instruct.Q4_1.gguf random-1.3B.Q4_1.gguf

Matrices are Q4_1 with weights of about zero mean and a variance of 1 / columns, so that activations stay in range; the
tied token embedding is Q8_0, as in the default model. Tokenizer and other metadata are the given model's. The same seed gives the
same file. Needs `gguf` and `numpy` from PyPI.
"""

import argparse
import os

import gguf
import numpy as np

from make_f32_model import copy_metadata

LAYERS, EMBEDDING, FEED_FORWARD, HEADS, KV_HEADS = 27, 2048, 5632, 32, 8
OWN_KEYS = {
    "llama.block_count": LAYERS,
    "llama.embedding_length": EMBEDDING,
    "llama.feed_forward_length": FEED_FORWARD,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS,
    "llama.rope.dimension_count": EMBEDDING // HEADS,
}


def q4_1(random, rows, columns):
    """Raw blocks of 32: scale, minimum (F16), 16 bytes of two quants. A uniform quant of 0...15 varies by 4.61."""
    blocks = np.empty((rows, columns // 32, 20), np.uint8)
    blocks[:, :, 4:] = random.integers(0, 256, (rows, columns // 32, 16), np.uint8)
    scale = np.float16(columns**-0.5 / 4.61)
    blocks[:, :, :4] = np.array([scale, -7.5 * scale], np.float16).view(np.uint8)
    return blocks.reshape(rows, -1)


def q8_0(random, rows, columns):
    """Raw blocks of 32: scale (F16), 32 quants."""
    blocks = np.empty((rows, columns // 32, 34), np.uint8)
    blocks[:, :, 2:] = random.integers(-127, 128, (rows, columns // 32, 32), np.int8).view(np.uint8)
    blocks[:, :, :2] = np.array([1 / 73 / 8], np.float16).view(np.uint8)
    return blocks.reshape(rows, -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metadata")
    parser.add_argument("output")
    arguments = parser.parse_args()
    reader = gguf.GGUFReader(arguments.metadata)
    vocabulary = next(int(t.shape[1]) for t in reader.tensors if t.name == "token_embd.weight")
    partial = f"{arguments.output}.partial-{os.getpid()}"
    writer = gguf.GGUFWriter(partial, reader.fields[gguf.Keys.General.ARCHITECTURE].contents())
    copy_metadata(reader, writer, OWN_KEYS)
    random = np.random.default_rng(1)
    head_size = EMBEDDING // HEADS
    shapes = {
        "attn_q": (EMBEDDING, EMBEDDING), "attn_k": (KV_HEADS * head_size, EMBEDDING),
        "attn_v": (KV_HEADS * head_size, EMBEDDING), "attn_output": (EMBEDDING, EMBEDDING),
        "ffn_gate": (FEED_FORWARD, EMBEDDING), "ffn_up": (FEED_FORWARD, EMBEDDING), "ffn_down": (EMBEDDING, FEED_FORWARD),
    }
    ones = np.ones(EMBEDDING, np.float32)
    writer.add_tensor("token_embd.weight", q8_0(random, vocabulary, EMBEDDING), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output_norm.weight", ones)
    for layer in range(LAYERS):
        for name, (rows, columns) in shapes.items():
            data = q4_1(random, rows, columns)
            writer.add_tensor(f"blk.{layer}.{name}.weight", data, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", ones)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(partial, arguments.output)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


if __name__ == "__main__":
    main()
