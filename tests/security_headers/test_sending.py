"""Many security headers are sent without a second check, and whatever else a response has is sent as ever."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import flask
import pytest
from flask import Flask, Response, make_response, redirect

from flask_guard import Guard, secure_headers
from tests.conftest import MakeApp

CSP = "Content-Security-Policy"


def answers(app: Flask, view: Callable[[], object], method: str = "GET") -> tuple[str, list[tuple[str, str]], bytes]:
    """Return what a client gets from `view`, with its headers in order of their names."""
    app.add_url_rule("/", "view", view, methods=["GET"])  # type: ignore[arg-type]
    response = app.test_client().open("/", method=method)
    return response.status, sorted(response.headers), response.data


def streamed() -> Response:
    return Response(iter(["a", "b"]), mimetype="text/plain")


def own_header() -> Response:
    response = make_response("x")
    response.headers[CSP] = "default-src 'none'"
    return response


def two_lines() -> Response:
    response = make_response("x")
    response.headers.add("Link", "</a>; rel=preload")
    response.headers.add("Link", "</b>; rel=preload")
    return response


VIEWS: dict[str, Callable[[], object]] = {
    "text": lambda: "x",
    "no content": lambda: ("", 204),
    "not modified": lambda: ("", 304, {"ETag": '"1"', "Content-Type": "text/plain"}),
    "redirect": lambda: redirect("/ä"),
    "content location": lambda: ("x", {"Content-Location": "/ä"}),
    "stream": streamed,
    "header of its own": own_header,
    "lines of one name": two_lines,
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", VIEWS)
def test_response_is_the_one_that_werkzeug_sends(make_app: MakeApp, name: str, method: str) -> None:
    class Own(Response):
        """A class that is not Flask's own is sent as ever."""

    guarded, plain = make_app(), make_app()
    plain.response_class = Own
    for app in (guarded, plain):
        Guard(app, policies=[secure_headers])

    assert answers(guarded, VIEWS[name], method) == answers(plain, VIEWS[name], method)


def test_hooks_see_and_change_every_header(make_app: MakeApp) -> None:
    app = make_app()
    seen: list[set[str]] = []

    @app.after_request
    def change(response: Response) -> Response:
        seen.append({name for name, _ in response.headers})
        response.headers[CSP] = "default-src 'none'"
        del response.headers["Referrer-Policy"]
        return response

    Guard(app, policies=[secure_headers])
    headers = dict(answers(app, lambda: "x")[1])

    assert {CSP, "Referrer-Policy", "X-Frame-Options"} <= seen[0]
    assert headers[CSP] == "default-src 'none'"
    assert "Referrer-Policy" not in headers


def test_header_that_cannot_be_sent_is_found_all_the_same(make_app: MakeApp) -> None:
    app = make_app()

    def split() -> Response:
        response = make_response("x")
        response.headers.set("X-One", "1")
        return response

    @app.after_request
    def inject(response: Response) -> Response:
        response.headers._list.append(("X-Bad", "a\r\nSet-Cookie: b"))
        return response

    Guard(app, policies=[secure_headers])

    with pytest.raises(ValueError, match="newline"):
        answers(app, split)


def test_object_that_an_app_returns_again_has_the_headers_of_each_policy(make_app: MakeApp) -> None:
    kept = Response("x")
    found = []
    for csp in ("default-src 'self'", "default-src 'none'"):
        kept.headers.remove(CSP)
        app = make_app()
        Guard(app, policies=[secure_headers(csp=csp)])
        found.append(dict(answers(app, lambda: kept)[1])[CSP])

    assert found == ["default-src 'self'", "default-src 'none'"]


def test_response_that_was_sent_is_still_one_of_flasks_with_its_headers_and_can_be_pickled(make_app: MakeApp) -> None:
    app = make_app()
    seen: list[Response] = []

    @app.after_request
    def keep(response: Response) -> Response:
        seen.append(response)
        return response

    Guard(app, policies=[secure_headers])
    answers(app, lambda: "x")

    assert isinstance(seen[0], flask.Response)
    assert {CSP, "Content-Type"} <= {*seen[0].headers.keys()}
    copy = pickle.loads(pickle.dumps(seen[0]))  # noqa: S301
    assert (copy.data, list(copy.headers)) == (b"x", list(seen[0].headers))
