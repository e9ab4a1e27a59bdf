"""One fixed rate at one cost, which most limits are, is counted by a shorter way than the others: to the same end.

The same schedules go through apps whose limits say the same in other words. Only the first is worked out beforehand.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask, request
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flask_guard import Guard, limit, request_denied, request_would_be_denied
from flask_guard.audit.rehearsal import Asked, rehearse
from flask_guard.rate_limits.limit import Algorithm, Limit

pytestmark = pytest.mark.slow

AMOUNT, SECONDS = 4, 10
RATE = f"{AMOUNT} per {SECONDS} seconds"
ALGORITHMS: tuple[Algorithm, ...] = ("fixed-window", "moving-window", "sliding-window-counter", "token-bucket")
LONG_AGO = 100_000.0

Say = Callable[..., Limit]
OTHER_WORDS: dict[str, Say] = {
    "a callable rate": lambda cost, **options: limit(lambda: RATE, cost=cost, **options),
    "a callable cost": lambda cost, **options: limit(RATE, cost=lambda: cost, **options),
    "a limit beside it": lambda cost, **options: limit(RATE, "100000/day", cost=cost, **options),
}


def beforehand(cost: int, **options: Any) -> Limit:
    """Return the limit that is worked out beforehand."""
    return limit(RATE, cost=cost, **options)


def who() -> str:
    """Return the name that the client has given itself: none for one that is counted by address."""
    return request.headers.get("X-Client", "")


class Served:
    """An app with one limit, at a time that the test sets, and all that can be seen of it."""

    def __init__(self, policy: Limit, **config: Any) -> None:
        self.now = LONG_AGO
        self.seen: list[Any] = []
        app = Flask("tests")
        app.config.update(config)
        self.guard = Guard(app)
        self.app = app
        inside = policy.refine(RATE, shared="calls", by=who, cost=1)
        app.add_url_rule("/", "view", policy(lambda: "served"))
        app.add_url_rule("/hit", "hit", policy(lambda: repr(inside.hit())))
        app.add_url_rule("/peek", "peek", lambda: repr(inside.peek()))
        app.add_url_rule("/other", "other", lambda: "open")
        self.client = app.test_client()

    def ask(self, client: int, path: str = "/") -> None:
        """Make a request, and note what its client sees."""
        answer = self.client.get(path, headers={"X-Client": f"client {client}"} if client else {})
        fields = [(name, _first_item(value)) for name, value in answer.headers if name != "Content-Length"]
        self.seen.append((answer.status_code, fields, answer.text))

    def rehearse(self, client: int) -> None:
        """Explain a request, and note what is foretold."""
        told = rehearse(self.app, Asked("GET", "/", (("X-Client", f"client {client}"),) if client else ()))
        self.seen.append((told.status, [_first_item(value) for name, value in told.headers if name == "RateLimit"]))

    def switch_off(self, client: int) -> None:
        """Make a request while limits are switched off."""
        with self.guard.disabled(limit):
            self.ask(client)

    def run(self, schedule: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Go through `schedule`, and return all that was seen."""
        random.seed(1)  # the jitter of Retry-After
        steps: dict[str, Callable[[int], object]] = {
            "ask": self.ask,
            "hit": lambda client: self.ask(client, "/hit"),
            "peek": lambda client: self.ask(client, "/peek"),
            "rehearse": self.rehearse,
            "reset": lambda _: self.guard.reset(),
            "switch off": self.switch_off,
            "wait": self.wait,
        }

        def denied(_app: Flask, *, denial: Any, **_: Any) -> None:
            self.seen.append((denial.policy, denial.reason, dict(denial.headers), denial.members))

        with ExitStack() as stack:
            for signal in (request_denied, request_would_be_denied):
                stack.enter_context(signal.connected_to(denied, self.app))
            monkeypatch.setattr("flask_guard.rate_limits.storage.memory.monotonic", lambda: self.now)
            monkeypatch.setattr("flask_guard.rate_limits.fields.time", lambda: self.now)
            for name, value in schedule:
                steps[name](value)
        return self.seen

    def wait(self, tenths: int) -> None:
        """Let time pass; negative: set the clock back, as a virtual machine may."""
        self.now += tenths / 10


def _first_item(value: str) -> str:
    """Return a field without the part of the limit that is beside the one in question."""
    return value.partition(', "calls-100000-')[0]


clients = st.integers(0, 3)
tenths = st.one_of(st.integers(0, 12), st.integers(-300, 300), st.sampled_from([49, 50, 51, 99, 100, 101, 199, 200]))
schedules = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), clients),
        st.tuples(st.sampled_from(["ask", "hit", "peek", "rehearse", "switch off"]), clients),
        st.tuples(st.just("wait"), tenths),
        st.tuples(st.just("reset"), st.just(0)),
    ),
    max_size=40,
)
BUSY: list[tuple[str, int]] = [
    *[("ask", 0)] * 3, ("rehearse", 0), ("ask", 0), ("ask", 0), ("ask", 1), ("wait", 51), ("ask", 0), ("peek", 0),
    ("hit", 1), ("hit", 1), ("switch off", 0), ("wait", 49), ("rehearse", 0), ("ask", 0), ("ask", 0), ("wait", -20),
    ("ask", 0), ("reset", 0), ("ask", 0), ("wait", 101), *[("ask", 1)] * 6, ("ask", 2), ("ask", 3), ("ask", 2),
]  # fmt: skip


FULL = {"GUARD_LIMIT_CLIENTS": 2}
"""The configuration with which a third client takes the place of another in memory."""


def first_difference(one: Limit, other: Limit, schedule: list[tuple[str, int]], **config: Any) -> tuple[object, ...]:
    """Return the first thing that is seen of one limit and not of the other."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        seen = Served(one, **config).run(schedule, monkeypatch), Served(other, **config).run(schedule, monkeypatch)
    return next((pair for pair in zip(*seen, strict=True) if pair[0] != pair[1]), ())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("words", OTHER_WORDS.values(), ids=OTHER_WORDS)
@settings(max_examples=4, deadline=None)
@example(BUSY, 1)
@example(BUSY, 3)
@given(schedule=schedules, cost=st.integers(1, AMOUNT))
def test_a_limit_in_other_words_counts_the_same(
    words: Say, algorithm: Algorithm, schedule: list[tuple[str, int]], cost: int
) -> None:
    options = {"by": who, "algorithm": algorithm, "shared": "calls"}

    assert not first_difference(beforehand(cost, **options), words(cost, **options), schedule)


VARIANTS: dict[str, dict[str, Any]] = {
    "its own budget": {},
    "by address": {"by": "address"},
    "by address and more": {"by": ("address", who)},
    "in report mode": {"mode": "report"},
    "no fields": {"headers": False},
    "a partition key": {"partition_key": True},
    "some methods": {"methods": ["POST"]},
    "a condition": {"when": lambda: request.headers.get("X-Client") != "client 2"},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("config", [{}, FULL, {"GUARD_RATELIMIT_HEADERS": "both"}], ids=["default", "full", "fields"])
def test_it_does_with_any_option(options: dict[str, Any], algorithm: Algorithm, config: dict[str, Any]) -> None:
    options = {"by": who, "algorithm": algorithm, **options}

    assert not first_difference(beforehand(1, **options), limit(RATE, cost=lambda: 1, **options), BUSY, **config)


def test_a_bucket_with_a_burst_does() -> None:
    options: dict[str, Any] = {"by": who, "algorithm": "token-bucket", "burst": 2}

    assert not first_difference(limit(RATE, **options), limit(RATE, cost=lambda: 1, **options), BUSY)


def test_nobody_is_told_to_wait_for_an_instant_more_than_two_sliding_windows() -> None:
    amount = 10_000_000
    policy = limit(f"{amount} per 10 seconds", cost=amount, algorithm="sliding-window-counter")

    with pytest.MonkeyPatch.context() as monkeypatch:
        *_, (_, fields, _) = Served(policy).run([("ask", 0), ("ask", 0)], monkeypatch)

    assert fields[-1][1].endswith(";r=0;t=20")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_threads_at_once_get_exactly_the_amount(app: Flask, algorithm: Algorithm) -> None:
    amount, threads = 200, 16
    Guard(app)
    app.add_url_rule("/", "view", limit(f"{amount}/day", algorithm=algorithm)(lambda: "served"))
    app.test_client().get("/")  # makes the plan
    start = threading.Barrier(threads)

    def ask(_: int) -> list[int]:
        client = app.test_client()
        start.wait()
        return [client.get("/").status_code for _ in range(20)]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            statuses = [status for each in pool.map(ask, range(threads)) for status in each]
    finally:
        sys.setswitchinterval(interval)

    assert statuses.count(200) == amount - 1
