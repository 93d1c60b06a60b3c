"""Measures the engine beside llama.cpp: both do the same work on the same files, in turns, and the ratios are printed.

Each round runs a test with our engine, with llama.cpp on the same file, and with llama.cpp on its best format of the
same model (Q4_0, which it repacks for this CPU). A test's figure is the median of its rounds, and so is its ratio, so
that a noisy minute on the machine meets all of them. Both are greedy, keep KV in F16, use the same threads, are warmed
up, and decode 64 tokens after prompts of 128. Called by `bench`; without the Python package llama_cpp, and of a Hugging
Face folder, only our own figures are printed. Needs Python 3.9.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

BUSY = "while True: pass"
ENGINE_LIMIT = 300  # seconds for one run of our engine
# What a user may expect, as multiples of llama.cpp on the same file and on its best format.
WANTED = {("prefill", 1): (8, 2.2), ("decode", 1): (2.2, 1.7), ("decode", 8): (5.5, 3), ("decode", 32): (6, 2.7)}


class Failure(Exception):
    """What stops the measurement, in one line."""


class Ours:
    """`inference-node bench`, a process for each measurement."""

    def __init__(self, program, model, threads):
        self.command = [program, "bench", "--json", "--model", model, "--threads", str(threads), "--repeats", "1"]
        self.facts = {}

    def rate(self, test, batch, prompt, tokens):
        if test == "prefill":
            shape = ["--prefill", str(prompt), "--batch", ""]
        else:
            shape = ["--prefill", "0", "--batch", str(batch), "--decode-prompt", str(prompt), "--generate", str(tokens)]
        try:
            done = subprocess.run(self.command + shape, capture_output=True, text=True, timeout=ENGINE_LIMIT)
        except subprocess.TimeoutExpired:
            raise Failure(f"our engine took more than {ENGINE_LIMIT} s for {test} {batch}") from None
        if done.returncode != 0:
            raise Failure(f"our engine failed: {done.stderr.strip()[-300:]}")
        for line in map(json.loads, done.stdout.splitlines()):
            if line["test"] == test:
                rate = line["tokens_per_second"]
            elif line["test"] == "model":
                self.facts = line
        return rate


class Peer:
    """llama.cpp in this process; a context for each measurement, of the settings that make it fastest here."""

    def __init__(self, path, threads):
        from llamacpp import LlamaCpp

        self.engine = LlamaCpp
        self.path, self.threads = path, threads
        self.model = None

    def rate(self, test, batch, prompt, tokens):
        capacity = prompt + (0 if test == "prefill" else tokens)
        engine = self.engine(
            self.path, context=batch * capacity, threads=self.threads, sequences=batch, flash_attention=True)
        try:
            return self.measure(engine, test, batch, prompt, tokens)
        finally:
            engine.close()

    @staticmethod
    def measure(engine, test, batch, prompt, tokens):
        def fill(sequence):
            ids = [(p * 7919 + sequence * 104729 + 17) % engine.vocabulary for p in range(prompt)]
            return engine.extend([(token, p, sequence, p == prompt - 1) for p, token in enumerate(ids)])[0]

        if test == "prefill":
            fill(0)
            engine.clear()
            start = time.perf_counter()
            fill(0)
            return prompt / (time.perf_counter() - start)
        last = [fill(sequence) for sequence in range(batch)]
        rounds = tokens if batch == 1 else max(8, tokens // 4)  # llama.cpp's many sequences take a while
        start = time.perf_counter()
        for step in range(rounds):
            last = engine.extend([(token, prompt + step, sequence, True) for sequence, token in enumerate(last)])
        return batch * rounds / (time.perf_counter() - start)


def best_format(model, reporting):
    """The same model as llama.cpp likes it best: Q4_0, made once by its own quantiser beside the model."""
    from llamacpp import quantize

    if ".Q4_1." not in model.name:
        return None
    made = model.with_name(model.name.replace(".Q4_1.", ".Q4_0."))
    if not made.exists():
        reporting(f"making {made.name} with llama.cpp's quantiser")
        partial = made.with_name(made.name + ".partial")
        quantize(str(model), str(partial), "Q4_0")
        partial.rename(made)
    return made


def compare(engines, tests, rounds):
    """{test: {engine: [tokens/s of each round]}}"""
    rates = {test: {name: [] for name in engines} for test in tests}
    for _ in range(rounds):
        for test in tests:
            for name, engine in engines.items():
                rates[test][name].append(engine.rate(*test))
    return rates


def median_ratio(ours, theirs):
    return statistics.median(a / b for a, b in zip(ours, theirs))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--prompt", type=int, default=128, help="tokens of each prompt before a decode")
    parser.add_argument("--tokens", type=int, default=64, help="tokens that each sequence decodes")
    parser.add_argument("--batch", default="1,8,32", help="sequences that decode together")
    parser.add_argument("--neighbour", action="store_true", help="again with one busy process beside; prints the loss")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tests = [("prefill", 1, arguments.prefill, 0)] if arguments.prefill else []
    tests += [("decode", int(b), arguments.prompt, arguments.tokens) for b in arguments.batch.split(",") if b]
    say = lambda line: print(line, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    ours = Ours(arguments.program, str(arguments.model), arguments.threads)
    engines = {"ours": ours}
    if arguments.model.is_dir():
        say("llama.cpp reads no Hugging Face folders: our own figures only")
    else:
        try:
            engines["llama.cpp"] = Peer(str(arguments.model), arguments.threads)
            best = best_format(arguments.model, say)
            if best:
                engines["best format"] = Peer(str(best), arguments.threads)
        except ImportError:
            say("llama_cpp is not installed: our own figures only")
    quiet = compare(engines, tests, arguments.rounds)
    report(quiet, ours.facts, arguments.json)
    if arguments.neighbour:
        busy = subprocess.Popen([sys.executable, "-c", BUSY])
        try:
            loud = compare(engines, tests, arguments.rounds)
        finally:
            busy.kill()
            busy.wait()
        report_loss(quiet, loud, arguments.json)


def report(rates, facts, as_json):
    if facts and not as_json:
        print(
            f"{facts['kernels']} kernels, {facts['weights_mib']} MiB of weights loaded in {facts['load_seconds']} s, "
            f"{facts['resident_mib']} MiB resident with {facts['kv_mib']} MiB of KV")
    if not as_json:
        print(f"{'tokens/s':<24}{'ours':>8}{'llama.cpp':>11}{'ratio':>8}{'wanted':>8}"
              f"{'best format':>13}{'ratio':>8}{'wanted':>8}")
    for (test, batch, prompt, _), by_engine in rates.items():
        ours = by_engine["ours"]
        line = {"test": test, "batch": batch, "prompt": prompt, "tokens_per_second": round(statistics.median(ours), 1)}
        cells = f"{test + (f' {prompt}' if test == 'prefill' else f' at {batch} after {prompt}'):<24}{line['tokens_per_second']:>8.0f}"
        wanted = WANTED.get((test, batch)) if prompt == (512 if test == "prefill" else 128) else None
        for index, (name, width) in enumerate((("llama.cpp", 11), ("best format", 13))):
            if name not in by_engine:
                continue
            rate, ratio = statistics.median(by_engine[name]), median_ratio(ours, by_engine[name])
            line[name] = {"tokens_per_second": round(rate, 1), "ratio": round(ratio, 2)}
            cells += f"{rate:>{width}.0f}{ratio:>7.2f}x" + (f"{wanted[index]:>7}x" if wanted else " " * 8)
        print(json.dumps(line) if as_json else cells, flush=True)


def report_loss(quiet, loud, as_json):
    if not as_json:
        print("loss beside one busy process")
    for test, by_engine in quiet.items():
        loss = {name: 1 - statistics.median(loud[test][name]) / statistics.median(r) for name, r in by_engine.items()}
        if as_json:
            print(json.dumps({"test": test[0], "batch": test[1], "loss_beside_busy_process": loss}))
        else:
            print(f"{test[0]} at {test[1]:<16}" + ", ".join(f"{name} {share:.0%}" for name, share in loss.items()))


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"bench: {failure}")
