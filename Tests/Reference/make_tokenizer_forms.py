#!/usr/bin/env python3
"""Make small tokenizers in the forms of Hugging Face's tokenizer.json, and the ids that their library gives.

    python make_tokenizer_forms.py ../ModelFileTests/Fixtures

    byte-level.tokenizer.json   Qwen2's form: NFC, a regular expression, byte-level BPE
    pieces.tokenizer.json       Llama 2's form: spaces as U+2581, byte fallback, a begin token
    unigram.tokenizer.json      a Unigram model with Metaspace and byte fallback
    tokenizer-*.jsonl           the ids of the texts of tokenizer-llama-bpe.jsonl with names of special tokens as plain text,
                                then of special-texts.json with them as tokens and with a begin token where there is one
    pre-tokenizers.jsonl        a hash of the words of each of these texts, for every regular expression that is known

The tokenizers are trained here on the prose of the perplexity text. Needs the package `tokenizers`.
"""

import argparse
import json
import pathlib
import random
import re

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizer_lines import SCRIPTS, TEXT

ADDED = [
    AddedToken("<|begin|>", special=True, normalized=False),
    AddedToken("<|im_end|>", special=True, normalized=False, rstrip=True),
    AddedToken("<tool>", special=False, normalized=True),
    AddedToken("<think>", special=False, normalized=False, lstrip=True, rstrip=True),
]
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = (
    CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTIONS
    + r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTIONS
    + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
PATTERNS = {
    "gpt-2": [r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"],
    "llama3": [LLAMA3],
    "cl100k": [
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "qwen2": [LLAMA3.replace("{1,3}", "")],
    "qwen3.5": [
        LLAMA3.replace("{1,3}", "").replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")],
    "gpt-4o": [GPT4O],
    "tekken": [GPT4O.replace(CONTRACTIONS + "?", "").replace("{1,3}", "")],
    "deepseek-v3": [
        r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
        "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"],
}


def isolated(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def training_lines() -> list[str]:
    return TEXT.read_text(encoding="utf-8").split("\n")[:3000] + list(SCRIPTS.values())


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [isolated(PATTERNS["qwen2"][0]), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=800, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(training_lines(), trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def piece_decoder() -> decoders.Decoder:
    return decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def finish_pieces(tokenizer: Tokenizer) -> Tokenizer:
    """Bytes are tokens of the model, not added ones."""
    contents = json.loads(tokenizer.to_str())
    contents["added_tokens"] = [token for token in contents["added_tokens"] if token["content"] not in BYTES]
    tokenizer = Tokenizer.from_str(json.dumps(contents))
    tokenizer.decoder = piece_decoder()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tokenizer


def pieces() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    # For training only: without words every line would be one.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=900, limit_alphabet=150, special_tokens=["<unk>", "<s>", "</s>"] + BYTES, show_progress=False)
    tokenizer.train_from_iterator(training_lines(), trainer)
    contents = json.loads(tokenizer.to_str())
    contents["pre_tokenizer"] = None
    return finish_pieces(Tokenizer.from_str(json.dumps(contents)))


def unigram() -> Tokenizer:
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False)
    trained.train_from_iterator(training_lines()[:1500], trainer)
    contents = json.loads(trained.to_str())
    vocab = contents["model"]["vocab"]
    contents["model"]["vocab"] = vocab[:3] + [[byte, 0.0] for byte in BYTES] + vocab[3:]
    contents["model"]["byte_fallback"] = True
    return finish_pieces(Tokenizer.from_str(json.dumps(contents)))


def special_texts() -> list[str]:
    generator = random.Random(3)
    parts = ["<|begin|>", "<|im_end|>", "<tool>", "<think>", "<s>", "</s>", "<unk>"]
    parts += [" ", "\n", "  ", "a", "b c", "é", "e\u0301", "▁", "日", "x ", "\u0338", "=", "\u3000"]
    return ["".join(generator.choice(parts) for _ in range(generator.randint(1, 8))) for _ in range(300)]


def words_hash(words: list[str]) -> int:
    """FNV-1a, 32 bits, over the numbers of bytes of the words."""
    value = 0x811C9DC5
    for word in words:
        value = ((value ^ len(word.encode("utf-8"))) * 0x01000193) & 0xFFFFFFFF
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    with open(folder / "tokenizer-llama-bpe.jsonl", encoding="ascii") as file:
        texts = [json.loads(line)["text"] for line in file]
    with open(folder / "special-texts.json", "w", encoding="ascii") as file:
        json.dump(special_texts(), file, indent=0)

    for name, make in [("byte-level", byte_level), ("pieces", pieces), ("unigram", unigram)]:
        tokenizer = make()
        tokenizer.add_tokens(ADDED)
        tokenizer.save(str(folder / f"{name}.tokenizer.json"))
        with open(folder / f"tokenizer-{name}.jsonl", "w", encoding="ascii", newline="\n") as file:
            for special in (False, True):
                tokenizer.encode_special_tokens = not special
                for text in special_texts() if special else texts:
                    if name == "unigram" and not special and re.search("<s>|</s>|<unk>|<0x", text):
                        # The library finds names of control tokens and bytes as pieces of plain text; we do not.
                        file.write("null\n")
                        continue
                    ids = tokenizer.encode(text, add_special_tokens=special).ids
                    file.write(json.dumps(ids, separators=(",", ":")) + "\n")
        print(name, tokenizer.get_vocab_size())

    with open(folder / "pre-tokenizers.jsonl", "w", encoding="ascii", newline="\n") as file:
        for name, patterns in PATTERNS.items():
            splitter = pre_tokenizers.Sequence([isolated(pattern) for pattern in patterns])
            hashes = [words_hash([word for word, _ in splitter.pre_tokenize_str(text)]) for text in texts]
            line = {"name": name, "patterns": patterns, "hashes": hashes}
            file.write(json.dumps(line, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
