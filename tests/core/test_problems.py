"""`GUARD_PROBLEMS = "all"`: the app's own errors as problem documents, or as HTML for a browser."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from flask_guard import ConfigError, Guard, require_api_key
from tests.cases import together
from tests.conftest import MakeApp

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


def failing(make_app: MakeApp, **config: Any) -> Flask:
    app = make_app(MAX_CONTENT_LENGTH=10, **config)
    Guard(app)
    app.add_url_rule("/key", "key", require_api_key(lambda: "key"))
    app.add_url_rule("/post", "post", lambda: request.get_data(), methods=["POST"])
    app.add_url_rule("/json", "json", lambda: request.get_json(), methods=["POST"])
    app.add_url_rule("/broken", "broken", lambda: str(1 / 0))
    app.add_url_rule("/own", "own", lambda: abort(Response("own", 418)))
    app.add_url_rule("/slash/", "slash", lambda: "slash")
    return app


ERRORS = [
    ("GET", "/nowhere", 404, "Not Found"),
    ("GET", "/post", 405, "Method Not Allowed"),
    ("POST", "/post", 413, "Request Entity Too Large"),
    ("POST", "/json", 415, "Unsupported Media Type"),
    ("GET", "/broken", 500, "Internal Server Error"),
]


@pytest.mark.parametrize(("method", "path", "status", "title"), ERRORS)
def test_errors_of_the_app_are_problem_documents(
    make_app: MakeApp, method: str, path: str, status: int, title: str
) -> None:
    client = failing(make_app, GUARD_PROBLEMS="all").test_client()

    response = client.open(path, method=method, data="x" * (20 if status == 413 else 5) if method == "POST" else None)

    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    document = response.get_json()
    assert (document["type"], document["title"], document["status"]) == ("about:blank", title, status)
    assert document["detail"]
    assert "Accept" in response.headers["Vary"]
    assert ("Allow" in response.headers) == (status == 405)


@together(("method", "path", "status", "title"), ERRORS)
@together("config", [{}, {"GUARD_PROBLEMS": "denials"}])
def test_they_are_as_flask_makes_them_by_default(
    make_app: MakeApp, method: str, path: str, status: int, title: str, config: dict[str, str]
) -> None:
    client = failing(make_app, **config).test_client()

    response = client.open(path, method=method, data="x" * 20 if method == "POST" else None)

    assert response.content_type == "text/html; charset=utf-8"


def test_a_browser_gets_html(make_app: MakeApp) -> None:
    response = failing(make_app, GUARD_PROBLEMS="all").test_client().get("/nowhere", headers={"Accept": BROWSER})

    assert (response.status_code, response.content_type) == (404, "text/html; charset=utf-8")


@pytest.mark.parametrize(("error_format", "content_type"), [("problem", "problem+json"), ("html", "html")])
def test_the_format_may_be_fixed(make_app: MakeApp, error_format: str, content_type: str) -> None:
    app = failing(make_app, GUARD_PROBLEMS="all", GUARD_ERROR_FORMAT=error_format)

    response = app.test_client().get("/nowhere", headers={"Accept": BROWSER})

    assert content_type in response.headers["Content-Type"]


def test_denials_responses_and_redirects_are_as_ever(make_app: MakeApp) -> None:
    client = failing(make_app, GUARD_PROBLEMS="all").test_client()

    denied, own, redirected = client.get("/key"), client.get("/own"), client.get("/slash")

    assert (denied.status_code, denied.get_json()["detail"]) == (401, "An API key is required.")
    assert denied.headers["WWW-Authenticate"].startswith("Bearer")
    assert (own.status_code, own.text) == (418, "own")
    assert redirected.status_code == 308
    assert redirected.headers["Location"].endswith("/slash/")


@pytest.mark.parametrize("early", [True, False])
def test_error_handlers_of_the_app_come_first(make_app: MakeApp, early: bool) -> None:
    def register(app: Flask) -> None:
        app.register_error_handler(404, lambda error: ("mine", 404))
        app.register_error_handler(MethodNotAllowed, lambda error: ("mine too", 405))

    app = make_app(GUARD_PROBLEMS="all")
    if early:
        register(app)
    Guard(app)
    if not early:
        register(app)
    app.add_url_rule("/post", "post", lambda: "posted", methods=["POST"])
    client = app.test_client()

    assert [client.get(path).text for path in ("/nowhere", "/post")] == ["mine", "mine too"]


@pytest.mark.parametrize("early", [True, False])
def test_handler_of_all_errors_of_the_app_comes_first(make_app: MakeApp, early: bool) -> None:
    app = make_app(GUARD_PROBLEMS="all")
    for step in (0, 1):
        if step == early:
            Guard(app)
        else:
            app.register_error_handler(HTTPException, lambda error: ("mine", error.code))

    assert app.test_client().get("/nowhere").text == "mine"


def test_other_words_are_refused(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError, match="GUARD_PROBLEMS must be one of 'denials', 'all'"):
        Guard(make_app(GUARD_PROBLEMS="everything"))
