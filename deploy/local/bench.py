"""Measures a running cluster through its gateway on 127.0.0.1: the delay that the path adds to a first token,
32 streams at once against the same requests alone, and the services' memory. Called by `bench`; needs Python 3.9."""

import argparse
import http.client
import json
import math
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
TIME_LIMIT = 300  # seconds for everything
READ_LIMIT = 30  # seconds of silence on a connection; the gateway's heartbeat comes well before
LINE_LIMIT = 1 << 20  # bytes of a line
WARM_UP = 3  # streams that are not counted
REST = 0.05  # seconds between two streams, in which the last one is settled: the cluster is to be idle
DELAY_AIM = 5.0  # ms, median
CONCURRENT = 32
TOKENS = 64
MEMORY_BOUND = 100  # MiB of each service without a model
UNBOUNDED = "inference-node"
SERVICES = ("gateway", "orchestrator", "queue-worker", UNBOUNDED)


class Failure(Exception):
    """What stops the measurement, in one line."""


# --- One stream


@dataclass(frozen=True)
class Stream:
    """A stream as its client saw it. Times in ms from the first byte of the POST."""

    accepted: float  # the answer to the POST was read
    first_token: float
    ended: float
    engine_first_token: float  # the node's own: from taking the job to its first token
    text: str
    tokens: int
    finish_reason: str

    @property
    def added_delay(self):
        return self.first_token - self.engine_first_token

    @property
    def result(self):
        return self.text, self.tokens, self.finish_reason


class Connection(http.client.HTTPConnection):
    """Sends a request's head and body in one segment; the base class takes two, and the second one waits for a wake-up."""

    def request(self, *arguments):
        parts = []
        self.send = parts.append
        super().request(*arguments)
        del self.send
        self.send(b"".join(parts))


class Client:
    """One keep-alive connection for requests; a stream has one of its own, which the gateway closes after it.

    http.client sets TCP_NODELAY and hands a line over as soon as it is there.
    """

    def __init__(self, port, key, deadline):
        self.deadline = deadline
        self.headers = {"X-API-Key": key, "Content-Type": "application/json"}
        self.port = port
        self.connection = self.connected()

    def connected(self):
        connection = Connection(HOST, self.port, timeout=READ_LIMIT)
        connection.connect()
        return connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def request(self, method, path, body=None, connection=None):
        if time.monotonic() > self.deadline:
            raise Failure(f"not done after {TIME_LIMIT} s")
        connection = connection or self.connection
        connection.request(method, path, body, self.headers)
        response = connection.getresponse()
        if response.status != 200:
            raise Failure(f"{method} {path} answered {response.status}: {response.read(300).decode(errors='replace')}")
        return response

    def stream(self, **fields):
        body = json.dumps(fields).encode()
        start = time.perf_counter()
        answer = self.request("POST", "/stream-chat", body).read()
        accepted = time.perf_counter()
        endpoint = json.loads(answer)["stream_endpoint"]
        first, texts, end = None, [], None
        with closing(self.connected()) as connection:
            for index, event in self.events(self.request("GET", endpoint, connection=connection)):
                if event["done"]:
                    end = event
                    continue
                first = first or time.perf_counter()
                if index != len(texts):
                    raise Failure(f"token {index} came where {len(texts)} was due")
                texts.append(event["token"])
        ended = time.perf_counter()
        if first is None or end is None or end.get("status") != "done":
            raise Failure(f"a stream did not end as it should: {end}")
        if end["usage"]["completion_tokens"] != len(texts):
            raise Failure(f"{len(texts)} token events came, but the usage says {end['usage']}")
        return Stream(
            *((moment - start) * 1000 for moment in (accepted, first, ended)),
            end["engine_first_token_ms"], "".join(texts), len(texts), end["finish_reason"])

    def events(self, response):
        """Yields (id, event) for each server-sent event until `[DONE]`; the id is None where there is none."""
        index, done = None, False
        while line := response.readline(LINE_LIMIT):
            if time.monotonic() > self.deadline:
                raise Failure(f"not done after {TIME_LIMIT} s")
            if line.startswith(b"id: "):
                index = int(line[4:])
            elif line.startswith(b"data: [DONE]"):
                done = True
            elif line.startswith(b"data: "):
                yield index, json.loads(line[6:])
            elif line == b"\n":
                index = None
        if not done:
            raise Failure("a stream was cut off")


# --- The measurements; each gives a dictionary that is one JSON line


def percentile(values, share):
    """By nearest rank."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values):
    return {
        "median": round(statistics.median(values), 2),
        "p90": round(percentile(values, 0.9), 2),
        "p99": round(percentile(values, 0.99), 2),
    }


def added_delay(connect, count):
    """Streams one after another on an idle cluster, each by a user of its own: limits are counted by user."""
    streams = []
    with connect() as client:
        for number in range(WARM_UP + count):
            stream = client.stream(
                message="Say hello.", user_id=f"bench-{number}", max_tokens=4, temperature=0.7, seed=number)
            if number >= WARM_UP:
                streams.append(stream)
            time.sleep(REST)
    return {
        "test": "added_delay", "streams": count, "aim_median_ms": DELAY_AIM,
        "added_ms": spread([stream.added_delay for stream in streams]),
        "first_token_ms": spread([stream.first_token for stream in streams]),
        "accepted_ms": spread([stream.accepted for stream in streams]),
    }


def prompt(number):
    topics = ("the sea", "a clock", "bread", "winter", "a bridge", "the moon", "a library", "rain")
    tasks = ("Write two sentences about {}.", "List some facts about {}.", "Tell a short story: it begins with {}.",
             "Explain {} to a child, then to an engineer, and say which of the two was harder to write and why.")
    return tasks[number // len(topics) % len(tasks)].format(topics[number % len(topics)])


def concurrent_streams(connect):
    """The same sampled requests alone, then all at once: every text must be the same."""

    def run(number, ready=None):
        with connect() as client:
            if ready:
                ready.wait(READ_LIMIT)
            return client.stream(
                message=prompt(number), user_id=f"bench-{number}", max_tokens=TOKENS, temperature=0.8,
                seed=1000 + number)

    start = time.perf_counter()
    alone = [run(number) for number in range(CONCURRENT)]
    alone_seconds = time.perf_counter() - start
    # The connections stand before the clock starts, and all requests leave together.
    ready = threading.Barrier(CONCURRENT + 1)
    with ThreadPoolExecutor(CONCURRENT) as pool:
        futures = [pool.submit(run, number, ready) for number in range(CONCURRENT)]
        ready.wait(READ_LIMIT)
        start = time.perf_counter()
        together = [future.result() for future in futures]
        seconds = time.perf_counter() - start
    tokens = sum(stream.tokens for stream in together)
    return {
        "test": "concurrent", "streams": CONCURRENT, "tokens": tokens,
        "tokens_per_second": round(tokens / seconds, 1),
        "alone_tokens_per_second": round(sum(stream.tokens for stream in alone) / alone_seconds, 1),
        "first_token_ms": spread([stream.first_token for stream in together]),
        "identical": sum(one.result == other.result for one, other in zip(alone, together)),
        "differing": [number for number in range(CONCURRENT) if alone[number].result != together[number].result],
    }


def memory(state):
    """Resident memory now, and at its highest, of the processes that the pid files name."""
    services = {}
    for name in SERVICES:
        try:
            pid, started = (state / "cluster" / f"{name}.pid").read_text().split()
            # A pid is used again by the kernel: the start time (field 22) tells. The name may hold blanks and brackets.
            if Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[19] != started:
                raise OSError("another process")
            lines = Path(f"/proc/{int(pid)}/status").read_text().splitlines()
        except (OSError, ValueError):
            raise Failure(f"{name} does not run")
        fields = dict(line.split(":", 1) for line in lines)
        services[name] = {
            field: round(int(fields[source].split()[0]) / 1024, 1)
            for field, source in (("rss_mib", "VmRSS"), ("peak_mib", "VmHWM"))
        }
    return {"test": "memory", "bound_mib": MEMORY_BOUND, "services": services}


# --- The report


def describe(result):
    if result["test"] == "added_delay":
        yield f"one stream at a time on an idle cluster ({result['streams']} streams), ms   median     p90     p99"
        for name, field, note in (
            ("added delay: first token at the client less the engine's own", "added_ms", f"  (aim: < {DELAY_AIM:g})"),
            ("first token at the client", "first_token_ms", ""),
            ("POST /stream-chat answered", "accepted_ms", ""),
        ):
            figures = "".join(f"{result[field][key]:8.2f}" for key in ("median", "p90", "p99"))
            yield f"  {name:<62}{figures}{note}"
    elif result["test"] == "concurrent":
        first = result["first_token_ms"]
        yield f"{result['streams']} streams at once, sampled with seeds, {TOKENS} tokens each at most"
        yield (f"  {result['tokens_per_second']} tokens/s of all together, "
               f"{result['alone_tokens_per_second']} one by one")
        yield f"  first token after {first['median']:.0f} ms (median), {first['p99']:.0f} ms (99th percentile)"
        yield f"  identical: {result['identical']}/{result['streams']}"
        if result["differing"]:
            yield f"  DIFFERENT from the same request alone: {result['differing']}"
    else:
        yield f"resident memory after that, MiB (bound: {MEMORY_BOUND} each, but for the node, which maps the model)"
        for name, figures in result["services"].items():
            note = "  ABOVE THE BOUND" if is_above_bound(name, figures) else ""
            yield f"  {name:<16}{figures['rss_mib']:8.1f}   peak {figures['peak_mib']:.1f}{note}"


def is_above_bound(name, figures):
    return name != UNBOUNDED and figures["rss_mib"] > MEMORY_BOUND


def holds(result):
    if result["test"] == "concurrent":
        return result["identical"] == result["streams"]
    if result["test"] == "memory":
        return not any(is_above_bound(*service) for service in result["services"].items())
    return True  # a time is a figure of this machine, not a matter of right and wrong


def measure(arguments):
    state = arguments.state
    settings = dict(line.split("=", 1) for line in (state / "cluster.env").read_text().splitlines() if "=" in line)
    port, key = int(settings["GATEWAY_PORT"]), (state / "api-key").read_text().strip()
    deadline = time.monotonic() + TIME_LIMIT

    def connect():
        return Client(port, key, deadline)

    with connect() as client:
        client.request("GET", "/health").read()  # anything but healthy is a 503
    yield added_delay(connect, arguments.streams)
    yield concurrent_streams(connect)
    yield memory(state)


def stream_count(text):
    count = int(text)
    if not 1 <= count <= 1000:
        raise argparse.ArgumentTypeError("must be between 1 and 1000")
    return count


def main():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the cluster's .local folder")
    parser.add_argument("--streams", type=stream_count, default=60, help="streams one after another (60)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    good = True
    try:
        for result in measure(arguments):
            print(json.dumps(result) if arguments.json else "\n".join(describe(result)), flush=True)
            good = good and holds(result)
    except KeyboardInterrupt:
        return 130
    except (Failure, OSError, http.client.HTTPException, ValueError, KeyError, threading.BrokenBarrierError) as error:
        print(f"bench: {error if isinstance(error, Failure) else repr(error)}", file=sys.stderr)
        return 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
