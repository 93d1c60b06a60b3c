#!/usr/bin/env python3
"""Quantise the model's F32 twin with llama.cpp, for measurements of perplexity and speed; nothing of it is committed.

    python make_quantised_models.py SmolLM2-135M-Instruct.F32.gguf OUTPUT_FOLDER Q4_K_M Q5_K_M Q3_K_M Q2_K IQ4_XS [--pad]

Rows of 576 numbers are no whole super-blocks of 256: llama.cpp gives those tensors Q5_0, Q5_1, Q8_0 or IQ4_NL instead. With --pad the
model is widened to rows of 768 first, so that every matrix gets its K type. The widened model computes the same function: the new
columns are zero, the norms' weights and epsilon make up for the longer mean.

Needs requirements-llamacpp.txt.
"""

import argparse
import os

import gguf
import llama_cpp
import numpy as np

FTYPES = {name.removeprefix("LLAMA_FTYPE_MOSTLY_"): value for name, value in vars(llama_cpp).items()
          if name.startswith("LLAMA_FTYPE_MOSTLY_")}


def widened(name: str, values: np.ndarray, old: int, new: int) -> np.ndarray:
    """values of a matrix [outputs, inputs] or of a norm [old]; every dimension of the residual stream or of the heads grows."""
    if values.ndim == 1:
        return np.pad(values * np.float32(np.sqrt(old / new)), (0, new - old))
    heads = {"attn_q": (1, 0), "attn_k": (1, 0), "attn_v": (1, 0), "attn_output": (1, 1)}
    outputs, inputs = values.shape
    part = name.split(".")[-2]
    grown_outputs = outputs * new // old if part in heads else new if part == "ffn_down" else outputs
    grown_inputs = new if inputs == old else inputs
    return np.pad(values, ((0, grown_outputs - outputs), (0, grown_inputs - inputs)))


def pad(source: str, output: str, new: int) -> None:
    reader = gguf.GGUFReader(source)
    architecture = reader.fields[gguf.Keys.General.ARCHITECTURE].contents()
    old = reader.fields[f"{architecture}.embedding_length"].contents()
    writer = gguf.GGUFWriter(output, architecture)
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == gguf.Keys.General.ARCHITECTURE:
            continue
        kind, value = field.types[0], field.contents()
        element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        if key.endswith((".embedding_length", ".attention.head_count", ".attention.head_count_kv")):
            value = value * new // old
        if key.endswith(".layer_norm_rms_epsilon"):
            value = value * old / new
        writer.add_key_value(key, value, kind, sub_type=element)
    for tensor in reader.tensors:
        values = np.asarray(tensor.data, np.float32).reshape([int(n) for n in reversed(tensor.shape)])
        writer.add_tensor(tensor.name, widened(tensor.name, values, old, new))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@llama_cpp.llama_log_callback
def be_quiet(level, text, data):
    pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="the F32 file")
    parser.add_argument("folder")
    parser.add_argument("types", nargs="+", choices=sorted(FTYPES), metavar="TYPE")
    parser.add_argument("--pad", action="store_true", help="widen rows of 576 numbers to 768")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    llama_cpp.llama_log_set(be_quiet, None)
    os.makedirs(arguments.folder, exist_ok=True)
    stem, source = os.path.basename(arguments.source).removesuffix(".F32.gguf"), arguments.source
    if arguments.pad:
        stem += "-padded"
        source = os.path.join(arguments.folder, f"{stem}.F32.gguf")
        if not os.path.exists(source):
            pad(arguments.source, source + ".partial", 768)
            os.replace(source + ".partial", source)
    for name in arguments.types:
        output = os.path.join(arguments.folder, f"{stem}.{name}.gguf")
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype = FTYPES[name]
        parameters.nthread = arguments.threads
        if llama_cpp.llama_model_quantize(source.encode(), output.encode(), parameters) != 0:
            raise SystemExit(f"llama.cpp cannot make {output}")
        kinds = {}
        for tensor in gguf.GGUFReader(output).tensors:
            kinds[tensor.tensor_type.name] = kinds.get(tensor.tensor_type.name, 0) + 1
        print(f"{output}: {os.path.getsize(output) / 1e6:.1f} MB, {kinds}", flush=True)


if __name__ == "__main__":
    main()
