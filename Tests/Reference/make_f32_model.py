#!/usr/bin/env python3
"""Make a full-precision twin of a quantised GGUF file: every tensor dequantised to F32, the metadata kept.

    python make_f32_model.py SmolLM2-135M-Instruct.Q4_1.gguf SmolLM2-135M-Instruct.F32.gguf

The twin and the original mean the same function; what separates an engine that runs the twin from another one
is the order of floating-point additions and nothing else, so that tests can hold it to tight bounds.

The output appears under its name only when it is whole. An output made earlier from the same bytes is kept.
Needs `gguf` and `numpy` from PyPI.
"""

import argparse
import hashlib
import os
import sys

import gguf
import numpy as np
from gguf.quants import dequantize

# Holds the SHA-256 of the file the twin was made from; written early in the file, so that a look at its head is enough.
SOURCE_KEY = "switchboard.dequantised_from.sha256"
HEAD_BYTES = 4096


def sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_current(path: str, source_digest: str) -> bool:
    try:
        with open(path, "rb") as file:
            return source_digest.encode() in file.read(HEAD_BYTES)
    except FileNotFoundError:
        return False


def copy_metadata(reader: gguf.GGUFReader, writer: gguf.GGUFWriter, replaced: dict) -> None:
    """Copy every key but the architecture, with the values of `replaced` in place of the reader's."""
    for key, field in reader.fields.items():
        # GGUF.* are the header's own numbers; the writer has written the architecture already.
        if key.startswith("GGUF.") or key == gguf.Keys.General.ARCHITECTURE:
            continue
        kind = field.types[0]
        element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, replaced.get(key, field.contents()), kind, sub_type=element)


def make_twin(source: str, output: str, digest: str) -> None:
    reader = gguf.GGUFReader(source)
    architecture = reader.fields[gguf.Keys.General.ARCHITECTURE].contents()
    partial = f"{output}.partial-{os.getpid()}"
    try:
        writer = gguf.GGUFWriter(partial, architecture)
        writer.add_string(SOURCE_KEY, digest)
        copy_metadata(reader, writer, {gguf.Keys.General.FILE_TYPE: int(gguf.LlamaFileType.ALL_F32)})
        for tensor in reader.tensors:
            # The reader lists dimensions fastest first, as the file does; NumPy and the writer want the reverse.
            shape = [int(n) for n in reversed(tensor.shape)]
            writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), 4 * int(np.prod(shape)))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in reader.tensors:  # one at a time: the whole twin never lies in memory
            values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
            writer.write_tensor_data(np.ascontiguousarray(values))
        writer.close()
        os.replace(partial, output)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="quantised GGUF file")
    parser.add_argument("output", help="F32 GGUF file to make")
    parser.add_argument("--force", action="store_true", help="make it again even when it is current")
    arguments = parser.parse_args()

    if not os.path.isfile(arguments.source):
        print(f"make_f32_model: no such file: {arguments.source}", file=sys.stderr)
        return 1
    digest = sha256(arguments.source)
    if not arguments.force and is_current(arguments.output, digest):
        return 0
    make_twin(arguments.source, arguments.output, digest)
    print(f"made {arguments.output} ({os.path.getsize(arguments.output) / 1e6:.0f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
