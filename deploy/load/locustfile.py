"""Load on Switchboard's gateways with Locust (pip install locust), in the three scenarios of `switchboard load`:

    CHAT_API_KEY=... locust -f deploy/load/locustfile.py --headless -u 50 -r 10 -t 1m StreamingUser
    CHAT_API_KEY=... locust -f deploy/load/locustfile.py --headless -u 50 -r 10 -t 1m ConversationUser
    CHAT_API_KEY=... locust -f deploy/load/locustfile.py --headless -u 20 -r 10 -t 5m LongRunningUser

Without a class all three run side by side. Every stream is checked: each token's id exactly once and in order, over
however many connections; what is not so is a failure of `whole turn`. Beside Locust's own rows:

    first token      from the request that began the turn
    between tokens   the mean of each stream, over its tokens of one connection
    resume           from a lost or dropped connection to the first byte of the next
    whole turn       from the request that began the turn to its end

docs/load.md says when to take this and when `switchboard load`.
"""

import ipaddress
import itertools
import json
import os
import random
import time
import uuid
from urllib.parse import urlsplit

import requests
from locust import HttpUser, between, constant, events, task

WORDS = (
    "the a of to and in is that it for as with how why what when where who river city house garden window letter story "
    "engine answer question number light water bread music winter morning doctor farmer child country science "
    "explain describe compare write build follow remember change begin end find lose give take learn teach read travel"
).split()

PATIENCE = 60  # seconds without any sign of life after which a turn is given up
SILENCE = 45  # seconds: three times GATEWAY_HEARTBEAT
LONGEST_LINE = 1 << 20
# Answers after which the same request, under its Idempotency-Key, may get another: what ChatClientError.Refusal.isPassing says.
PASSING = {(502, "unavailable"), (502, "interrupted"), (502, "unknown"), (503, "unavailable"), (504, "timeout"), (504, "unknown")}
LONGEST_PAUSE = 30  # seconds that a server may ask for

user_numbers = itertools.count()
run_name = uuid.uuid4().hex[:6]


@events.init_command_line_parser.add_listener
def add_arguments(parser):
    group = parser.add_argument_group("Switchboard")
    group.add_argument(
        "--gateways",
        default=os.environ.get("CHAT_GATEWAYS", "http://127.0.0.1:8080"),
        help="gateways' URLs, with commas between; streams go on at the next when one dies",
    )
    group.add_argument(
        "--max-tokens", type=int, default=64, help="tokens of an answer; long-running streams have 16 times as many"
    )
    group.add_argument(
        "--reconnect-share", type=float, default=0.1, help="part of the streams that drop their connection once"
    )
    group.add_argument(
        "--reconnect-interval",
        type=float,
        default=30,
        help="seconds for which a long-running stream keeps a connection",
    )
    group.add_argument("--allow-remote", action="store_true", help="allow gateways that are not this machine")


@events.test_start.add_listener
def check(environment, **_):
    if not os.environ.get("CHAT_API_KEY"):
        raise SystemExit("CHAT_API_KEY is not set; `switchboard keys create` makes a key")
    for url in gateways(environment):
        if not is_loopback(url) and not environment.parsed_options.allow_remote:
            raise SystemExit(f"{url} is not this machine; --allow-remote says that its owner knows of the load")


def gateways(environment):
    return [url.rstrip("/") for url in environment.parsed_options.gateways.split(",") if url]


def is_loopback(url):
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def question():
    return " ".join(random.choices(WORDS, k=random.randint(6, 16))).capitalize() + "?"


class Violation(Exception):
    """Tokens that did not come exactly once and in order."""


class TurnFailed(Exception):
    """A turn that was refused, failed or given up."""


class ConnectionLost(Exception):
    """A connection that ended before its turn did."""


def server_sent_events(response):
    """The events (id or None, name, data) of a stream, as they arrive; None for a sign of life without one."""
    pending, identity, name, data = b"", None, "message", []
    for chunk in response.iter_content(chunk_size=None):
        yield None
        pending += chunk
        *lines, pending = pending.split(b"\n")
        if len(pending) > LONGEST_LINE:
            raise ConnectionLost("a line without end")
        for line in lines:
            field, _, value = line.rstrip(b"\r").decode("utf-8", "replace").partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                identity = value
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "retry":
                yield None, "retry", value
            elif not line.strip():
                if data:
                    yield identity, name, "\n".join(data)
                identity, name, data = None, "message", []


class SwitchboardUser(HttpUser):
    """One person with an own user id; what all scenarios share."""

    abstract = True
    host = "http://127.0.0.1:8080"  # Locust wants one; --gateways is what counts

    def on_start(self):
        self.options = self.environment.parsed_options
        self.gateways = gateways(self.environment)
        self.number = next(user_numbers)
        self.gateway = self.number % len(self.gateways)
        self.name = f"locust-{run_name}-{self.number}"
        self.client.headers["X-API-Key"] = os.environ["CHAT_API_KEY"]

    def note(self, name, start, exception=None, seconds=None):
        elapsed = time.perf_counter() - start if seconds is None else seconds
        self.environment.events.request.fire(
            request_type="SSE",
            name=name,
            response_time=elapsed * 1000,
            response_length=0,
            exception=exception,
            context={},
        )

    def turn(self, message, max_tokens, conversation=None, drops=None):
        """Begins a turn and follows it to its end.

        drops(tokens, seconds): whether to drop the connection that has lasted so long, with so many tokens seen.
        Returns the last event, or None when the turn failed (which Locust has been told then).
        """
        start = time.perf_counter()
        try:
            end = self.follow(self.begin(message, max_tokens, conversation), start, drops or (lambda *_: False))
        except (Violation, TurnFailed) as error:
            self.note("whole turn", start, exception=error)
            return None
        self.note("whole turn", start)
        return end

    def begin(self, message, max_tokens, conversation):
        body = {"message": message, "user_id": self.name, "max_tokens": max_tokens}
        if conversation is not None:
            body["conversation_id"] = conversation
        # The same key at every attempt: one whose answer was lost is repeated safely.
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        deadline = time.monotonic() + PATIENCE
        while True:
            url = self.gateways[self.gateway] + "/stream-chat"
            with self.client.post(
                url, json=body, headers=headers, name="POST /stream-chat", timeout=10, catch_response=True
            ) as response:
                # Asked whether it is fine, an answer that never came raises what became of it.
                if response.status_code and response.ok:
                    try:
                        return response.json()["correlation_id"]
                    except (ValueError, KeyError, TypeError):
                        raise TurnFailed("an accepted turn without correlation_id") from None
                code = error_code(response) if response.status_code else "no answer"
                if response.status_code and (response.status_code, code) not in PASSING:
                    response.failure(f"{response.status_code} {code}")
                    time.sleep(min(float(response.headers.get("Retry-After") or 1), LONGEST_PAUSE))
                    raise TurnFailed(f"{response.status_code} {code}")
                if time.monotonic() > deadline:
                    raise TurnFailed("no gateway takes it")
                response.success()  # another gateway may reach what this one cannot
            self.go_on()
            time.sleep(random.uniform(0.1, 0.5))

    def follow(self, turn, start, drops):
        expected, first_token, gaps, lost_at, pause = 0, None, [], None, None
        last_heard = time.monotonic()
        while True:
            headers = {"Accept": "text/event-stream"}
            if expected:
                headers["Last-Event-ID"] = str(expected - 1)
            connected, last_token = time.monotonic(), None
            try:
                # Not by way of Locust's client: how long a stream is open is no response time.
                with requests.get(
                    f"{self.gateways[self.gateway]}/stream/{turn}",
                    headers={**headers, "X-API-Key": self.client.headers["X-API-Key"]},
                    stream=True,
                    timeout=(5, SILENCE),
                ) as response:
                    if response.status_code != 200:
                        if response.status_code < 500 and response.status_code != 429:
                            raise TurnFailed(f"{response.status_code} to a reader")
                        raise ConnectionLost(f"{response.status_code} to a reader")
                    for event in server_sent_events(response):
                        last_heard = time.monotonic()
                        if lost_at is not None:
                            self.note("resume", 0, seconds=last_heard - lost_at)
                            lost_at = None
                        if event is None:
                            continue
                        identity, name, data = event
                        if name == "retry":
                            pause = min(int(data) / 1000, LONGEST_PAUSE) if data.isdigit() else None
                        if name != "message" or data == "[DONE]":
                            continue
                        if identity is None:
                            return self.ended(json.loads(data), expected)
                        if identity != str(expected):
                            raise Violation(f"token {identity} came where {expected} was due")
                        expected += 1
                        now = time.perf_counter()
                        if first_token is None:
                            first_token = now
                            self.note("first token", start)
                        if last_token is not None:
                            gaps.append(now - last_token)
                        last_token = now
                        if drops(expected, time.monotonic() - connected):
                            break
                    else:
                        raise ConnectionLost("the stream ended before the answer did")
            except (requests.RequestException, ConnectionLost, ValueError):
                if time.monotonic() - last_heard > PATIENCE:
                    raise TurnFailed("no gateway gives a sign of life") from None
            finally:
                if gaps:
                    self.note("between tokens", 0, seconds=sum(gaps) / len(gaps))
                    gaps = []
            lost_at = lost_at or time.monotonic()
            self.go_on()
            time.sleep(random.uniform(0, 0.1) if pause is None else pause)
            pause = None

    def ended(self, end, tokens):
        if not end.get("done"):
            raise Violation("an event without an id that is not the end")
        if end.get("usage", {}).get("completion_tokens") != tokens:
            raise Violation(f"{tokens} tokens came, and the usage says {end.get('usage')}")
        if end.get("status") != "done":
            raise TurnFailed(f"the turn {end.get('status')}: {end.get('error') or end.get('finish_reason')}")
        return end

    def go_on(self):
        self.gateway = (self.gateway + 1) % len(self.gateways)


def error_code(response):
    try:
        return response.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return "unknown"


class StreamingUser(SwitchboardUser):
    """Answers of ordinary length, one after the other; some lose their connection once."""

    wait_time = constant(0)

    @task
    def stream(self):
        tokens = self.options.max_tokens
        at = random.randint(1, max(1, tokens - 1)) if random.random() < self.options.reconnect_share else None
        self.turn(question(), tokens, drops=lambda seen, _: seen == at)


class ConversationUser(SwitchboardUser):
    """People: conversations of two to five turns, with time to read and to type between them."""

    wait_time = between(2.5, 7.5)

    def on_start(self):
        super().on_start()
        self.left, self.conversation = 0, None

    @task
    def talk(self):
        if self.left == 0:
            self.left, self.conversation = random.randint(2, 5), None
        end = self.turn(question(), self.options.max_tokens, self.conversation)
        self.left = self.left - 1 if end else 0
        self.conversation = end["conversation_id"] if end else None


class LongRunningUser(SwitchboardUser):
    """Long streams whose connections break again and again."""

    wait_time = constant(0)

    @task
    def stream(self):
        life = self.options.reconnect_interval * random.uniform(0.5, 1.5)
        self.turn(question(), 16 * self.options.max_tokens, drops=lambda _, seconds: seconds > life)
