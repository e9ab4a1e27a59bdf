"""Denials: problem documents or HTML, whatever the client and the app prefer, and error handlers as for any error."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, TooManyRequests, Unauthorized
from werkzeug.test import TestResponse

from flask_guard import (
    ConfigError,
    Denied,
    DenyingPolicy,
    Guard,
    LimitExceeded,
    Phase,
    Run,
    Step,
    StoreUnavailable,
    Unauthenticated,
    limit,
    middleware,
    protect,
    request_denied,
    require_api_key,
)
from tests.cases import together
from tests.conftest import MakeApp

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
KEY = {"X-API-Key": "the secret of ci"}


def guarded(make_app: MakeApp, **config: Any) -> Flask:
    """Return an app that denies in each way: ``/key``, ``/scope`` and ``/limited`` (after the first request)."""
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"}, **config)
    app.add_url_rule("/key", "key", require_api_key(lambda: "secret"))
    app.add_url_rule("/scope", "scope", require_api_key(scopes=["orders:write", "admin"])(lambda: "secret"))
    app.add_url_rule("/limited", "limited", limit("1/hour")(lambda: "once"))
    Guard(app)
    return app


def get(app: Flask, path: str, accept: str | None = None, **headers: str) -> TestResponse:
    return app.test_client().get(path, headers={**headers, **({} if accept is None else {"Accept": accept})})


DENIALS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "401, nothing presented": (
        "/key",
        {},
        {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "An API key is required."},
    ),
    "401, unknown": (
        "/key",
        {"Authorization": "Bearer nonsense"},
        {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "The API key is not valid."},
    ),
    "400": (
        "/key",
        {"Authorization": "Bearer a", "X-API-Key": "b"},
        {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "Present one API key, in one place."},
    ),
    "403": (
        "/scope",
        KEY,
        {
            "type": "about:blank",
            "title": "Forbidden",
            "status": 403,
            "detail": "The API key lacks the scope that this needs: orders:write admin.",
        },
    ),
    "429": (
        "/limited",
        {},
        {
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Too Many Requests",
            "status": 429,
            "violated-policies": ["1-per-hour"],
        },
    ),
}
every_denial = pytest.mark.parametrize(("path", "headers", "problem"), DENIALS.values(), ids=DENIALS)


@every_denial
def test_denial_is_a_problem_document(
    make_app: MakeApp, path: str, headers: dict[str, str], problem: dict[str, Any]
) -> None:
    app = guarded(make_app)
    if path == "/limited":
        get(app, path)

    response = get(app, path, **headers)

    document = response.json
    assert response.status_code == problem["status"]
    assert response.content_type == "application/problem+json"
    assert isinstance(document, dict)
    assert {name: document.get(name) for name in problem} == problem
    assert document["detail"].endswith(".")
    assert set(document) <= {*problem, "detail", "instance"}
    assert "Accept" in response.vary


@together(
    ("accept", "is_html"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/problem+json", False),
        ("application/json, text/html;q=0.5", False),
        ("application/*", False),
        ("image/png", False),
        ("text/html", True),
        (BROWSER, True),
        ("text/html;q=0.9, application/json;q=0.1", True),
        ("nonsense", False),
        (";;;,,,q=", False),
        ("text/html," * 10_000, False),
    ],
)
def test_html_goes_to_clients_that_prefer_it(make_app: MakeApp, accept: str | None, is_html: bool) -> None:
    response = get(guarded(make_app), "/key", accept)

    assert response.status_code == 401
    assert response.mimetype == ("text/html" if is_html else "application/problem+json")
    assert response.text.startswith("<!doctype html>" if is_html else "{")
    assert "An API key is required." in response.text
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize("accept", [None, "application/json", BROWSER])
@pytest.mark.parametrize(("error_format", "mimetype"), [("problem", "application/problem+json"), ("html", "text/html")])
def test_error_format_can_be_fixed(make_app: MakeApp, error_format: str, mimetype: str, accept: str | None) -> None:
    response = get(guarded(make_app, GUARD_ERROR_FORMAT=error_format), "/key", accept)

    assert response.mimetype == mimetype
    assert "Accept" not in response.vary


@pytest.mark.parametrize("error_format", ["json", "", None, True])
def test_unknown_error_format_is_refused(make_app: MakeApp, error_format: Any) -> None:
    with pytest.raises(ConfigError, match="GUARD_ERROR_FORMAT must be one of 'auto', 'problem', 'html'"):
        Guard(make_app(GUARD_ERROR_FORMAT=error_format))


def test_detail_is_escaped_in_html(app: Flask) -> None:
    class Teapot(Denied):
        """A denial of the app's own."""

        code = 418

    class RequireTea(DenyingPolicy):
        """Denies everybody, with a detail that is no HTML."""

        kind = "require_tea"
        phase = Phase.PRECONDITION

        def compile(self, place: Any) -> Step:
            return Step(self.deny)

        def deny(self, run: Run) -> None:
            raise Teapot("<script>tea</script>", policy=self.kind, reason="tea", members={"hint": "<b>"})

    app.add_url_rule("/", "index", protect(lambda: "hello", RequireTea()))
    Guard(app)

    page, document = get(app, "/", BROWSER), get(app, "/")

    assert (page.status_code, document.status_code) == (418, 418)
    assert "<script>" not in page.text
    assert document.json == {
        "type": "about:blank",
        "title": "I'm a teapot",
        "status": 418,
        "detail": "<script>tea</script>",
        "hint": "<b>",
    }


def test_head_gets_the_headers_and_no_body(make_app: MakeApp) -> None:
    response = guarded(make_app).test_client().head("/key")

    assert (response.status_code, response.data) == (401, b"")
    assert "WWW-Authenticate" in response.headers


# Error handlers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [429, TooManyRequests, LimitExceeded, Denied, HTTPException])
def test_error_handler_renders_a_denial(make_app: MakeApp, target: Any) -> None:
    app = guarded(make_app)
    seen: list[Exception] = []

    @app.errorhandler(target)
    def slow_down(error: Denied) -> tuple[dict[str, Any], int]:
        seen.append(error)
        return {"error": "slow down", "violated": error.members["violated-policies"]}, 429

    first, second = get(app, "/limited"), get(app, "/limited")

    assert (first.status_code, second.status_code) == (200, 429)
    assert second.json == {"error": "slow down", "violated": ["1-per-hour"]}
    assert [type(error) for error in seen] == [LimitExceeded]


@pytest.mark.parametrize("target", [401, Unauthorized, Unauthenticated])
def test_what_a_denial_must_carry_stays_on_what_a_handler_makes(make_app: MakeApp, target: Any) -> None:
    app = guarded(make_app)
    app.register_error_handler(target, lambda _error: ("no", 401))
    app.register_error_handler(429, lambda _error: Response("slow down", 429))
    get(app, "/limited")

    assert get(app, "/key").headers.getlist("WWW-Authenticate") == ['Bearer realm="api"']
    assert 3500 < int(get(app, "/limited").headers["Retry-After"]) <= 3600 + 30


def test_challenge_that_a_handler_wrote_itself_wins(make_app: MakeApp) -> None:
    app = guarded(make_app)
    app.register_error_handler(401, lambda _error: ("no", 401, {"WWW-Authenticate": "Digest"}))

    assert get(app, "/key").headers.getlist("WWW-Authenticate") == ["Digest"]


@together(
    ("status", "challenged", "told_when"),
    [
        (400, True, True),
        (401, True, True),
        (403, True, True),
        (418, True, True),
        (429, True, True),
        (404, False, False),  # which says that there is nothing, to whoever asks
        (410, False, False),
        (503, False, True),
        (200, False, False),
        (302, False, False),
    ],
)
def test_fields_of_a_denial_stay_with_every_status_that_they_suit(
    make_app: MakeApp, status: int, challenged: bool, told_when: bool
) -> None:
    app = guarded(make_app)
    app.register_error_handler(Denied, lambda _error: ("no", status))
    get(app, "/limited")

    unauthenticated, limited = get(app, "/key"), get(app, "/limited")

    assert (unauthenticated.status_code, limited.status_code) == (status, status)
    assert unauthenticated.headers.getlist("WWW-Authenticate") == ['Bearer realm="api"'] * challenged
    assert ("Retry-After" in limited.headers) is told_when


def test_insufficient_scope_that_a_handler_makes_a_401_has_its_challenge(make_app: MakeApp) -> None:
    app = guarded(make_app)
    app.register_error_handler(403, lambda _error: ("no", 401))

    response = get(app, "/scope", **KEY)

    assert response.status_code == 401
    assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]


def test_other_fields_of_a_denial_go_with_its_own_status_only(app: Flask) -> None:
    @middleware
    def refuse(_request: object) -> None:
        raise Denied("no", policy="refuse", reason="no", headers=[("X-Reason", "no")])

    app.add_url_rule("/own", "own", refuse(lambda: "own"))
    app.register_error_handler(403, lambda _error: ("no", int(request.args.get("status", 403))))
    Guard(app)

    assert get(app, "/own").headers["X-Reason"] == "no"
    assert "X-Reason" not in get(app, "/own?status=400").headers


def test_handler_may_return_the_denial_itself(make_app: MakeApp) -> None:
    app = guarded(make_app)

    @app.errorhandler(Denied)
    def same(error: Denied) -> Denied:
        return error

    response = get(app, "/key")

    assert (response.status_code, response.content_type) == (401, "application/problem+json")
    assert response.headers.getlist("WWW-Authenticate") == ['Bearer realm="api"']


def test_other_errors_are_left_as_flask_makes_them(make_app: MakeApp) -> None:
    response = get(guarded(make_app), "/nowhere")

    assert (response.status_code, response.mimetype) == (404, "text/html")


def test_storage_that_is_down_is_a_503_problem() -> None:
    denial = StoreUnavailable("Later.", policy="limit", reason="store", headers=[("Retry-After", "5")])

    response = denial.get_response({})

    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert denial.problem()["type"].endswith("#temporary-reduced-capacity")


def test_signal_tells_what_was_denied(make_app: MakeApp) -> None:
    app = guarded(make_app)
    told: list[tuple[str, str, str]] = []

    def listen(_sender: Flask, denial: Denied, request: Any) -> None:
        told.append((denial.policy, denial.reason, request.path))

    with request_denied.connected_to(listen, app):
        get(app, "/key")
        get(app, "/scope", **KEY)

    assert told == [("require_api_key", "missing", "/key"), ("require_api_key", "insufficient_scope", "/scope")]


def test_reason_and_policy_stay_in_the_log(make_app: MakeApp) -> None:
    response = get(guarded(make_app), "/key", Authorization="Bearer nonsense")

    assert "unknown" not in response.text
    assert "require_api_key" not in response.text
    assert "nonsense" not in response.text


def test_denial_that_is_raised_as_it_is_is_a_403(app: Flask) -> None:
    def view() -> str:
        raise Denied("Not for you.", policy="mine", reason="no")

    class Gone(Denied):
        """A denial with a status of its own."""

        code = 410

    def gone() -> str:
        raise Gone("Gone.", policy="mine", reason="no")

    Guard(app)
    app.add_url_rule("/a", "a", view)
    app.add_url_rule("/gone", "gone", gone)

    answers = [app.test_client().get(path) for path in ("/a", "/gone")]

    assert [(answer.status_code, answer.get_json()["status"]) for answer in answers] == [(403, 403), (410, 410)]


def test_denial_of_a_class_without_a_status_is_a_403_of_that_class(app: Flask) -> None:
    class TooYoung(Denied):
        """A denial of the app's own."""

    def view() -> str:
        raise TooYoung("Not for you.", policy="mine", reason="no")

    Guard(app)
    app.add_url_rule("/", "index", view)
    refused = get(app, "/")
    handled = Flask("handled")
    handled.register_error_handler(TooYoung, lambda error: (error.policy, 418))
    handled.add_url_rule("/", "index", view)
    Guard(handled)

    assert (refused.status_code, refused.get_json()["detail"]) == (403, "Not for you.")
    assert (get(handled, "/").status_code, get(handled, "/").text) == (418, "mine")


@pytest.mark.parametrize("target", [403, Denied, HTTPException])
def test_error_handler_renders_a_denial_that_is_raised_as_it_is(app: Flask, target: Any) -> None:
    def view() -> str:
        raise Denied("Not for you.", policy="mine", reason="no")

    app.register_error_handler(target, lambda error: (f"handled {error.code}", error.code))
    app.add_url_rule("/a", "a", view)

    response = app.test_client().get("/a")

    assert (response.status_code, response.text) == (403, "handled 403")
