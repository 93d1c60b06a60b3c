"""Weights that a test can make again from a tensor's name and shape, so that a fixture needs to keep only logits.

Every number is exact in BF16, F16 and F32. The same in Swift: Tests/LlamaEngineTests/Model/Support/MadeWeights.swift.
"""

import numpy as np


def made(name: str, shape) -> np.ndarray:
    """F32 numbers of `shape`: splitmix64 from the FNV-1a hash of the name, 8 bits of each (4 for norms)."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    if "norm" in name:  # around 1
        values = 1 + ((z >> np.uint64(60)).astype(np.float64) - 8) / 32
    else:
        values = ((z >> np.uint64(56)).astype(np.float64) - 128) / 128
        values *= 1 if "emb" in name and len(shape) > 1 else 0.25
    return values.astype(np.float32).reshape(shape)
