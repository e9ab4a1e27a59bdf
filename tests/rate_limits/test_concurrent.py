"""`limit.concurrent`: how many requests of a client are at work at once, and when a place is free again."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, abort, request, send_file, stream_with_context
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from flask.testing import FlaskClient

from flask_guard import Guard, Policy, limit, log_timing, middleware, protect, require_api_key
from tests.cases import together

from ..conftest import MakeApp
from ..flask_versions import needs_streams_that_end
from ..storage_clock import Clock
from .structured_fields import fields


class Slow:
    """A view that waits until it is let go."""

    def __init__(self) -> None:
        self.at_work = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self) -> str:
        self.at_work.release()
        assert self.go.wait(10)
        return "done"


@contextmanager
def requests_at_work(app: Flask, slow: Slow, count: int, path: str = "/slow") -> Iterator[list[Future[int]]]:
    """Have `count` requests at work for a ``with`` block."""
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(lambda: app.test_client().get(path).status_code) for _ in range(count)]
        try:
            for _ in range(count):
                assert slow.at_work.acquire(timeout=10)
            yield futures
        finally:
            slow.go.set()


def guarded(app: Flask, *policies: Policy, view: Callable[[], Any] = lambda: "done", **guard: Any) -> FlaskClient:
    """Guard `app` with one view that has `policies`, and return a client."""
    Guard(app, **guard)
    app.add_url_rule("/", "view", protect(view, *policies), methods=["GET", "POST"])
    return app.test_client()


def statuses(client: FlaskClient, count: int = 3, path: str = "/", **request: Any) -> list[int]:
    answers = []
    for _ in range(count):
        with client.open(path, **request) as response:
            answers.append(response.status_code)
            response.get_data()
    return answers


# At once ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [1, 3])
def test_so_many_are_at_work_at_once_and_the_next_is_refused(app: Flask, amount: int) -> None:
    slow, client = Slow(), app.test_client()
    Guard(app)
    app.add_url_rule("/slow", "slow", limit.concurrent(amount)(slow))

    with requests_at_work(app, slow, amount) as working:
        refused = client.get("/slow")

    problem = json.loads(refused.text)
    assert (refused.status_code, problem["violated-policies"]) == (429, [f"{amount}-at-once"])
    assert problem["type"].endswith("#quota-exceeded")
    assert 1 <= int(refused.headers["Retry-After"]) <= 2
    assert [each.result() for each in working] == [200] * amount
    assert statuses(client, amount + 2, "/slow") == [200] * (amount + 2)


@pytest.mark.slow
def test_of_many_threads_never_more_than_so_many_are_at_work(app: Flask) -> None:
    lock, at_work, most = threading.Lock(), 0, 0

    def busy() -> str:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.001)
        with lock:
            at_work -= 1
        return ""

    guarded(app, limit.concurrent(3), view=busy)
    together = threading.Barrier(16)

    def worker(_number: int) -> list[int]:
        client = app.test_client()
        together.wait()
        return statuses(client, 50)

    with ThreadPoolExecutor(16) as pool:
        answers = [status for each in pool.map(worker, range(16)) for status in each]

    assert most == 3
    assert {*answers} == {200, 429}
    assert statuses(app.test_client(), 4) == [200] * 4


def test_each_client_has_places_of_its_own(app: Flask) -> None:
    slow = Slow()
    Guard(app)
    policy = limit.concurrent(1, by=lambda: request.args.get("who"))
    app.add_url_rule("/slow", "slow", policy(slow))

    with requests_at_work(app, slow, 1, "/slow?who=a"), requests_at_work(app, slow, 1, "/slow?who=b"):
        assert statuses(app.test_client(), 1, "/slow?who=a") == [429]


# Free again ------------------------------------------------------------------------------------------------------


def broken() -> str:
    raise ZeroDivisionError


def streamed() -> Response:
    return Response(stream_with_context(iter(["one ", "two"])))


def a_file() -> Response:
    return send_file(Path(__file__))


def a_file_in_memory() -> Response:
    return send_file(io.BytesIO(b"in memory"), mimetype="text/plain")


async def asynchronous() -> str:
    return "async"


ENDS: dict[str, Callable[[], Any]] = {
    "returned": lambda: "done",
    "abort": lambda: abort(403),
    "unhandled": broken,
    "streamed": streamed,
    "plain generator": lambda: (chunk for chunk in ("one ", "two")),
    "file": a_file,
    "file in memory": a_file_in_memory,
    "empty": lambda: Response(status=204),
    "async": asynchronous,
}


@pytest.mark.slow
@together("method", ["GET", "HEAD", "POST"])
@together("around", [(), (log_timing,)])
@together("end", ENDS)
def test_a_place_is_free_again_however_the_request_ends(
    app: Flask, end: str, around: tuple[Policy, ...], method: str
) -> None:
    client = guarded(app, limit.concurrent(1), view=ENDS[end], policies=around)

    assert statuses(client, method=method) == [{"abort": 403, "unhandled": 500, "empty": 204}.get(end, 200)] * 3


@pytest.mark.parametrize("view", [streamed, a_file, a_file_in_memory, ENDS["plain generator"]])
@pytest.mark.parametrize("around", [(), (log_timing,)], ids=["alone", "with log_timing"])
def test_a_streamed_body_holds_its_place_until_it_is_closed(
    app: Flask, view: Callable[[], Any], around: tuple[Policy, ...]
) -> None:
    client = guarded(app, limit.concurrent(1), view=view, policies=around)
    under_way = client.get("/")

    during = statuses(client, 2)
    under_way.close()

    assert (under_way.status_code, during) == (200, [429, 429])
    assert statuses(client, 1) == [200]


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)], ids=["HEAD", "no content", "not modified"]
)
def test_a_response_without_a_body_holds_no_place_although_it_is_never_closed(
    app: Flask, method: str, status: int
) -> None:
    client = guarded(app, limit.concurrent(1), view=lambda: Response((each for each in ("one", "two")), status=status))

    unclosed = [client.open("/", method=method) for _ in range(3)]

    assert [each.status_code for each in unclosed] == [status] * 3


def test_a_body_that_breaks_off_gives_its_place_back(app: Flask) -> None:
    def breaking() -> Iterator[str]:
        yield "one"
        raise ZeroDivisionError

    client = guarded(app, limit.concurrent(1), view=lambda: Response(breaking()))

    for _ in range(3):
        response = client.get("/")
        with pytest.raises(ZeroDivisionError):
            response.get_data()
        response.close()
        assert response.status_code == 200


def test_an_exception_that_propagates_gives_the_place_back(make_app: MakeApp) -> None:
    client = guarded(make_app(TESTING=True), limit.concurrent(1), view=broken)

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            client.get("/")


@needs_streams_that_end
def test_a_hook_that_raises_on_a_streamed_response_gives_the_place_back(app: Flask) -> None:
    @app.after_request
    def outermost(response: Response) -> Response:
        if response.status_code == 200:
            raise ZeroDivisionError
        return response

    assert statuses(guarded(app, limit.concurrent(1), view=streamed)) == [500] * 3


class BrokenSessions(SecureCookieSessionInterface):
    """Sessions that cannot be saved on what is served."""

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if response.status_code == 200:
            raise ZeroDivisionError


@needs_streams_that_end
@pytest.mark.parametrize("propagates", [False, True])
def test_a_streamed_response_whose_session_fails_to_save_gives_the_place_back(
    make_app: MakeApp, propagates: bool
) -> None:
    app = make_app(TESTING=propagates)
    app.session_interface = BrokenSessions()
    client = guarded(app, limit.concurrent(1), view=streamed)

    for _ in range(3):
        if propagates:
            with pytest.raises(ZeroDivisionError):
                client.get("/")
        else:
            assert client.get("/").status_code == 500


LATER: dict[str, tuple[list[Policy], int]] = {
    "a key": ([require_api_key], 401),
    "a limit by key": ([require_api_key(optional=True), limit("1/day", by="api_key")], 429),
    "a middleware": ([middleware(lambda request: ("no", 418))], 418),
}


@pytest.mark.parametrize("later", LATER)
def test_what_a_later_policy_refuses_gives_its_place_back(app: Flask, later: str) -> None:
    policies, status = LATER[later]
    client = guarded(app, limit.concurrent(1), *policies)
    client.get("/")

    assert statuses(client) == [status] * 3


def test_what_a_neighbour_refuses_takes_no_place_and_the_other_way_round(app: Flask) -> None:
    slow = Slow()
    Guard(app)
    app.add_url_rule("/slow", "slow", protect(slow, limit.concurrent(1), limit("2/day")))
    client = app.test_client()

    with requests_at_work(app, slow, 1):
        refused = [client.get("/slow") for _ in range(3)]

    left = [{name: parameters["r"] for name, parameters in fields(each)[1]} for each in refused]
    assert left == [{"1-at-once": 0, "2-per-day": 1}] * 3
    assert statuses(client, 3, "/slow") == [200, 429, 429]


def test_a_lease_ends_by_itself_if_nobody_gives_the_place_back(app: Flask, clock: Clock) -> None:
    client = guarded(app, limit.concurrent(1, lease=60), view=ENDS["plain generator"])
    abandoned = client.get("/")

    before = statuses(client, 1)
    clock.advance(61)
    after = client.get("/")
    abandoned.close()  # it gives back its own place, which it has lost, and not that of another

    assert (before, after.status_code) == ([429], 200)
    assert statuses(client, 1) == [429]
    after.close()
    assert statuses(client, 1) == [200]
