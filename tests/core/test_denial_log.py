"""Denials are logged, and bounded: the first of a client and policy gets a line, and those that follow are counted."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from typing import Any

import pytest
from flask import Flask

from flask_guard import Denied, Guard, limit, log_timing, metrics, middleware, request_denied, require_api_key
from flask_guard.core.report_mode import MOST_LINES, WINDOW
from tests.clock import Clock, clock
from tests.conftest import MakeApp
from tests.prometheus.metrics_page import samples

__all__ = ["clock"]

FIRST = "GET / denied by require_api_key (missing)"


@pytest.fixture
def app(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> Flask:
    """Return an app whose every request needs a key."""
    caplog.set_level(logging.INFO, logger="flask_guard")
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.add_url_rule("/", "index", lambda: "hello")
    Guard(app, policies=[require_api_key])
    return app


def denied(app: Flask, times: int = 1, address: str = "192.0.2.7", **headers: str) -> None:
    client = app.test_client()
    for _ in range(times):
        response = client.get("/", headers=headers, environ_overrides={"REMOTE_ADDR": address})
        assert response.status_code >= 400


@pytest.mark.slow
def test_first_denial_of_a_client_is_logged_and_the_others_are_counted(
    app: Flask, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    denied(app, 1205)
    assert caplog.messages == [FIRST]

    clock.advance(WINDOW * 1000)
    denied(app, 2)

    more = "denied by require_api_key (missing), client 192.0.2.7: … and 1,204 more"
    assert caplog.messages == [FIRST, more, FIRST]
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_one_denial_is_not_counted_again(app: Flask, caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    denied(app)
    clock.advance(WINDOW * 1000)
    denied(app)

    assert caplog.messages == [FIRST, FIRST]


def test_clients_policies_and_reasons_have_lines_of_their_own(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.add_url_rule("/limited", "limited", limit("1/hour")(lambda: "limited"))

    denied(app, 2)
    denied(app, 2, Authorization="Bearer wrong")
    denied(app, 2, "198.51.100.1")
    denied(app, 2, "2001:db8::1")
    denied(app, 2, "2001:db8::2")  # in the same network: one client
    for _ in range(3):
        app.test_client().get("/limited", headers={"X-API-Key": "the secret of ci"})

    unknown = "GET / denied by require_api_key (unknown)"
    assert caplog.messages == [FIRST, unknown, FIRST, FIRST, "GET /limited denied by limit (exceeded)"]


def test_record_says_who_was_denied_by_which_limit(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.add_url_rule("/", "index", limit("1/hour", by="api_key")(require_api_key(lambda: "hello")))
    Guard(app, policies=[log_timing])
    key = {"X-API-Key": "the secret of ci", "X-Request-ID": "the-id"}
    caplog.set_level(logging.INFO, logger="flask_guard")

    for headers in (key, key, {}):
        app.test_client().get("/", headers=headers)

    exceeded, missing = (vars(record) for record in caplog.records if record.name == "flask_guard")
    fields = ("policy", "reason", "limit", "client", "request_id")
    assert [exceeded[name] for name in fields] == ["limit", "exceeded", "1-per-hour", "api_key ci", "the-id"]
    assert [missing[name] for name in fields[:4]] == ["require_api_key", "missing", None, "127.0.0.1"]


@pytest.mark.slow
def test_clients_without_end_make_neither_lines_nor_memory_without_end(
    app: Flask, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    for number in range(3 * MOST_LINES):
        denied(app, 2, f"203.0.{number // 250}.{number % 250}")
    assert len(caplog.messages) == MOST_LINES

    clock.advance(WINDOW * 1000)
    caplog.clear()
    denied(app)

    counts = [
        int(found[1].replace(",", "")) for each in caplog.messages if (found := re.search(r"and ([\d,]+) more", each))
    ]
    assert len(caplog.messages) == MOST_LINES + 2
    assert "denied by require_api_key (missing), client others: … and 400 more" in caplog.messages
    assert sum(counts) + MOST_LINES == 6 * MOST_LINES


@pytest.mark.slow
def test_reasons_without_end_make_no_lines_without_end(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    caplog.set_level(logging.INFO, logger="flask_guard")
    reasons = iter(range(100 * MOST_LINES))

    @middleware
    def refuse(request: object) -> None:
        raise Denied("no", policy="refuse", reason=f"because {next(reasons)}")

    app = make_app()
    Guard(app, policies=[refuse])
    denied(app, 5 * MOST_LINES)
    clock.advance(WINDOW * 1000)
    denied(app)

    counts = [
        int(found[1].replace(",", "")) for each in caplog.messages if (found := re.search(r"and ([\d,]+) more", each))
    ]
    assert len(caplog.messages) <= 3 * MOST_LINES
    assert sum(counts) == 4 * MOST_LINES


def test_signals_and_metrics_get_each_one(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    app.add_url_rule("/", "index", lambda: "hello")
    Guard(app, policies=[metrics, require_api_key])
    heard: list[str] = []

    with request_denied.connected_to(lambda _app, denial, request: heard.append(denial.reason), app):
        denied(app, 50)

    assert heard == ["missing"] * 50
    assert list(samples(app, "flask_guard_denials_total", "policy").values()) == [50]


@pytest.mark.slow
def test_counts_are_exact_whichever_threads_are_denied(
    app: Flask, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    denied(app)
    threads = [threading.Thread(target=denied, args=(app, 50)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.advance(WINDOW * 1000)
    denied(app)

    assert caplog.messages == [
        FIRST,
        "denied by require_api_key (missing), client 192.0.2.7: … and 400 more",
        FIRST,
    ]


def test_nothing_is_counted_where_nobody_listens(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="flask_guard")
    denied(app, 5)
    caplog.set_level(logging.INFO, logger="flask_guard")

    denied(app)

    assert caplog.messages == [FIRST]


def test_each_denial_is_logged_in_debug_mode(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.debug = True

    denied(app, 3)

    assert len(caplog.messages) == 3


@pytest.mark.parametrize("mode", ["enforce", "report"])
def test_report_mode_is_bounded_too_and_apart(make_app: MakeApp, caplog: pytest.LogCaptureFixture, mode: Any) -> None:
    app = make_app()
    app.add_url_rule("/", "index", lambda: "hello")
    Guard(app, policies=[require_api_key(mode="report"), limit("1/hour", mode=mode)])
    caplog.set_level(logging.INFO, logger="flask_guard")

    for _ in range(4):
        app.test_client().get("/")

    would = "would be denied" if mode == "report" else "denied"
    assert [each for each in caplog.messages if each.startswith("GET")] == [
        "GET / would be denied by require_api_key (missing)",
        f"GET / {would} by limit (exceeded)",
    ]


@pytest.mark.slow
def test_counts_are_written_when_the_process_ends() -> None:
    program = """
import logging
from flask import Flask
from flask_guard import Guard, require_api_key
logging.basicConfig(level=logging.INFO, format="%(message)s")
app = Flask("ends")
app.config["GUARD_API_KEYS"] = {"ci": "a long random secret"}
app.add_url_rule("/", "index", lambda: "hello")
Guard(app, policies=[require_api_key])
for _ in range(30):
    app.test_client().get("/")
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stderr.splitlines() == [FIRST, "denied by require_api_key (missing), client 127.0.0.1: … and 29 more"]
