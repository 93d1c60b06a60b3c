"""A Llama forward pass in float32 NumPy, written from the papers: the independent reference of the engine's tests.

One sequence at a time, a plain KV cache, no quantised arithmetic, nothing clever. Arrays say their shape, with
T tokens of this call, P positions so far (T included), E embedding, H query heads, G key/value heads, D head size,
F feed-forward size, V vocabulary.

Sources: Llama (Touvron et al. 2023, arXiv:2302.13971), RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467),
RoPE (Su et al. 2021, arXiv:2104.09864), SwiGLU (Shazeer 2020, arXiv:2002.05202), grouped-query attention
(Ainslie et al. 2023, arXiv:2305.13245), YaRN (Peng et al. 2023, arXiv:2309.00071), the GGUF file format. Qwen2 adds biases, Qwen3 a norm
of each head; both rotate halves of a head.
"""

from dataclasses import dataclass

import gguf
import numpy as np
from gguf.quants import dequantize

F32 = np.float32


@dataclass
class Configuration:
    layers: int
    embedding: int
    heads: int
    kv_heads: int
    head_size: int
    rope_dimensions: int
    rope_base: float
    epsilon: float
    context: int
    halves: bool  # a pair is (i, i + D/2), not (2i, 2i + 1)
    window: int  # latest positions that are attended to, 0 for all
    scaling: str  # none, linear or yarn
    factor: float
    original_context: int
    beta_fast: float
    beta_slow: float
    magnitude: float  # of what is rotated


class Cache:
    """Keys and values of the positions so far; each [layers][P, G, D]."""

    def __init__(self, configuration: Configuration, store=F32):
        empty = np.zeros((0, configuration.kv_heads, configuration.head_size), store)
        self.keys = [empty] * configuration.layers
        self.values = [empty] * configuration.layers
        self.store = store

    @property
    def length(self) -> int:
        return self.keys[0].shape[0]

    def extend(self, layer: int, keys, values):
        """Append [T, G, D] and return all of the layer's keys and values, [P, G, D] each, as float32."""
        self.keys[layer] = np.concatenate([self.keys[layer], keys.astype(self.store)])
        self.values[layer] = np.concatenate([self.values[layer], values.astype(self.store)])
        return self.keys[layer].astype(F32), self.values[layer].astype(F32)


class Llama:
    def __init__(self, path: str):
        reader = gguf.GGUFReader(path)

        def value(key, default=None):
            field = reader.fields.get(key)
            return default if field is None else field.contents()

        architecture = value("general.architecture")
        assert architecture in ("llama", "qwen2", "qwen3"), architecture
        general = value

        def value(key, default=None):
            return general(key.replace("llama.", architecture + "."), default)

        embedding, heads = value("llama.embedding_length"), value("llama.attention.head_count")
        head_size = value("llama.attention.key_length", embedding // heads)
        scaling, factor = value("llama.rope.scaling.type", "none"), value("llama.rope.scaling.factor", 1.0)
        temperature = 0.1 * np.log(factor) + 1 if scaling == "yarn" and factor > 1 else 1.0
        self.configuration = Configuration(
            layers=value("llama.block_count"),
            embedding=embedding,
            heads=heads,
            kv_heads=value("llama.attention.head_count_kv", heads),
            head_size=head_size,
            rope_dimensions=value("llama.rope.dimension_count", head_size),
            rope_base=value("llama.rope.freq_base", 10000.0),
            epsilon=value("llama.attention.layer_norm_rms_epsilon"),
            context=value("llama.context_length"),
            halves=architecture != "llama",
            window=value("llama.attention.sliding_window", 0),
            scaling=scaling,
            factor=factor,
            original_context=value("llama.rope.scaling.original_context_length", value("llama.context_length")),
            beta_fast=value("llama.rope.scaling.yarn_beta_fast", 32.0),
            beta_slow=value("llama.rope.scaling.yarn_beta_slow", 1.0),
            magnitude=temperature * value("llama.rope.scaling.attn_factor", 1.0),
        )
        # A matrix is [outputs, inputs]. Quantised types are widened here, so that either file of the model will do.
        self.weights = {t.name: np.ascontiguousarray(dequantize(t.data, t.tensor_type), F32) for t in reader.tensors}
        self.output = self.weights.get("output.weight", self.weights["token_embd.weight"])  # tied when absent

    def forward(self, tokens, cache: Cache, every_row: bool = False):
        """Extend the cache by `tokens` [T]; give the logits of the last one [V], or of each [T, V]."""
        c, weights = self.configuration, self.weights
        first = cache.length
        positions = np.arange(first, first + len(tokens))
        assert positions[-1] < c.context
        cosine, sine = rope_angles(positions, c, weights.get("rope_freqs.weight"))

        x = weights["token_embd.weight"][tokens]  # [T, E], the residual stream
        for layer in range(c.layers):
            w = lambda name: weights[f"blk.{layer}.{name}.weight"]
            bias = lambda name: weights.get(f"blk.{layer}.{name}.bias", F32(0))
            head_norm = lambda x, name: (
                rms_norm(x, w(name), c.epsilon) if f"blk.{layer}.{name}.weight" in weights else x)

            h = rms_norm(x, w("attn_norm"), c.epsilon)
            queries = (h @ w("attn_q").T + bias("attn_q")).reshape(-1, c.heads, c.head_size)
            keys = (h @ w("attn_k").T + bias("attn_k")).reshape(-1, c.kv_heads, c.head_size)
            values = (h @ w("attn_v").T + bias("attn_v")).reshape(-1, c.kv_heads, c.head_size)
            queries, keys = head_norm(queries, "attn_q_norm"), head_norm(keys, "attn_k_norm")
            queries, keys = rotate(queries, cosine, sine, c.halves), rotate(keys, cosine, sine, c.halves)
            keys, values = cache.extend(layer, keys, values)
            attended = attention(queries, keys, values, positions, c.window).reshape(x.shape[0], -1)
            x = x + attended @ w("attn_output").T + bias("attn_output")

            h = rms_norm(x, w("ffn_norm"), c.epsilon)
            gate, up = h @ w("ffn_gate").T + bias("ffn_gate"), h @ w("ffn_up").T + bias("ffn_up")
            x = x + (silu(gate) * up) @ w("ffn_down").T + bias("ffn_down")

        if not every_row:
            x = x[-1:]
        logits = rms_norm(x, weights["output_norm.weight"], c.epsilon) @ self.output.T
        logits = logits + weights.get("output.bias", F32(0))
        return logits if every_row else logits[0]


def rms_norm(x, weight, epsilon):
    mean_square = np.mean(np.square(x), axis=-1, keepdims=True, dtype=F32)
    return x / np.sqrt(mean_square + F32(epsilon)) * weight


def silu(x):
    return x / (F32(1) + np.exp(-x))


def rope_angles(positions, c: Configuration, divisors=None):
    """Cosine and sine [T, D/2] of position * base^(-2i/D), scaled; the angle in double, since positions make it large.

    `divisors` [D/2] of the frequencies is Llama 3's scaling, as GGUF stores it.
    """
    pairs = np.arange(c.rope_dimensions // 2, dtype=np.float64)
    frequencies = c.rope_base ** (-2 * pairs / c.rope_dimensions)
    if c.scaling == "linear":
        frequencies = frequencies / c.factor
    elif c.scaling == "yarn":
        # The pair that turns `beta` times within the original context; between the two ends lies a ramp.
        def pair(beta):
            turns = c.original_context / (2 * np.pi * beta)
            return c.rope_dimensions * np.log(turns) / (2 * np.log(c.rope_base))

        low = max(np.floor(pair(c.beta_fast)), 0)
        high = min(np.ceil(pair(c.beta_slow)), c.rope_dimensions - 1)
        ramp = np.clip((pairs - low) / max(high - low, 0.001), 0, 1)
        frequencies = ramp * frequencies / c.factor + (1 - ramp) * frequencies
    if divisors is not None:
        frequencies = frequencies / divisors
    angles = positions[:, None] * frequencies[None, :]
    return (c.magnitude * np.cos(angles)).astype(F32), (c.magnitude * np.sin(angles)).astype(F32)


def rotate(x, cosine, sine, halves=False):
    """Rotate [T, heads, D] by pairs: neighbours (2i, 2i + 1), the order in which GGUF's llama keeps the rows, or halves."""
    dimensions = 2 * cosine.shape[-1]
    first = slice(0, dimensions // 2) if halves else slice(0, dimensions, 2)
    second = slice(dimensions // 2, dimensions) if halves else slice(1, dimensions, 2)
    a, b = x[..., first], x[..., second]
    cosine, sine = cosine[:, None, :], sine[:, None, :]
    rotated = x.copy()
    rotated[..., first] = a * cosine - b * sine
    rotated[..., second] = a * sine + b * cosine
    return rotated


def attention(queries, keys, values, positions, window=0):
    """Causal attention: queries [T, H, D], keys and values [P, G, D], positions [T] -> [T, H, D].

    With a window a row sees its own position and the window - 1 before it.
    """
    heads, kv_heads, head_size = queries.shape[1], keys.shape[1], queries.shape[2]
    share = heads // kv_heads  # query heads that read one key/value head
    visible = np.arange(keys.shape[0])[None, :] <= positions[:, None]  # [T, P]
    if window:
        visible &= np.arange(keys.shape[0])[None, :] > positions[:, None] - window
    out = np.empty_like(queries)
    for head in range(heads):
        scores = queries[:, head] @ keys[:, head // share].T / F32(np.sqrt(head_size))  # [T, P]
        scores = np.where(visible, scores, F32(-np.inf))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[:, head] = (scores / scores.sum(axis=-1, keepdims=True)) @ values[:, head // share]
    return out
