"""llama.cpp's own CPU engine and tokenizer through llama-cpp-python's low-level API.

Settings that change the arithmetic are spelled out: KV in F16, no flash attention unless asked for, nothing offloaded.
"""

import llama_cpp
import numpy as np


@llama_cpp.llama_log_callback
def _be_quiet(level, text, data):
    pass


class LlamaCpp:
    def __init__(
        self,
        path: str,
        context: int = 2048,
        vocabulary_only: bool = False,
        threads: int = 1,
        sequences: int = 1,
        flash_attention: bool = False,
    ):
        """`context` is shared evenly by the sequences."""
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
            self.context = self._make_context(context, threads, sequences, flash_attention)
            self.batch = llama_cpp.llama_batch_init(context, 0, 1)

    def close(self):
        """Frees everything; the object is of no use afterwards."""
        if self.context:
            llama_cpp.llama_batch_free(self.batch)
            llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)
        self.model = self.context = None

    def _make_context(self, context: int, threads: int, sequences: int, flash_attention: bool):
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = context
        parameters.n_batch = context
        parameters.n_ubatch = 512
        parameters.n_seq_max = sequences
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.type_k = parameters.type_v = llama_cpp.GGML_TYPE_F16
        parameters.flash_attn_type = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash_attention else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
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
        self._run([(token, first + i, 0, i in wanted) for i, token in enumerate(tokens)])
        return np.stack([self._logits(row) for row in rows])

    def extend(self, rows: list[tuple[int, int, int, bool]]) -> list[int]:
        """Run rows of (token, position, sequence, wants logits); give the best token after each that wants them."""
        self._run(rows)
        return [int(self._logits(i).argmax()) for i, row in enumerate(rows) if row[3]]

    def _run(self, rows):
        self.batch.n_tokens = len(rows)
        for i, (token, position, sequence, wants_logits) in enumerate(rows):
            self.batch.token[i] = token
            self.batch.pos[i] = position
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = sequence
            self.batch.logits[i] = wants_logits
        status = llama_cpp.llama_decode(self.context, self.batch)
        if status != 0:
            raise RuntimeError(f"llama_decode: {status}")

    def _logits(self, row):
        """A view [V] that the next run overwrites."""
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, row), (self.vocabulary,))


def quantize(source: str, destination: str, form: str):
    """Rewrite a GGUF file in one of llama.cpp's mixtures, named as its LLAMA_FTYPE_MOSTLY_* constants, from any other form."""
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{form}")
    parameters.allow_requantize = True
    llama_cpp.llama_log_set(_be_quiet, None)
    if llama_cpp.llama_model_quantize(source.encode(), destination.encode(), parameters) != 0:
        raise RuntimeError(f"llama.cpp cannot write {source} as {form}")


VERSION = f"llama-cpp-python {llama_cpp.__version__}"
