"""Logits of small models of every architecture, by programs that share no code with the engine: `transformers` for folders of
Hugging Face's form, llama.cpp for GGUF files.

    python make_architecture_fixture.py transformers ../LlamaEngineTests/Fixtures/transformers.json
    python make_architecture_fixture.py llamacpp ../LlamaEngineTests/Fixtures/architectures-llamacpp.json

The first needs PyPI's torch and transformers, the second llama-cpp-python and gguf. Weights are made (made_weights.py), so a case holds
what the model file says besides them (config.json as `transformers` saves it, or GGUF metadata), the names, shapes and types
of the tensors, tokens, and the logits of some rows.
"""

import json
import sys
import tempfile

import numpy as np

from made_weights import made

TOKENS = np.random.Generator(np.random.PCG64(20240229)).integers(0, 96, 60).tolist()
ROWS = [0, 1, 7, 19, 20, 33, 47, 59]


def case(name: str, logits, **rest):
    assert np.isfinite(logits).all()
    print(name, "largest logit", float(np.abs(logits).max()))
    return {"name": name, **rest, "logits": [[float(f"{x:.6g}") for x in logits[row]] for row in ROWS]}


def transformers_cases():
    import torch
    from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config,
                              Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

    small = dict(
        vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128)
    llama3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=32)
    yarn = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
    linear = dict(rope_type="linear", rope_theta=10000.0, factor=4.0)
    llama, mistral = (LlamaConfig, LlamaForCausalLM), (MistralConfig, MistralForCausalLM)
    qwen2, qwen3 = (Qwen2Config, Qwen2ForCausalLM), (Qwen3Config, Qwen3ForCausalLM)
    models = [
        ("llama", "F32", llama, dict(head_dim=32, tie_word_embeddings=True)),
        ("llama, biases", "BF16", llama, dict(attention_bias=True)),
        ("llama, linear", "F16", llama, dict(head_dim=48, rope_parameters=linear)),
        ("llama 3", "BF16", llama, dict(head_dim=32, rope_parameters=llama3)),
        ("mistral", "F32", mistral, dict(head_dim=32, sliding_window=None)),
        ("mistral, window", "F32", mistral, dict(head_dim=32, sliding_window=20)),
        ("qwen2", "BF16", qwen2, {}),
        ("qwen2, yarn", "F32", qwen2, dict(rope_parameters=yarn)),
        ("qwen3", "F16", qwen3, dict(head_dim=32, tie_word_embeddings=True)),
        ("qwen3, yarn", "F32", qwen3, dict(
            head_dim=64, rope_parameters=dict(beta_fast=16.0, beta_slow=2.0, attention_factor=1.3, **yarn))),
    ]
    for name, dtype, (configuration, kind), settings in models:
        model = kind(configuration(**{**small, **settings})).eval()
        tensors = {}
        with torch.no_grad():
            for tensor, parameter in model.named_parameters():  # a tied matrix once
                parameter.copy_(torch.from_numpy(made(tensor, tuple(parameter.shape))))
                tensors[tensor] = list(parameter.shape)
            logits = model(torch.tensor([TOKENS]), use_cache=False).logits[0].numpy()
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            saved = json.load(open(f"{folder}/config.json"))
        yield case(name, logits, config=saved, type=dtype, tensors=tensors)


def llamacpp_cases():
    import gguf
    from llamacpp import LlamaCpp

    qkv = ["attn_q", "attn_k", "attn_v"]
    yarn = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32}
    models = [
        ("llama", "llama", 16, [], {}),
        ("llama, biases", "llama", 32, qkv + ["attn_output"], {}),
        ("llama, linear", "llama", 32, [], {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}),
        ("llama, yarn", "llama", 32, [], {**yarn, "rope.scaling.attn_factor": 1.25}),
        ("qwen2", "qwen2", 16, qkv, {}),
        ("qwen2, yarn", "qwen2", 16, qkv, {**yarn, "rope.freq_base": 1e6}),
        ("qwen3", "qwen3", 32, [], {}),
        ("qwen3, yarn", "qwen3", 64, [], yarn),
    ]
    for name, architecture, head, biases, settings in models:
        metadata = {
            "block_count": 2, "embedding_length": 64, "feed_forward_length": 96, "attention.head_count": 4,
            "attention.head_count_kv": 2, "attention.key_length": head, "attention.value_length": head,
            "context_length": 128, "rope.dimension_count": head, "rope.freq_base": 10000.0,
            "attention.layer_norm_rms_epsilon": 1e-5, **settings}
        tensors = {"token_embd.weight": [96, 64]}
        for layer in range(2):
            block = {
                "attn_norm": [64], "attn_q": [4 * head, 64], "attn_k": [2 * head, 64], "attn_v": [2 * head, 64],
                "attn_output": [64, 4 * head], "ffn_norm": [64], "ffn_gate": [96, 64], "ffn_up": [96, 64],
                "ffn_down": [64, 96]}
            if architecture == "qwen3":
                block |= {"attn_q_norm": [head], "attn_k_norm": [head]}
            tensors |= {f"blk.{layer}.{key}.weight": shape for key, shape in block.items()}
            tensors |= {f"blk.{layer}.{key}.bias": block[key][:1] for key in biases}
        tensors |= {"output_norm.weight": [64], "output.weight": [96, 64]}
        with tempfile.TemporaryDirectory() as folder:
            writer = gguf.GGUFWriter(f"{folder}/model.gguf", architecture)
            for key, value in metadata.items():
                add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}[type(value)]
                add(f"{architecture}.{key}", value)
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre("gpt-2")
            writer.add_token_list([f"t{i}" for i in range(96)])
            writer.add_token_merges(["t 1"])
            for key, shape in tensors.items():
                writer.add_tensor(key, made(key, shape))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            logits = LlamaCpp(f"{folder}/model.gguf", context=128).decode(TOKENS, 0, list(range(len(TOKENS))))
        yield case(name, logits, architecture=architecture, metadata=metadata, type="F32", tensors=tensors)


if __name__ == "__main__":
    makers = {"transformers": transformers_cases, "llamacpp": llamacpp_cases}
    fixture = {"made_by": sys.argv[1], "tokens": TOKENS, "rows": ROWS, "cases": list(makers[sys.argv[1]]())}
    with open(sys.argv[2], "w") as file:
        json.dump(fixture, file, separators=(",", ":"))
        file.write("\n")
