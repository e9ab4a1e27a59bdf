"""Denials are answered at once where nothing of the app takes them, and with the response that Flask would make."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import pytest
from flask import Flask, Request, Response, request
from flask.ctx import AppContext
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from flask_guard import (
    Denied,
    Guard,
    LimitExceeded,
    Unauthenticated,
    cors,
    limit,
    middleware,
    request_denied,
    require_api_key,
)
from tests.conftest import MakeApp

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def denying(app: Flask, denial: Denied) -> Flask:
    """Return `app` with a view that is denied."""

    @middleware
    def deny(_request: Request) -> None:
        raise denial

    app.add_url_rule("/", "view", deny(lambda: "secret"))
    Guard(app)
    return app


def a_denial(kind: type[Denied] = Unauthenticated, **options: Any) -> Denied:
    defaults = {"policy": "deny", "reason": "test", "headers": [("WWW-Authenticate", "Bearer realm=x")]}
    return kind(options.pop("detail", "You <may> not."), **{**defaults, **options})


class _Odd(Unauthenticated):
    """A denial that renders itself in a way of its own."""

    def problem(self) -> dict[str, Any]:
        return {"odd": self.reason}


DENIALS = {
    "plain": lambda: a_denial(),
    "with members": lambda: a_denial(LimitExceeded, members={"violated-policies": ["a"]}),
    "of its own": lambda: a_denial(_Odd),
    "without fields": lambda: a_denial(Denied, headers=()),
    "with markup": lambda: a_denial(detail=Markup("<b>No.</b>")),
    "with a list of lists": lambda: a_denial(headers=[["Retry-After", "5"]]),
}


@pytest.mark.parametrize("accept", [None, BROWSER])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", DENIALS)
def test_answer_is_the_one_that_flask_would_make(make_app: MakeApp, name: str, method: str, accept: str | None) -> None:
    def answer(app: Flask) -> tuple[str, dict[str, str], bytes]:
        headers = {} if accept is None else {"Accept": accept}
        response = denying(app, DENIALS[name]()).test_client().open("/", method=method, headers=headers)
        return response.status, dict(response.headers), response.data

    by_flask = make_app()
    by_flask.register_error_handler(HTTPException, lambda error: error)

    assert answer(make_app()) == answer(by_flask)


def test_equal_denials_of_two_classes_and_codes_are_answered_apart(make_app: MakeApp) -> None:
    def answer(kind: type[Denied]) -> tuple[int, Any]:
        response = denying(make_app(), a_denial(kind)).test_client().get("/")
        return response.status_code, response.get_json()["type"]

    assert answer(Unauthenticated) == (401, "about:blank")
    assert answer(LimitExceeded) == (429, "https://iana.org/assignments/http-problem-types#quota-exceeded")


def test_text_with_the_letters_of_markup_is_escaped(make_app: MakeApp) -> None:
    def page(detail: str) -> str:
        app = denying(make_app(), a_denial(detail=detail))
        return app.test_client().get("/", headers={"Accept": BROWSER}).text

    assert "<b>No.</b>" in page(Markup("<b>No.</b>"))
    assert "&lt;b&gt;No.&lt;/b&gt;" in page("<b>No.</b>")


@pytest.mark.parametrize("method", ["handle_user_exception", "handle_http_exception"])
@pytest.mark.parametrize("on_class", [True, False])
def test_app_that_handles_exceptions_in_a_way_of_its_own_gets_denials(method: str, on_class: bool) -> None:
    def handle(
        self: Flask, ctx: AppContext, *_args: Any
    ) -> tuple[str, int]:  # from Flask 3.2 on, the context comes first
        return "handled", 418

    handle.__name__ = method
    kind = type("Own", (Flask,), {method: handle}) if on_class else Flask
    app = kind(__name__)
    app.config["GUARD_API_KEYS"] = {"ci": "the secret of ci"}
    if not on_class:
        setattr(app, method, partial(handle, app))
    app.add_url_rule("/", "view", require_api_key(lambda: "secret"))
    Guard(app)

    response = app.test_client().get("/")

    assert (response.status_code, response.text) == (418, "handled")


@pytest.mark.parametrize("method", ["make_response", "finalize_request"])
def test_app_that_makes_responses_in_a_way_of_its_own_gets_denials(app: Flask, method: str) -> None:
    make = getattr(app, method)

    def make_own(*args: Any, **options: Any) -> Any:
        own = [(f"made of {type(each).__name__}", 418) if isinstance(each, HTTPException) else each for each in args]
        return make(*own, **options)

    setattr(app, method, make_own)

    response = denying(app, a_denial()).test_client().get("/")

    assert (response.status_code, response.text) == (418, "made of Unauthenticated")


def test_app_of_a_class_that_makes_responses_in_a_way_of_its_own_gets_denials() -> None:
    class Own(Flask):
        """An app with errors of its own."""

        def make_response(self, rv: Any) -> Response:
            return super().make_response(("made", 418) if isinstance(rv, HTTPException) else rv)

    response = denying(Own(__name__), a_denial()).test_client().get("/")

    assert (response.status_code, response.text) == (418, "made")


def test_handler_is_found_by_the_status_of_the_class(app: Flask) -> None:
    denial = a_denial()
    denial.code = 404
    app.register_error_handler(401, lambda error: ("handled", error.code))

    response = denying(app, denial).test_client().get("/")

    assert (response.status_code, response.text) == (404, "handled")


def test_trapped_denial_is_an_exception_of_the_app(make_app: MakeApp) -> None:
    app = denying(make_app(TRAP_HTTP_EXCEPTIONS=True, TESTING=True), a_denial())

    with pytest.raises(Unauthenticated):
        app.test_client().get("/")


def test_answer_is_of_the_class_of_the_apps_responses(make_app: MakeApp) -> None:
    class Own(Response):
        default_mimetype: ClassVar[str] = "text/x-own"  # type: ignore[misc]

    app = make_app()
    app.response_class = Own
    seen: list[type] = []

    @app.after_request
    def look(response: Response) -> Response:
        seen.append(type(response))
        return response

    assert denying(app, a_denial()).test_client().get("/").status_code == 401
    assert seen == [Own]


def guarded(make_app: MakeApp) -> Flask:
    """Return an app with a limit of one request, a view that needs a key, and one that pages of an origin may read."""
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.add_url_rule("/limited", "limited", limit("1/hour")(lambda: "once"))
    app.add_url_rule("/key", "key", require_api_key(lambda: "secret"))
    app.add_url_rule("/shared", "shared", cors(origins="https://app.example.com")(lambda: "shared"))
    Guard(app)
    return app


def test_changes_of_one_denial_are_in_its_answer_and_in_no_other(make_app: MakeApp) -> None:
    app = guarded(make_app)
    app.test_client().get("/limited")

    def change(_sender: Flask, denial: Denied, request: Request) -> None:
        if "change" in request.args:
            denial.description = "Changed."
            denial.members["violated-policies"].append("more")
            denial.members["more"] = 1
            denial.headers = (*denial.headers, ("X-More", "yes"))

    with request_denied.connected_to(change, app):
        before, changed, after = (app.test_client().get(f"/limited{query}") for query in ("", "?change", ""))

    documents = [answer.get_json() for answer in (before, changed, after)]
    assert [document["violated-policies"] for document in documents] == [
        ["1-per-hour"],
        ["1-per-hour", "more"],
        ["1-per-hour"],
    ]
    assert [document.get("more") for document in documents] == [None, 1, None]
    assert [document["detail"] == "Changed." for document in documents] == [False, True, False]
    assert [answer.headers.get("X-More") for answer in (before, changed, after)] == [None, "yes", None]
    assert all(answer.content_length == len(answer.data) for answer in (before, changed, after))


def test_denials_of_requests_are_exceptions_of_their_own(make_app: MakeApp) -> None:
    app = guarded(make_app)
    app.test_client().get("/limited")
    seen: list[Denied] = []

    def see(_sender: Flask, denial: Denied, **_rest: Any) -> None:
        seen.append(denial)

    with request_denied.connected_to(see, app):
        for path in ("/limited", "/limited", "/key", "/key"):
            app.test_client().get(path)

    assert [type(denial) for denial in seen] == [LimitExceeded] * 2 + [Unauthenticated] * 2
    assert len({id(denial) for denial in seen}) == 4
    assert [denial.__traceback__ for denial in seen] == [None] * 4


@pytest.mark.parametrize("path", ["/limited", "/key", "/shared"])
def test_answers_share_nothing(make_app: MakeApp, path: str) -> None:
    app = guarded(make_app)
    closed: list[str] = []

    @app.after_request
    def change(response: Response) -> Response:
        if "change" in request.args:
            response.call_on_close(lambda: closed.append("changed"))
            response.headers["X-Changed"] = "yes"
            response.response = [*response.response, b"changed"]
        return response

    app.test_client().get("/limited")
    headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}
    method = "OPTIONS" if path == "/shared" else "GET"
    changed, after = (
        app.test_client().open(url, method=method, headers=headers, buffered=True) for url in (f"{path}?change", path)
    )

    assert (changed.headers.get("X-Changed"), after.headers.get("X-Changed")) == ("yes", None)
    assert b"changed" not in after.data
    assert closed == ["changed"]


def test_preflight_is_answered_by_the_constructor_that_a_response_class_has(make_app: MakeApp) -> None:
    class Own(Response):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.of_constructor = ["made"]

    app = make_app()
    app.response_class = Own
    seen: list[list[str]] = []

    @app.after_request
    def look(response: Response) -> Response:
        assert isinstance(response, Own)
        seen.append(response.of_constructor)
        return response

    app.add_url_rule("/", "view", cors(origins="https://app.example.com")(lambda: "shared"))
    Guard(app)
    headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}

    for _ in range(2):
        app.test_client().options("/", headers=headers)

    assert seen == [["made"], ["made"]]


@pytest.mark.parametrize("value", ["a\nb", "a\rb"])
def test_field_of_a_denial_with_a_line_break_is_not_sent(make_app: MakeApp, value: str) -> None:
    response = denying(make_app(), a_denial(headers=[("X-Field", value)])).test_client().get("/")

    assert response.status_code == 500
    assert "X-Field" not in response.headers


def test_denial_with_a_length_of_its_own_is_sent_with_the_length_of_its_body(make_app: MakeApp) -> None:
    response = denying(make_app(), a_denial(headers=[("content-length", "1")])).test_client().get("/")

    assert response.headers.getlist("Content-Length") == [str(len(response.data))]
