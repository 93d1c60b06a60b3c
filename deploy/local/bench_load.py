"""Measures a gateway with many clients: streams held open at the same time (`bench streams`), turns accepted at a set
rate (`bench accept`), and the pauses of streams beside large messages (`bench silence`). Called by `bench`, which starts a
cluster with a simulated node; needs Python 3.9. The load comes from `switchboard load` on the same cores, which checks that
every token comes exactly once."""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from bench_path import cpu_seconds, processes

LOAD = "load"
MEMORY_AIM = 20.0  # KiB of the gateway for each stream
OWN_AIM = 5.0  # ms, 99th percentile
WARM_UP = 200  # turns that come before, so that what is made at first use is not counted as a stream's
SILENCE_AIM = 250.0  # ms, the longest
POST_BYTES = 1_000_000  # of a message; a body may have 1 MiB
POSTS = 8  # different ones, sent in turns
SETTLE = 2.0  # seconds after the last stream has begun, until the cost of holding them is measured


class Failure(Exception):
    """What stops the measurement, in one line."""


class Cluster:
    def __init__(self, state, program):
        self.state, self.program = state, program
        settings = (line.split("=", 1) for line in (state / "cluster.env").read_text().splitlines() if "=" in line)
        self.port = next(value for name, value in settings if name == "GATEWAY_PORT")
        self.gateway = (state / "cluster" / "gateway.pid").read_text().split()[0]
        # The client is not ourselves but a child; ours is asked for at its start.
        self.roots = {pid: name for pid, name in processes(state).items() if name != "client"}

    def load(self, *options):
        """Starts `switchboard load`; `result` of it waits for the end."""
        command = [
            self.program, "load", "--gateway", f"http://127.0.0.1:{self.port}", "--key-file", self.state / "api-key",
            "--quiet", "--json", *map(str, options)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self, process):
        out, err = process.communicate()
        if not out.strip():
            raise Failure(f"switchboard load: {err.strip()[-300:] or process.returncode}")
        result = json.loads(out)
        result["is_clean"] = process.returncode == 0
        return result

    def resident(self):
        """Bytes of the gateway in memory."""
        for line in Path(f"/proc/{self.gateway}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Failure("the gateway is gone")

    def cpu(self, client):
        return cpu_seconds({**self.roots, client.pid: LOAD})


def shares(before, after, seconds):
    """Cores that each process has used."""
    return {name: round((after[name] - before.get(name, 0)) / seconds, 3) for name in after}


def milliseconds(latency):
    return {name: round(latency[name] * 1000, 2) for name in ("p50", "p90", "p99", "max")}


def streams(cluster, arguments):
    """Opens the streams within `ramp`, and holds them for `hold`; one token a second each."""
    count, ramp, hold = arguments.streams, arguments.ramp, arguments.hold
    cluster.result(cluster.load("--streams", WARM_UP, "--ramp", "1s", "--duration", "1s", "--max-tokens", 2))
    idle = cluster.resident()
    begun = time.monotonic()
    process = cluster.load(
        "--streams", count, "--users", count, "--ramp", f"{ramp}s", "--duration", f"{ramp}s", "--max-tokens", ramp + hold,
        "--drain", f"{ramp + hold + 120}s")
    highest, before, at = idle, None, None
    while process.poll() is None and time.monotonic() < begun + ramp + hold - SETTLE:
        time.sleep(0.5)
        highest = max(highest, cluster.resident())
        if before is None and time.monotonic() > begun + ramp + SETTLE:
            before, at = cluster.cpu(process), time.monotonic()
    # While all of them are open still.
    cores = shares(before, cluster.cpu(process), time.monotonic() - at) if before and process.poll() is None else {}
    result = cluster.result(process)
    return {
        "test": "streams", "streams": count, "held_seconds": hold, "done": result["turns"]["done"],
        "failed": result["turns"]["failed"], "cut": result["turns"]["cut"], "errors": result["errors"],
        "lost_connections": result["connections"]["lost"], "violations": result["exactly_once"]["violations"],
        "tokens": result["tokens"]["count"], "gateway_idle_mib": round(idle / 2**20, 1),
        "gateway_highest_mib": round(highest / 2**20, 1),
        "gateway_kib_per_stream": round((highest - idle) / count / 1024, 2), "aim_kib_per_stream": MEMORY_AIM,
        "accept_ms": milliseconds(result["latency_seconds"]["accept"]),
        "first_token_ms": milliseconds(result["latency_seconds"]["first_token"]),
        "between_tokens_ms": milliseconds(result["latency_seconds"]["between_tokens"]),
        "cores": cores, "is_clean": result["is_clean"],
    }


def accept(cluster, arguments):
    """Turns arrive at random at the rate. Nobody follows them: what is measured is their acceptance."""
    cluster.result(cluster.load("--kind", "async", "--rate", 50, "--duration", "2s", "--max-tokens", 2))
    process = cluster.load(
        "--kind", "async", "--rate", arguments.rate, "--duration", f"{arguments.seconds}s", "--users", arguments.rate,
        "--max-tokens", arguments.tokens)
    before, at = cluster.cpu(process), time.monotonic()
    while process.poll() is None and time.monotonic() < at + arguments.seconds - 0.5:
        time.sleep(0.1)
    cores = shares(before, cluster.cpu(process), time.monotonic() - at) if process.poll() is None else {}
    result = cluster.result(process)
    latencies = result["latency_seconds"]
    stages = {
        name: milliseconds(latencies[f"server_timing_{name}"])
        for name in ("own", "redis", "database", "broker", "total") if f"server_timing_{name}" in latencies}
    return {
        "test": "accept", "rate": arguments.rate, "seconds": arguments.seconds, "accepted": result["turns"]["done"],
        "failed": result["turns"]["failed"], "errors": result["errors"], "aim_own_p99_ms": OWN_AIM, "stages_ms": stages,
        "client_ms": milliseconds(latencies["accept"]), "client_late_ms": milliseconds(latencies["own_lateness"]),
        "cores": cores, "is_clean": result["is_clean"],
    }


def large_messages(path):
    """Words in Cyrillic, of whose bytes the gateway cannot tell that they are more than the model's context: they go the
    whole way, and each is tokenized."""
    letters = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэф"
    chance = random.Random(1)
    words = ["".join(chance.choices(letters, weights=range(len(letters), 0, -1), k=chance.randint(1, 10)))
             for _ in range(5000)]
    with path.open("w", encoding="utf-8") as file:
        for _ in range(POSTS):
            line, size = [], 0
            while size < POST_BYTES:
                line.append(chance.choice(words))
                size += len(line[-1].encode()) + 1
            file.write(" ".join(line[:-1]) + "\n")


def silence(cluster, arguments):
    """Streams of a token each 25 ms, and beside them large asynchronous messages, each of a conversation of its own."""
    prompts = cluster.state / "large-messages.txt"
    large_messages(prompts)
    cluster.result(cluster.load("--streams", 8, "--duration", "1s", "--max-tokens", 2))
    length = ("--duration", f"{arguments.seconds}s", "--drain", "30s")
    followed = cluster.load(
        "--streams", arguments.streams, "--users", arguments.streams, "--ramp", "1s", "--max-tokens", 200, *length)
    posted = cluster.load(
        "--kind", "async", "--rate", arguments.posts, "--users", 100, "--prompt-file", prompts, "--max-tokens", 2, *length)
    before, at = cluster.cpu(followed), time.monotonic()
    while followed.poll() is None and time.monotonic() < at + arguments.seconds - 0.5:
        time.sleep(0.1)
    cores = shares(before, cluster.cpu(followed), time.monotonic() - at) if followed.poll() is None else {}
    posts, result = cluster.result(posted), cluster.result(followed)
    return {
        "test": "silence", "streams": arguments.streams, "posts_a_second": arguments.posts, "post_bytes": POST_BYTES,
        "seconds": arguments.seconds, "posted": posts["turns"]["done"], "refused": posts["errors"],
        "tokens": result["tokens"]["count"], "failed": result["turns"]["failed"], "errors": result["errors"],
        "violations": result["exactly_once"]["violations"], "aim_longest_ms": SILENCE_AIM,
        "between_tokens_ms": milliseconds(result["latency_seconds"]["between_tokens"]),
        "first_token_ms": milliseconds(result["latency_seconds"]["first_token"]),
        "client_late_ms": milliseconds(result["latency_seconds"]["own_lateness"]),
        "cores": cores, "is_clean": result["is_clean"],
    }


def row(name, values):
    return f"  {name:<18}" + "".join(f"{values[column]:10.2f}" for column in ("p50", "p90", "p99", "max")) + "  ms"


def describe(result):
    used = "  cores used: " + ", ".join(f"{name} {value:.2f}" for name, value in result["cores"].items())
    wrong = [
        f"  {count} x {reason}" for reasons in (result["errors"], result.get("lost_connections", {}))
        for reason, count in reasons.items()]
    head = f"  {'':<18}{'p50':>10}{'p90':>10}{'p99':>10}{'max':>10}"
    if result["test"] == "streams":
        lines = [
            f"{result['streams']} streams through one gateway, one token a second each, held for {result['held_seconds']} s",
            f"  {result['done']} done, {result['failed']} failed, {result['cut']} cut, "
            f"{sum(result['lost_connections'].values())} connections lost; {result['tokens']} tokens, "
            + ("each exactly once" if not result["violations"] else f"{result['violations']} NOT exactly once"),
            f"  the gateway's memory: {result['gateway_idle_mib']} MiB idle, {result['gateway_highest_mib']} MiB at most: "
            f"{result['gateway_kib_per_stream']} KiB for each stream (aim: under {result['aim_kib_per_stream']:g})",
            head]
        lines += [row(name, result[f"{key}_ms"]) for name, key in (
            ("accept", "accept"), ("first token", "first_token"), ("between tokens", "between_tokens"))]
    elif result["test"] == "silence":
        lines = [
            f"{result['streams']} streams of a token each 25 ms for {result['seconds']} s, and {result['posts_a_second']} "
            f"messages of {result['post_bytes'] / 1e6:g} MB a second",
            f"  {result['posted']} messages accepted, {sum(result['refused'].values())} refused; {result['tokens']} "
            f"tokens, {result['failed']} streams failed", head]
        lines += [row(name, result[f"{key}_ms"]) for name, key in (
            ("between tokens", "between_tokens"), ("first token", "first_token"))]
        lines.append(
            f"  the longest pause of any stream: {result['between_tokens_ms']['max']:g} ms "
            f"(aim: under {result['aim_longest_ms']:g})")
        wrong += [f"  {count} x a large message: {reason}" for reason, count in result["refused"].items()]
    else:
        lines = [
            f"{result['rate']} turns a second for {result['seconds']} s: {result['accepted']} accepted, "
            f"{result['failed']} failed", head]
        for name, values in result["stages_ms"].items():
            name = {"own": "gateway's own", "broker": "broker's confirm", "total": "whole, at gateway"}.get(name, name)
            lines.append(row(name, values))
        lines.append(row("whole, at client", result["client_ms"]))
        lines.append(f"  aim: the gateway's own p99 under {result['aim_own_p99_ms']:g} ms")
    return "\n".join(lines + wrong + [used])


def number(least, most):
    def parse(text):
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be between {least} and {most}")
        return value
    return parse


# What measures it, and the defaults of --streams and --seconds.
TESTS = {"streams": (streams, 10_000, 20), "accept": (accept, 10_000, 20), "silence": (silence, 32, 120)}


def main():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("test", choices=sorted(TESTS))
    parser.add_argument("--state", type=Path, required=True, help="the cluster's state folder")
    parser.add_argument("--program", required=True, help="switchboard")
    parser.add_argument("--streams", type=number(1, 100_000), help="open at the same time (10000; of silence 32)")
    parser.add_argument("--ramp", type=number(1, 600), default=50, help="seconds in which they begin (50)")
    parser.add_argument("--hold", type=number(5, 3600), default=180, help="seconds for which all are open (180)")
    parser.add_argument("--rate", type=number(1, 10_000), default=1000, help="turns a second (1000)")
    parser.add_argument("--seconds", type=number(2, 600), help="for so long (20; of silence 120)")
    parser.add_argument("--posts", type=number(1, 100), default=4, help="large messages a second (4)")
    parser.add_argument("--tokens", type=number(1, 1000), default=2, help="of each of these turns (2)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    measure, streams_open, seconds = TESTS[arguments.test]
    arguments.streams = arguments.streams or streams_open
    arguments.seconds = arguments.seconds or seconds
    try:
        cluster = Cluster(arguments.state, arguments.program)
        result = measure(cluster, arguments)
    except KeyboardInterrupt:
        return 130
    except (Failure, OSError, ValueError, KeyError) as error:
        print(f"bench: {error if isinstance(error, Failure) else repr(error)}", file=sys.stderr)
        return 1
    print(json.dumps(result) if arguments.json else describe(result), flush=True)
    return 0 if result["is_clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
