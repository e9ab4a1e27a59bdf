"""Responses to callers with credentials: no shared cache may serve them to anybody else."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, Response, abort, session
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_guard import Guard, Policy, cors, require_api_key, require_auth, secure_headers
from tests.cases import together

KEY = "a long random secret"
BY_KEY = {"X-API-Key": KEY}
BY_TOKEN = {"Authorization": "Bearer token"}


def by_token(token: str) -> str | None:
    return "ada" if token == "token" else None


def serve(app: Flask, *policies: Policy, **fields: str) -> FlaskClient:
    """Serve views of `app` behind `policies`, with `fields` on their responses, and return a client."""
    Guard(app, keys={"ci": KEY}, policies=policies)
    app.add_url_rule("/", "view", lambda: Response("", headers={k.replace("_", "-"): v for k, v in fields.items()}))
    app.add_url_rule("/missing", "missing", lambda: abort(404))
    return app.test_client()


def told(response: TestResponse) -> tuple[set[str], str | None]:
    """Return the fields that ``Vary`` names, and ``Cache-Control``."""
    vary = {name.strip() for value in response.headers.getlist("Vary") for name in value.split(",")}
    return vary - {"Accept"}, response.headers.get("Cache-Control")


@together("path", ["/", "/missing"])
@together(
    ("policy", "headers", "vary"),
    [
        (require_api_key, BY_KEY, {"Authorization", "X-API-Key"}),
        (require_api_key, {"Authorization": f"Bearer {KEY}"}, {"Authorization", "X-API-Key"}),
        (require_api_key(in_="x-api-key"), BY_KEY, {"X-API-Key"}),
        (require_api_key(in_=["header:X-My-Key", "query:key"]), {"X-My-Key": KEY}, {"X-My-Key"}),
        (require_auth(bearer=by_token), BY_TOKEN, {"Authorization"}),
        (require_auth(session=lambda: "ada"), {}, {"Cookie"}),
        (require_auth(bearer=by_token, session=lambda: "ada"), {}, {"Authorization", "Cookie"}),
    ],
)
def test_a_response_to_a_caller_that_was_recognised_is_private_and_varies(
    app: Flask, path: str, policy: Any, headers: dict[str, str], vary: set[str]
) -> None:
    assert told(serve(app, policy).get(path, headers=headers)) == (vary, "private")


def test_a_key_in_the_query_string_is_part_of_what_caches_go_by_but_the_response_is_private(app: Flask) -> None:
    client = serve(app, require_api_key(in_="query:key"))

    assert told(client.get("/", query_string={"key": KEY})) == (set(), "private")


@pytest.mark.parametrize("policy", [require_api_key, require_auth(bearer=by_token)])
def test_a_refusal_varies_too(app: Flask, policy: Any) -> None:
    response = serve(app, policy).get("/")

    assert response.status_code == 401
    assert "Authorization" in told(response)[0]


def test_a_response_to_nobody_may_be_shared_but_varies(app: Flask) -> None:
    client = serve(app, require_api_key(optional=True), require_auth(bearer=by_token, optional=True))

    assert told(client.get("/")) == ({"Authorization", "X-API-Key"}, None)


@pytest.mark.parametrize(
    ("said", "in_the_end"),
    [
        ("public, max-age=60", "public, max-age=60"),
        ("Private", "Private"),
        ("no-store", "no-store"),
        ("max-age=60, s-maxage=10", "max-age=60, s-maxage=10"),
        ("max-age=60", "max-age=60, private"),
        ("no-cache", "no-cache, private"),
    ],
)
def test_a_view_that_says_whether_caches_may_share_its_response_is_heeded(
    app: Flask, said: str, in_the_end: str
) -> None:
    response = serve(app, require_api_key, Cache_Control=said).get("/", headers=BY_KEY)

    assert response.headers.getlist("Cache-Control") == [in_the_end]


def test_secure_headers_may_say_more(app: Flask) -> None:
    response = serve(app, require_api_key, secure_headers("api")).get("/", headers=BY_KEY)

    assert response.headers.getlist("Cache-Control") == ["no-store"]


def test_a_hook_of_the_app_that_runs_later_may_say_more(app: Flask) -> None:
    @app.after_request
    def share(response: Response) -> Response:
        response.headers["Cache-Control"] = "public"
        return response

    response = serve(app, require_api_key).get("/", headers=BY_KEY)

    assert response.headers.getlist("Cache-Control") == ["public"]


def test_what_varies_already_goes_on_varying(app: Flask) -> None:
    app.add_url_rule("/session", "session", lambda: session.get("x", ""))
    client = serve(app, require_api_key, cors(origins="https://app.example.com"), Vary="Accept-Language, x-api-key")
    headers = {**BY_KEY, "Origin": "https://app.example.com"}

    vary, _ = told(client.get("/", headers=headers))

    assert {name.lower() for name in vary} == {"accept-language", "x-api-key", "authorization", "origin"}
    assert "Cookie" in told(client.get("/session", headers=headers))[0]


def test_in_report_mode_a_bad_key_is_nobody(app: Flask) -> None:
    response = serve(app, require_api_key(mode="report")).get("/", headers={"X-API-Key": "wrong"})

    assert (response.status_code, told(response)) == (200, ({"Authorization", "X-API-Key"}, None))
