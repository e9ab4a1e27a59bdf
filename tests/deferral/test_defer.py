"""`defer`: when a deferred function runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.wsgi import WsgiToAsgi
from flask import Flask, Response, abort, current_app, send_file, stream_with_context
from werkzeug.test import create_environ

from flask_guard import Guard, defer, middleware
from tests.conftest import MakeApp
from tests.ids import shown

pytestmark = pytest.mark.usefixtures("hurried_threads")


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """Return a guarded app that is not testing: what it defers runs on threads."""
    app = make_app()
    Guard(app)
    return app


class Seen:
    """Takes calls, and waits for them."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.threads: list[str] = []
        self._called = threading.Condition()

    def __call__(self, value: Any = None) -> None:
        with self._called:
            self.calls.append(value)
            self.threads.append(threading.current_thread().name)
            self._called.notify_all()

    def wait(self, number: int = 1) -> list[Any]:
        """Return the calls, once there are `number`."""
        with self._called:
            assert self._called.wait_for(lambda: len(self.calls) >= number, 5), self.calls
            return self.calls

    def nothing(self, *, more_than: int = 0, seconds: float = 0.05) -> bool:
        """Return whether no call comes for a while."""
        with self._called:
            return not self._called.wait_for(lambda: len(self.calls) > more_than, seconds)


@pytest.fixture
def seen() -> Seen:
    return Seen()


def start(app: Flask, path: str = "/", method: str = "GET", **environ: Any) -> Any:
    """Start a request as a server does, and return the body, of which nothing has been read yet."""

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[..., None]:
        return lambda _data: None

    return app.wsgi_app({**create_environ(path, method=method), **environ}, start_response)


# When ------------------------------------------------------------------------------------------------------------


def test_it_runs_on_a_thread_when_the_body_has_been_sent(app: Flask, seen: Seen) -> None:
    @app.get("/")
    def index() -> str:
        defer(seen, "a")
        defer(seen, value="b")
        return "hello"

    body = iter(start(app))
    assert next(body) == b"hello"
    assert seen.nothing()
    assert list(body) == []

    assert sorted(seen.wait(2)) == ["a", "b"]
    assert set(seen.threads) == {"flask_guard-defer"}


def test_it_runs_after_the_last_byte_of_a_stream(app: Flask, seen: Seen) -> None:
    def numbers() -> Iterator[str]:
        yield "1"
        defer(seen, "by the stream")
        yield "2"

    @app.get("/")
    def index() -> Any:
        defer(seen, "by the view")
        return stream_with_context(numbers())

    body = iter(start(app))
    assert (next(body), next(body)) == (b"1", b"2")
    assert seen.nothing()
    assert list(body) == []

    assert sorted(seen.wait(2)) == ["by the stream", "by the view"]


def test_it_runs_when_the_client_leaves_a_stream(app: Flask, seen: Seen) -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "again"

    @app.get("/")
    def index() -> Any:
        defer(seen)
        return endless()

    body = start(app)
    next(iter(body))
    body.close()

    assert seen.wait() == [None]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["as it is", "by the server"])
def test_it_runs_after_a_sent_file(app: Flask, seen: Seen, tmp_path: Path, method: str, wrapped: bool) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")

    class FileWrapper:
        """What a server recognises and sends itself: of it only `close` is called."""

        def __init__(self, file: Any, _size: int = 8192) -> None:
            self._file = file

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._file)

        def close(self) -> None:
            self._file.close()

    @app.get("/")
    def index() -> Response:
        defer(seen)
        return send_file(tmp_path / "file")

    environ: dict[str, Any] = {"wsgi.file_wrapper": FileWrapper} if wrapped else {}
    body = start(app, method=method, **environ)
    assert isinstance(body, FileWrapper) == (wrapped and method == "GET")
    if method == "GET":
        assert seen.nothing()
    list(body)
    body.close()

    assert seen.wait() == [None]


def test_it_waits_for_the_response_that_is_sent_though_others_were_made(app: Flask, seen: Seen) -> None:
    @middleware
    def replacing(request: object) -> Generator[None, Response, Any]:
        yield
        defer(seen, "middleware")
        return "replaced", 202

    @app.after_request
    def hook(response: Response) -> Response:
        defer(seen, "hook")
        return Response("replaced, too")

    @app.get("/")
    @replacing
    def index() -> str:
        defer(seen, "view")
        return "hello"

    body = start(app)
    assert seen.nothing()
    assert b"".join(body) == b"replaced"

    assert sorted(seen.wait(3)) == ["hook", "middleware", "view"]


@pytest.mark.parametrize("fails", [lambda: abort(409), lambda: 1 / 0])
def test_it_runs_though_the_request_fails(app: Flask, seen: Seen, fails: Callable[[], Any]) -> None:
    @app.get("/")
    def index() -> str:
        defer(seen)
        return str(fails())

    assert app.test_client().get("/", buffered=True).status_code in (409, 500)

    assert seen.wait() == [None]


def test_it_runs_once_when_the_request_ends_without_a_response(make_app: MakeApp, seen: Seen) -> None:
    app = make_app(PROPAGATE_EXCEPTIONS=True)
    Guard(app)

    @app.get("/")
    def index() -> str:
        defer(seen)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start(app)

    assert seen.wait() == [None]
    assert seen.nothing(more_than=1)


def test_what_is_deferred_while_the_request_is_torn_down_runs(app: Flask, seen: Seen) -> None:
    app.teardown_request(lambda error: defer(seen))
    app.add_url_rule("/", "index", lambda: "hello")

    app.test_client().get("/", buffered=True)

    assert seen.wait() == [None]


def test_outside_of_a_request_it_runs_at_once(app: Flask, seen: Seen) -> None:
    with app.app_context():
        defer(seen)
        assert seen.wait() == [None]

    assert seen.threads == ["flask_guard-defer"]


def test_a_deferred_function_may_defer(app: Flask, seen: Seen) -> None:
    @app.get("/")
    def index() -> str:
        defer(defer, seen, "later")
        return "hello"

    app.test_client().get("/", buffered=True)

    assert seen.wait() == ["later"]


def test_what_one_app_defers_in_the_request_of_another_runs_in_its_own(
    app: Flask, make_app: MakeApp, seen: Seen
) -> None:
    other = Flask("other")
    Guard(other)

    @app.get("/")
    def index() -> str:
        with other.app_context():
            defer(lambda: seen(current_app.name))
            seen.wait()
        return "hello"

    app.test_client().get("/", buffered=True)

    assert seen.calls == ["other"]


@pytest.mark.parametrize("streamed", [False, True])
def test_it_runs_when_a_server_drops_the_body_without_closing_it(app: Flask, seen: Seen, streamed: bool) -> None:
    @app.get("/")
    def index() -> Response:
        defer(seen, "done")
        return Response(iter(["a", "b"]) if streamed else "hello")

    body = iter(start(app))
    next(body)
    assert seen.nothing()
    del body

    assert seen.wait() == ["done"]
    assert seen.nothing(more_than=1)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("body", ["hello", ["a", "b"], iter(["a", "b"])], ids=["text", "list", "stream"])
def test_it_runs_though_the_server_closes_nothing_and_something_holds_the_response(
    app: Flask, seen: Seen, method: str, body: Any
) -> None:
    """As under asgiref's WsgiToAsgi, where Python 3.10 keeps the response of an async view until the next request."""
    held: list[Response] = []

    @app.get("/")
    def index() -> Response:
        defer(seen, "done")
        held.append(Response(body))
        return held[0]

    list(start(app, method=method))

    assert seen.wait() == ["done"]


@pytest.mark.parametrize("body", ["hello", ["a", "bc"], []], ids=shown)
def test_length_of_the_response_is_as_without_it(app: Flask, body: Any) -> None:
    app.add_url_rule("/plain", "plain", lambda: Response(body))

    @app.get("/")
    def index() -> Response:
        defer(list)
        return Response(body)

    client = app.test_client()

    for method in ("GET", "HEAD"):
        deferring, plain = client.open("/", method=method), client.open("/plain", method=method)
        assert deferring.headers.get("Content-Length") == plain.headers.get("Content-Length")
        assert deferring.data == plain.data


def test_what_an_async_view_defers_runs_under_an_adapter_to_asgi(app: Flask, seen: Seen) -> None:
    @app.get("/")
    async def index() -> str:
        await asyncio.sleep(0)
        defer(seen, "done")
        return "hello"

    adapted = WsgiToAsgi(app)  # type: ignore[no-untyped-call]
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/", "query_string": b"", "headers": []}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: object) -> None:
        """Take a part of the response."""

    asyncio.run(adapted(scope, receive, send))

    assert seen.wait() == ["done"]
