"""`metrics`: which requests are counted, as what, and how long they took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, abort, g, stream_with_context
from flask.sessions import SecureCookieSessionInterface

from flask_guard import Guard, log_timing, metrics
from tests.clock import Clock
from tests.conftest import MakeApp

from .metrics_page import requests, samples, send, serve, start, timed


@pytest.fixture
def stream(clock: Clock) -> Callable[[], Any]:
    """Return a view whose body takes 20 ms for each chunk."""

    def chunks() -> Iterator[str]:
        for _ in range(3):
            clock.advance(20)
            yield "again"

    return lambda: stream_with_context(chunks())


def test_requests_are_counted_and_timed_by_endpoint_method_and_class_of_status(app: Flask) -> None:
    serve(app, lambda: "hello", methods=["GET", "POST"])
    app.add_url_rule("/missing", "missing", lambda: abort(404))

    for method, path in [
        ("GET", "/"),
        ("GET", "/"),
        ("POST", "/"),
        ("HEAD", "/"),
        ("OPTIONS", "/"),
        ("GET", "/missing"),
    ]:
        send(app, path, method)

    expected = {
        ("index", "GET", "2xx"): 2,
        ("index", "POST", "2xx"): 1,
        ("index", "HEAD", "2xx"): 1,
        ("index", "OPTIONS", "2xx"): 1,
        ("missing", "GET", "4xx"): 1,
    }
    assert requests(app) == timed(app) == expected


@pytest.mark.parametrize(("status", "label"), [(204, "2xx"), (302, "3xx"), (503, "5xx"), (600, "other"), (99, "other")])
def test_status_is_its_class(app: Flask, status: int, label: str) -> None:
    serve(app, lambda: ("", status))

    send(app)

    assert list(requests(app)) == [("index", "GET", label)]


def test_status_is_that_of_the_response_that_is_sent(app: Flask, stream: Callable[[], Any]) -> None:
    app.after_request(lambda response: Response("taken over", 502))
    serve(app, stream)

    send(app)

    assert requests(app) == timed(app) == {("index", "GET", "5xx"): 1}


@pytest.mark.parametrize("config", [{}, {"TESTING": True}])
def test_an_exception_is_a_5xx_once_whoever_answers(make_app: MakeApp, config: dict[str, Any]) -> None:
    app = serve(make_app(**config), lambda: 1 / 0)

    if config:
        with pytest.raises(ZeroDivisionError):
            send(app)
    else:
        send(app)

    assert requests(app) == {("index", "GET", "5xx"): 1}


class FailsToSave(SecureCookieSessionInterface):
    """Fails where a response is finished, behind every hook."""

    def save_session(self, *args: Any) -> None:
        fail_once()


def fail_once() -> None:
    if "failed" not in g:
        g.failed = True
        raise ZeroDivisionError


@pytest.mark.parametrize("fails", ["a hook", "the session"])
def test_a_response_that_fails_behind_the_policies_counts_as_the_500_that_is_sent(app: Flask, fails: str) -> None:
    def hook(response: Response) -> Response:
        fail_once()
        return response

    if fails == "a hook":
        app.after_request(hook)
    else:
        app.session_interface = FailsToSave()
    serve(app)

    assert send(app).status_code == 500
    assert requests(app) == timed(app) == {("index", "GET", "5xx"): 1}


def test_a_stream_is_timed_to_its_last_byte(app: Flask, stream: Callable[[], Any]) -> None:
    serve(app, stream, log_timing)

    body = start(app)
    assert requests(app) == {}
    assert b"".join(body) == b"again" * 3
    body.close()

    assert requests(app) == timed(app) == {("index", "GET", "2xx"): 1}
    ((_, seconds),) = samples(app, "flask_guard_request_duration_seconds_sum", "endpoint").items()
    assert seconds == pytest.approx(0.06)


def test_a_stream_that_the_client_leaves_is_counted_once(app: Flask, stream: Callable[[], Any]) -> None:
    serve(app, stream)

    body = start(app)
    next(iter(body))
    body.close()
    body.close()

    assert requests(app) == timed(app) == {("index", "GET", "2xx"): 1}


def test_a_client_that_keeps_the_context_counts_at_once(app: Flask) -> None:
    serve(app)

    with app.test_client() as client:
        client.get("/")
        assert requests(app) == {("index", "GET", "2xx"): 1}
        client.get("/")

    assert requests(app) == {("index", "GET", "2xx"): 2}


def test_durations_fall_into_the_buckets(app: Flask, clock: Clock) -> None:
    app.add_url_rule("/", "index", lambda: clock.advance(60) or "hello")  # type: ignore[func-returns-value]
    Guard(app, policies=[metrics(buckets=[0.05, 5])])

    send(app)

    assert samples(app, "flask_guard_request_duration_seconds_bucket", "le") == {
        ("0.05",): 0,
        ("5.0",): 1,
        ("+Inf",): 1,
    }


@pytest.mark.parametrize(("before", "status"), [(0, "5xx"), (1, "2xx")])
def test_a_stream_that_fails_has_the_status_that_the_client_sees(app: Flask, before: int, status: str) -> None:
    def chunks() -> Iterator[str]:
        yield from ["chunk"] * before
        raise ZeroDivisionError

    serve(app, lambda: Response(chunks()))

    with pytest.raises(ZeroDivisionError):
        send(app)

    assert requests(app) == {("index", "GET", status): 1}


def test_a_stream_that_nobody_reads_as_head_asks_is_counted(app: Flask) -> None:
    serve(app, lambda: Response(iter(["a", "b"])))

    body = start(app, method="HEAD")

    assert requests(app) == {("index", "HEAD", "2xx"): 1}
    body.close()
    assert requests(app) == {("index", "HEAD", "2xx"): 1}
