"""Measures the whole path against the engine alone: the same turns, arriving together, in turns in one run. Called by
`bench path`, which starts the cluster; needs Python 3.9. The engine alone is `inference-node bench-turns`, made of the same
settings as the cluster's node; the cluster's turns go over HTTP through the gateway to one client, which runs on the same cores."""

import argparse
import json
import math
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

HOST = "127.0.0.1"
TIME_LIMIT = 60  # seconds for one round
READ_SIZE = 1 << 16
REST = 1.0  # seconds before a round, in which what the last one left is settled
AIM = 0.85  # of the engine's own throughput
SERVERS = ("redis", "rabbitmq", "postgres-0", "postgres-1")
SERVICES = ("gateway", "orchestrator", "inference-node", "queue-worker")


class Failure(Exception):
    """What stops the measurement, in one line."""


def turns(round_number, streams, tokens):
    """Requests that no round before had: neither engine finds their prompts in its cache."""
    topics = ("the sea", "a clock", "bread", "winter", "a bridge", "the moon", "a library", "rain")
    tasks = ("Write a long story about {}.", "List many facts about {}.", "Tell a story that begins with {}.",
             "Explain {} to a child, then to an engineer, and say which of the two was harder to write and why.")
    return [
        {
            "message": f"Day {round_number}.{number}. "
                       + tasks[number // len(topics) % len(tasks)].format(topics[number % len(topics)]),
            "max_tokens": tokens, "temperature": 0.8, "seed": 1000 * round_number + number,
        }
        for number in range(streams)
    ]


# --- The engine alone


class Engine:
    def __init__(self, program, settings):
        environment = {**os.environ, **settings}
        self.process = subprocess.Popen(
            ["nice", "-n", "5", program, "bench-turns"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment)

    def run(self, requests):
        self.process.stdin.write(json.dumps({"turns": requests}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"bench-turns ended with {self.process.wait()}")
        result = json.loads(line)
        return Outcome(
            result["seconds"], result["first_token_seconds"],
            [(answer["text"], answer["prompt_tokens"], answer["tokens"]) for answer in result["answers"]])

    def close(self):
        self.process.stdin.close()
        self.process.wait(TIME_LIMIT)


class Outcome:
    """What came of one round: seconds from the first request to the last token, and (text, prompt tokens, tokens)."""

    def __init__(self, seconds, first_token_seconds, answers):
        self.seconds = seconds
        self.first_token_seconds = first_token_seconds
        self.answers = answers
        self.tokens = sum(tokens for _, _, tokens in answers)
        self.rate = self.tokens / seconds


# --- The cluster


class Stream:
    """One turn over one connection: the POST, then its stream. Bytes are only kept while the clock runs, and read afterwards."""

    def __init__(self, port, key, request, number):
        body = json.dumps({**request, "user_id": f"path-{number}"}).encode()
        self.head = f"Host: {HOST}:{port}\r\nX-API-Key: {key}\r\n".encode()
        self.post = (b"POST /stream-chat HTTP/1.1\r\n" + self.head
                     + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.socket = socket.create_connection((HOST, port), timeout=TIME_LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self.follows = False
        self.accepted = self.first_token = self.ended = None

    def begin(self):
        self.socket.setblocking(False)
        self.socket.send(self.post)

    def read(self):
        """Takes what is there. Returns whether the stream is over."""
        part = self.socket.recv(READ_SIZE)
        if not part:
            if self.ended is None:
                raise Failure(f"a stream was cut off: {bytes(self.received[-300:])!r}")
            return True
        self.received += part
        if not self.follows:
            self.follow()
        elif self.first_token is None and b"\nid: 0\n" in self.received.replace(b"\r", b""):
            self.first_token = time.perf_counter()
        if self.follows and part.rstrip().endswith((b"data: [DONE]", b"\r\n0")) and b"data: [DONE]" in self.received[-256:]:
            self.ended = self.ended or time.perf_counter()
            return True
        return False

    def follow(self):
        head, separator, body = bytes(self.received).partition(b"\r\n\r\n")
        if not separator:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise Failure(f"POST /stream-chat answered {bytes(self.received[:500])!r}")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        if len(body) < length:
            return
        self.accepted = time.perf_counter()
        endpoint = json.loads(body)["stream_endpoint"]
        self.received.clear()
        self.follows = True
        self.socket.send(b"GET " + endpoint.encode() + b" HTTP/1.1\r\n" + self.head + b"\r\n")

    def answer(self):
        """(text, prompt tokens, tokens), after a check that the ids are whole and in order."""
        head, _, body = bytes(self.received).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise Failure(f"GET of a stream answered {head[:300]!r}")
        if b"transfer-encoding: chunked" in head.lower():
            body = dechunked(body)
        texts, end = [], None
        for event in body.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in event.split("\n") if ": " in line and not line.startswith(":"))
            if "event" in fields or "data" not in fields or fields["data"] == "[DONE]":
                continue
            data = json.loads(fields["data"])
            if data["done"]:
                end = data
                continue
            if int(fields["id"]) != len(texts):
                raise Failure(f"token {fields['id']} came where {len(texts)} was due")
            texts.append(data["token"])
        if not end or end["status"] != "done" or end["usage"]["completion_tokens"] != len(texts):
            raise Failure(f"a stream with {len(texts)} tokens ended as {end}")
        return "".join(texts), end["usage"]["prompt_tokens"], len(texts)


def dechunked(body):
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        size = int(size.partition(b";")[0], 16)
        if size == 0:
            break
        parts.append(body[:size])
        body = body[size + 2:]
    return b"".join(parts)


def through_the_cluster(port, key, requests):
    # The connections stand before the clock starts.
    streams = [Stream(port, key, request, number) for number, request in enumerate(requests)]
    selector = selectors.DefaultSelector()
    for stream in streams:
        selector.register(stream.socket, selectors.EVENT_READ, stream)
    start = time.perf_counter()
    for stream in streams:
        stream.begin()
    open_streams = len(streams)
    while open_streams:
        ready = selector.select(TIME_LIMIT)
        if not ready or time.perf_counter() > start + TIME_LIMIT:
            raise Failure(f"{open_streams} streams had not ended after {TIME_LIMIT} s")
        for key_, _ in ready:
            if key_.data.read():
                selector.unregister(key_.fileobj)
                key_.fileobj.close()
                open_streams -= 1
    outcome = Outcome(
        max(stream.ended for stream in streams) - start,
        [stream.first_token - start for stream in streams if stream.first_token],
        [stream.answer() for stream in streams])
    outcome.accept_seconds = [stream.accepted - start for stream in streams]
    outcome.writes = None
    return outcome


# --- Where the CPU went


def cpu_seconds(roots):
    """CPU seconds so far by name, of each root process and all its descendants; of the machine, busy and idle."""
    ticks, parents = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry)] = int(fields[1])
            ticks[int(entry)] = int(fields[11]) + int(fields[12])
    sums = dict.fromkeys(roots.values(), 0)
    for pid, spent in ticks.items():
        ancestor = pid
        while ancestor and ancestor not in roots:
            ancestor = parents.get(ancestor, 0)
        if ancestor:
            sums[roots[ancestor]] += spent
    cpu = [int(value) for value in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    sums["machine"], sums["idle"] = sum(cpu[:8]) - cpu[3] - cpu[4], cpu[3] + cpu[4]
    return {name: value / os.sysconf("SC_CLK_TCK") for name, value in sums.items()}


def processes(state):
    roots = {os.getpid(): "client"}
    for name in SERVICES:
        roots[int((state / "cluster" / f"{name}.pid").read_text().split()[0])] = name
    for name in SERVERS:
        roots[int((state / "cluster" / name / "pid").read_text().split()[0])] = name
    return roots


# --- The run


def spread(values):
    ordered = sorted(values)
    return {"median": round(statistics.median(ordered) * 1000, 1), "max": round(ordered[-1] * 1000, 1)}


def measure(arguments):
    state = arguments.state
    settings = dict(
        line.split("=", 1) for line in (state / "cluster.env").read_text().splitlines() if "=" in line)
    settings = {name: value.strip("'") for name, value in settings.items()}
    port, key = int(settings["GATEWAY_PORT"]), (state / "api-key").read_text().strip()
    roots = processes(state)
    engine = Engine(arguments.program, settings)
    ratios, alone_rates, path_rates, spent, tokens, differing = [], [], [], {}, 0, 0
    try:
        for number in range(arguments.rounds + 1):  # the first one warms up
            requests = turns(number + 100 * (os.getpid() % 1000), arguments.streams, arguments.tokens)
            alone = engine.run(requests)
            time.sleep(REST)
            before = cpu_seconds(roots)
            path = through_the_cluster(port, key, requests)
            after = cpu_seconds(roots)
            time.sleep(REST)
            differing += sum(one != other for one, other in zip(alone.answers, path.answers))
            if number == 0:
                continue
            alone_rates.append(alone.rate)
            path_rates.append(path.rate)
            ratios.append(path.rate / alone.rate)
            tokens += path.tokens
            for name in after:
                spent[name] = spent.get(name, 0) + after[name] - before[name]
    finally:
        engine.close()
    return {
        "test": "path", "streams": arguments.streams, "max_tokens": arguments.tokens, "rounds": arguments.rounds,
        "tokens": tokens, "aim": AIM,
        "engine_tokens_per_second": round(statistics.median(alone_rates), 1),
        "path_tokens_per_second": round(statistics.median(path_rates), 1),
        "ratio": round(statistics.median(ratios), 3), "ratios": [round(ratio, 3) for ratio in ratios],
        "differing": differing,
        "engine_first_token_ms": spread(alone.first_token_seconds),
        "path_first_token_ms": spread(path.first_token_seconds), "accepted_ms": spread(path.accept_seconds),
        "cpu_us_per_token": {name: round(seconds / tokens * 1e6, 1) for name, seconds in spent.items()},
    }


def describe(result):
    yield (f"{result['streams']} streams of {result['max_tokens']} tokens at most, arriving together; "
           f"{result['rounds']} rounds, medians")
    yield f"  engine alone    {result['engine_tokens_per_second']:8.1f} tokens/s"
    yield f"  whole path      {result['path_tokens_per_second']:8.1f} tokens/s"
    rounds = " ".join(f"{ratio:.2f}" for ratio in result["ratios"])
    yield f"  ratio           {result['ratio']:8.3f}   (aim: {result['aim']}; rounds: {rounds})"
    first, own = result["path_first_token_ms"], result["engine_first_token_ms"]
    yield (f"  first token     {first['median']:.0f} ms, last one's {first['max']:.0f} ms; "
           f"engine alone {own['median']:.0f} and {own['max']:.0f} ms; accepted after {result['accepted_ms']['max']:.0f} ms")
    yield "  CPU microseconds for each token: " + ", ".join(
        f"{name} {value:.0f}" for name, value in result["cpu_us_per_token"].items())
    yield (f"  texts that differ from the engine's: {result['differing']}" if result["differing"]
           else "  every text is the engine's own")


def count(text):
    value = int(text)
    if not 1 <= value <= 1024:
        raise argparse.ArgumentTypeError("must be between 1 and 1024")
    return value


def main():
    parser = argparse.ArgumentParser(prog="bench path", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the cluster's state folder")
    parser.add_argument("--program", required=True, help="inference-node")
    parser.add_argument("--streams", type=count, default=32, help="turns that arrive together (32)")
    parser.add_argument("--tokens", type=count, default=256, help="tokens of each at most (256)")
    parser.add_argument("--rounds", type=count, default=5, help="rounds that count (5)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    try:
        result = measure(arguments)
    except KeyboardInterrupt:
        return 130
    except (Failure, OSError, ValueError, KeyError) as error:
        print(f"bench: {error if isinstance(error, Failure) else repr(error)}", file=sys.stderr)
        return 1
    print(json.dumps(result) if arguments.json else "\n".join(describe(result)), flush=True)
    return 1 if result["differing"] else 0


if __name__ == "__main__":
    sys.exit(main())
