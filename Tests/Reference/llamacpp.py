"""llama.cpp's own CPU engine and tokenizer through llama-cpp-python's low-level API.

Settings that change the arithmetic are spelled out: KV in F16, no flash attention, nothing offloaded.
"""

import ctypes

import llama_cpp
import numpy as np


@llama_cpp.llama_log_callback
def _be_quiet(level, text, data):
    pass


class LlamaCpp:
    def __init__(self, path: str, context: int = 2048, vocabulary_only: bool = False, threads: int = 1):
        llama_cpp.llama_log_set(_be_quiet, None)
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = vocabulary_only
        parameters.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.context_size = context
        self.context = None
        if not vocabulary_only:
            self.context = self._make_context(context, threads)
            self.batch = llama_cpp.llama_batch_init(context, 0, 1)

    def _make_context(self, context: int, threads: int):
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = context
        parameters.n_batch = context
        parameters.n_ubatch = 512
        parameters.n_seq_max = 1
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.type_k = parameters.type_v = llama_cpp.GGML_TYPE_F16
        parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.offload_kqv = False
        made = llama_cpp.llama_init_from_model(self.model, parameters)
        if not made:
            raise RuntimeError("llama.cpp cannot make a context")
        return made

    @property
    def adds_bos(self) -> bool:
        return bool(llama_cpp.llama_vocab_get_add_bos(self.vocab))

    @property
    def bos(self) -> int:
        return llama_cpp.llama_vocab_bos(self.vocab)

    def tokenize(self, text: str, special: bool = False, add_special: bool = False) -> list[int]:
        data = text.encode("utf-8")
        room = len(data) + 8
        ids = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), ids, room, add_special, special)
        if count < 0:
            raise RuntimeError(f"llama_tokenize: {count}")
        return list(ids[:count])

    def clear(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def decode(self, tokens: list[int], first: int, rows: list[int] | None = None):
        """Extend the sequence, whose next position is `first`, by `tokens`; give the logits [rows, V].

        The last row's by default.
        """
        rows = [len(tokens) - 1] if rows is None else rows
        wanted = set(rows)
        self.batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            self.batch.token[i] = token
            self.batch.pos[i] = first + i
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = 0
            self.batch.logits[i] = i in wanted
        status = llama_cpp.llama_decode(self.context, self.batch)
        if status != 0:
            raise RuntimeError(f"llama_decode: {status}")
        out = np.empty((len(rows), self.vocabulary), np.float32)
        for k, row in enumerate(rows):
            pointer = llama_cpp.llama_get_logits_ith(self.context, row)
            ctypes.memmove(out[k].ctypes.data, pointer, 4 * self.vocabulary)
        return out


VERSION = f"llama-cpp-python {llama_cpp.__version__}"
