"""`metrics`: clients cannot make series; and what is counted of denials and of stores that fail."""

from __future__ import annotations

import pytest
from flask import Blueprint, Flask

from flask_guard import Denied, cors, limit, middleware, protect, require_api_key, store_unavailable
from tests.conftest import MakeApp

from .metrics_page import Samples, page, requests, samples, send, serve, start


@pytest.mark.slow
def test_unknown_paths_make_no_series(app: Flask) -> None:
    api = protect(Blueprint("api", __name__, url_prefix="/api"), require_api_key)
    app.register_blueprint(api)
    serve(app)
    send(app, "/nowhere")
    send(app, "/api/nowhere")
    before = page(app).count("\n")

    for number in range(300):
        start(app, f"/nowhere/{number}").close()
        start(app, f"/api/nowhere/{number}").close()

    assert page(app).count("\n") == before
    assert requests(app) == {("(unmatched)", "GET", "4xx"): 602}


@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_unknown_methods_are_other(app: Flask, path: str) -> None:
    serve(app)

    for number in range(50):
        send(app, path, f"METHOD{number}")
    send(app, path, "DELETE")

    endpoint = "index" if path == "/" else "(unmatched)"
    assert requests(app) == {(endpoint, "other", "4xx"): 50, (endpoint, "DELETE", "4xx"): 1}


def test_a_method_that_the_app_serves_is_known_there(app: Flask) -> None:
    app.add_url_rule("/dav", "dav", lambda: "hello", methods=["PROPFIND"])
    serve(app)

    send(app, "/dav", "PROPFIND")
    send(app, "/", "PROPFIND")

    assert requests(app) == {("dav", "PROPFIND", "2xx"): 1, ("index", "other", "4xx"): 1}


def test_a_preflight_is_options_on_the_endpoint_that_it_announces(app: Flask) -> None:
    serve(app, lambda: "hello", cors(origins="https://app.example.com"), methods=["POST"])
    headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}

    assert send(app, "/", "OPTIONS", headers=headers).status_code in (200, 204)

    assert requests(app) == {("index", "OPTIONS", "2xx"): 1}


# Denials and store errors --------------------------------------------------------------------------------------------


def denials(app: Flask) -> Samples:
    return samples(app, "flask_guard_denials_total", "policy", "reason", "mode")


def test_denials_are_counted_by_policy_and_reason(make_app: MakeApp) -> None:
    app = serve(make_app(GUARD_API_KEYS={"ci": "a long secret"}), lambda: "hello", require_api_key, limit("3/hour"))

    for secret in (None, "wrong", "a long secret", "a long secret"):
        send(app, headers={"X-API-Key": secret} if secret else {})

    assert denials(app) == {
        ("require_api_key", "missing", "enforce"): 1,
        ("require_api_key", "unknown", "enforce"): 1,
        ("limit", "exceeded", "enforce"): 1,
    }
    assert requests(app) == {("index", "GET", "4xx"): 3, ("index", "GET", "2xx"): 1}


def test_what_a_policy_in_shadow_would_deny_is_counted_apart(app: Flask) -> None:
    serve(app, lambda: "hello", require_api_key(mode="report"), limit("1/hour", mode="report"))

    send(app)
    send(app)

    assert denials(app) == {("require_api_key", "missing", "report"): 2, ("limit", "exceeded", "report"): 1}


@pytest.mark.slow
def test_reasons_that_an_app_makes_up_do_not_make_series_without_end(app: Flask) -> None:
    reasons = iter(range(1000))

    @middleware
    def refuse(request: object) -> None:
        raise Teapot("no", policy="refuse", reason=f"because {next(reasons)}")

    serve(app, lambda: "hello", refuse)
    client = app.test_client()
    for _ in range(300):
        client.get("/")

    found = denials(app)
    assert (len(found), found["other", "other", "enforce"], sum(found.values())) == (201, 100, 300)


class Teapot(Denied):
    """A refusal of the app's own."""

    code = 418


def test_errors_of_the_limit_storage_are_counted_for_the_app_that_they_concern(app: Flask, make_app: MakeApp) -> None:
    other = serve(make_app())
    serve(app)

    for each in (app, other):
        send(each)
    store_unavailable.send(app, error=OSError())
    store_unavailable.send(app)

    assert [samples(each, "flask_guard_store_errors_total") for each in (app, other)] == [{(): 2}, {(): 0}]
