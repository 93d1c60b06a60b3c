#!/usr/bin/env python3
"""Make the tokenizer fixtures: varied texts with the ids llama.cpp gives them, one JSON object {"text", "ids"} a line.

    python make_tokenizer_fixture.py MODEL.gguf ../ModelFileTests/Fixtures

    tokenizer-smollm2.jsonl           special tokens' names are plain text
    tokenizer-smollm2-special.jsonl   special tokens' names are special tokens
    llama-bpe.vocabulary              a GGUF file without tensors: a small vocabulary with the llama-bpe pre-tokenizer
    tokenizer-llama-bpe.jsonl         the same plain texts in that vocabulary
    llama-spm.vocabulary              the pieces of pieces.tokenizer.json as a SentencePiece vocabulary
    tokenizer-llama-spm.jsonl         the ids alone: of the same texts, then of special-texts.json with control tokens
                                      parsed and the begin token added

No model with the llama-bpe pre-tokenizer is at hand, so its vocabulary is made here: the 256 bytes, the results of the
model's first merges, and some words that no merges lead to (llama-bpe takes a word that is in the vocabulary whole).
Needs requirements-llamacpp.txt.
"""

import argparse
import json
import pathlib

import gguf

from llamacpp import LlamaCpp
from tokenizer_lines import plain_lines, special_lines

MERGES = 1200
UNMERGED_WORDS = [
    "Ġharbour", "123", "ĠPLEASE", "'ll", "'LL", "supercalifragilisticexpialidocious", "ĠSwitchboard", "ä½łå¥½",
]
CONTROL_NAMES = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]


def write_lines(path: pathlib.Path, tokenizer: LlamaCpp, lines: list[str], special: bool):
    with open(path, "w", encoding="ascii", newline="\n") as file:
        for line in lines:
            ids = tokenizer.tokenize(line, special=special)
            file.write(json.dumps({"text": line, "ids": ids}, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(lines)} lines")


def byte_symbols() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in the order of the bytes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols, spare = [], 0x100
    for byte in range(256):
        symbols.append(chr(byte if byte in printable else spare))
        spare += byte not in printable
    return symbols


def make_llama_bpe_vocabulary(model: str, path: pathlib.Path):
    fields = gguf.GGUFReader(model).fields
    merges = fields[gguf.Keys.Tokenizer.MERGES].contents()[:MERGES]
    words = list(dict.fromkeys(byte_symbols() + [merge.replace(" ", "") for merge in merges] + UNMERGED_WORDS))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("llama-bpe vocabulary for tests")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(words + CONTROL_NAMES)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(words) + [gguf.TokenType.CONTROL] * len(CONTROL_NAMES))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(len(words))
    writer.add_eos_token_id(len(words) + 1)
    writer.add_eot_token_id(len(words) + 2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def make_llama_spm_vocabulary(pieces: pathlib.Path, path: pathlib.Path):
    """The score of a piece is its place: SentencePiece merges the pair of the best score first."""
    contents = json.loads(pieces.read_text(encoding="utf-8"))
    kinds = {token: gguf.TokenType.NORMAL for token in contents["model"]["vocab"]}
    for token in kinds:
        if len(token) == 6 and token.startswith("<0x"):
            kinds[token] = gguf.TokenType.BYTE
    for token in contents["added_tokens"]:
        kinds[token["content"]] = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
    kinds["<unk>"] = gguf.TokenType.UNKNOWN
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("llama-spm vocabulary for tests")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(list(kinds))
    writer.add_token_scores([0.0 if kind != gguf.TokenType.NORMAL else float(-i) for i, kind in enumerate(kinds.values())])
    writer.add_token_types(list(kinds.values()))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def write_ids(path: pathlib.Path, tokenizer: LlamaCpp, plain: list[str], special: list[str]):
    with open(path, "w", encoding="ascii", newline="\n") as file:
        for text in plain:
            file.write(json.dumps(tokenizer.tokenize(text), separators=(",", ":")) + "\n")
        for text in special:
            file.write(json.dumps(tokenizer.tokenize(text, special=True, add_special=True), separators=(",", ":")) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()

    tokenizer = LlamaCpp(arguments.model, vocabulary_only=True)
    write_lines(arguments.folder / "tokenizer-smollm2.jsonl", tokenizer, plain_lines(), special=False)
    write_lines(arguments.folder / "tokenizer-smollm2-special.jsonl", tokenizer, special_lines(), special=True)

    vocabulary = arguments.folder / "llama-bpe.vocabulary"
    make_llama_bpe_vocabulary(arguments.model, vocabulary)
    tokenizer = LlamaCpp(str(vocabulary), vocabulary_only=True)
    write_lines(arguments.folder / "tokenizer-llama-bpe.jsonl", tokenizer, plain_lines(), special=False)

    vocabulary = arguments.folder / "llama-spm.vocabulary"
    make_llama_spm_vocabulary(arguments.folder / "pieces.tokenizer.json", vocabulary)
    special = json.loads((arguments.folder / "special-texts.json").read_text())
    write_ids(
        arguments.folder / "tokenizer-llama-spm.jsonl", LlamaCpp(str(vocabulary), vocabulary_only=True), plain_lines(),
        special)


if __name__ == "__main__":
    main()
