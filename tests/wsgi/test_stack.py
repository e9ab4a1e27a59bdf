"""`stack`: layers around an application, the first of them the outermost."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_guard.wsgi import Answer, Ending, HeaderList, Headers, Middleware, RequestID, Timing, stack
from tests.wsgi.driver import Server, answering, environ_of, send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

hello = answering([b"hello"], "text/plain")


class Tag(Middleware):
    """Notes when it saw what."""

    def __init__(self, app: WSGIApplication | None = None, *, name: str) -> None:
        super().__init__(app)
        self.name = name

    def on_request(self, environ: WSGIEnvironment) -> Answer | None:
        environ.setdefault("test.order", []).append(self.name)
        return None

    def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> None:
        headers.append(("X-Order", self.name))


def test_first_layer_of_a_stack_is_the_outermost() -> None:
    environ = environ_of()

    answer = Server(stack(hello, Tag(name="a"), Tag(name="b"), Tag(name="c"))).serve(environ)

    assert environ["test.order"] == ["a", "b", "c"]
    assert answer["X-Order"] == "c, b, a"


class Closing(Tag):
    """Answers in place of what is inside."""

    def on_request(self, environ: WSGIEnvironment) -> Answer:
        super().on_request(environ)
        return "503 Service Unavailable", [("Content-Type", "text/plain")], [b"closed"]


class Renamed(Tag):
    """A layer that does it all by itself."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]:
        environ["test.order"].append("renamed")
        return self.app(environ, start_response)


class Watching(Tag):
    """A layer that sees bodies out."""

    def on_end(self, environ: WSGIEnvironment, ending: Ending) -> None:
        environ["test.order"].append("end")


def test_answer_of_a_layer_passes_those_around_it_and_itself() -> None:
    environ = environ_of()
    layers = (Tag(name="a"), Tag(name="b"), Closing(name="c"), Tag(name="d"), Closing(name="e"))

    answer = Server(stack(hello, *layers)).serve(environ)

    assert environ["test.order"] == ["a", "b", "c"]
    assert (answer.status, answer.body, answer["X-Order"]) == ("503 Service Unavailable", b"closed", "c, b, a")


def test_neighbours_of_every_kind_keep_their_order() -> None:
    environ = environ_of()
    layers = (
        Tag(name="a"),
        Renamed(name="b"),
        Tag(name="c"),
        Watching(name="d"),
        Tag(name="e"),
        Middleware(),
        Tag(name="f"),
    )

    answer = Server(stack(hello, *layers)).serve(environ)

    assert environ["test.order"] == ["a", "renamed", "c", "d", "e", "f", "end"]
    assert answer["X-Order"] == "f, e, d, c, a"


def test_layers_do_not_change_the_list_that_others_hold() -> None:
    seen: list[HeaderList] = []

    class Keeping(Middleware):
        def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> tuple[str, HeaderList]:
            seen.append(headers)
            return status, constant

    constant = [("Content-Type", "text/plain")]

    answer = send(stack(hello, Tag(name="a"), Keeping, Tag(name="b")))

    assert answer["X-Order"] == "a"
    assert constant == [("Content-Type", "text/plain")]
    assert ("X-Order", "a") not in seen[0]


def test_application_of_a_layer_is_not_changed_behind_its_back() -> None:
    layer = Tag(hello, name="a")

    with pytest.raises(AttributeError):
        layer.app = answering([b"other"])  # type: ignore[misc]

    assert layer.app is hello


def test_one_layer_can_be_in_several_stacks_and_stays_as_it_is() -> None:
    layer = Tag(name="a")

    one, other = stack(hello, layer), stack(answering([b"other"]), layer, layer)

    assert send(one).body == b"hello"
    assert (send(other).body, send(other)["X-Order"]) == (b"other", "a, a")
    with pytest.raises(RuntimeError, match="has no application: stack"):
        send(layer)
    assert send(stack(hello, layer)).body == b"hello"


def test_layers_of_others_fit_in() -> None:
    app = Flask("tests")
    app.add_url_rule("/", "index", lambda: request.remote_addr or "")
    layered = stack(app.wsgi_app, functools.partial(ProxyFix, x_for=1), RequestID)

    assert send(layered, HTTP_X_FORWARDED_FOR="192.0.2.7").body == b"192.0.2.7"


def test_stack_of_nothing_is_the_application() -> None:
    assert stack(hello) is hello


OUT_OF_ORDER: Any = Timing


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: stack(OUT_OF_ORDER, Headers()), TypeError, "the application first"),
        (lambda: stack(None), TypeError, "the application first"),  # type: ignore[arg-type]
        (lambda: stack(hello, None), TypeError, "takes a WSGI application and returns one"),  # type: ignore[arg-type]
        (lambda: stack(hello, lambda app: None), TypeError, "returns one"),  # type: ignore[arg-type,return-value]
        (lambda: stack(hello, Timing(hello)), ValueError, "Timing has an application already"),
        (lambda: Headers({"X-A": "b"}), TypeError, "takes options by keyword"),  # type: ignore[arg-type]
        (lambda: Timing(RequestID), TypeError, "goes around a WSGI application"),  # type: ignore[arg-type]
        (lambda: Timing(speed=3), TypeError, "speed"),  # type: ignore[call-arg]
    ],
)
def test_mistakes_are_refused_where_they_are_made(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
