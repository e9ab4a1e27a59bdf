"""`guard.openapi`: documents of apispec and APIFlask, completed with what policies ask for and answer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from apiflask import APIFlask
from apispec import APISpec
from flask import Flask
from openapi_spec_validator import validate

from flask_guard import (
    ConfigError,
    Guard,
    limit,
    protect,
    require_api_key,
    require_auth,
    require_request,
    same_origin,
    secure_headers,
)
from tests.conftest import MakeApp


def check(token: str) -> None: ...


def operations(*paths: str, version: str = "3.1.0") -> dict[str, Any]:
    """Return a document as apispec makes one: operations such as ``post /orders``, each with its 200."""
    spec = APISpec(title="shop", version="1", openapi_version=version)
    for each in paths:
        method, _, path = each.partition(" ")
        names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
        parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
        spec.path(path, operations={method: {"responses": {"200": {"description": "OK"}}, "parameters": parameters}})
    found: dict[str, Any] = spec.to_dict()
    return found


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = make_app()
    protect(app, secure_headers)
    view = require_api_key(scopes="orders")(limit("10/minute")(lambda: "orders"))
    app.add_url_rule("/orders", "create", require_request(json=True, max_body=1000)(view), methods=["POST"])
    app.add_url_rule("/orders/<int:number>", "show", require_auth(bearer=check)(lambda number: ""), methods=["GET"])
    app.add_url_rule(
        "/both", "both", require_api_key(in_="x-api-key")(require_auth(bearer=check)(lambda: "")), methods=["GET"]
    )
    app.add_url_rule("/form", "form", same_origin(lambda: ""), methods=["POST"])
    app.add_url_rule("/trial", "trial", require_api_key(mode="report")(lambda: ""), methods=["GET"])
    app.add_url_rule("/maybe", "maybe", require_api_key(optional=True, in_="header:X-Token")(lambda: ""))
    app.add_url_rule("/public", "public", lambda: "", methods=["GET"])
    Guard(app)
    return app


def guard_of(app: Flask) -> Guard:
    guard: Guard = app.extensions["guard"].guard
    return guard


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_completed_document_is_valid(app: Flask, version: str) -> None:
    given = operations(
        "post /orders", "get /orders/{order}", "get /both", "post /form", "get /maybe", "get /none", version=version
    )
    before = copy.deepcopy(given)

    found = guard_of(app).openapi(given)

    validate(found)
    assert given == before


def test_operation_has_security_denials_and_fields(app: Flask) -> None:
    found = guard_of(app).openapi(operations("post /orders"))

    operation = found["paths"]["/orders"]["post"]
    assert operation["security"] == [{"apiKeyAsBearer": []}, {"apiKey_X-API-Key": []}]
    assert found["components"]["securitySchemes"] == {
        "apiKeyAsBearer": {"type": "http", "scheme": "bearer"},
        "apiKey_X-API-Key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    assert sorted(operation["responses"]) == ["200", "400", "401", "403", "413", "415", "429"]
    assert set(operation["responses"]["200"]["headers"]) == {"RateLimit-Policy", "RateLimit"}
    assert set(operation["responses"]["429"]["headers"]) == {"RateLimit-Policy", "RateLimit", "Retry-After"}
    assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
    problem = operation["responses"]["401"]["content"]["application/problem+json"]["schema"]["$ref"]
    assert problem.rpartition("/")[2] in found["components"]["schemas"]


def test_responses_are_what_requests_meet(app: Flask) -> None:
    found = guard_of(app).openapi(operations("post /orders"))["paths"]["/orders"]["post"]["responses"]
    client = app.test_client()

    answers = [
        client.post("/orders", json={}),
        client.post("/orders", data="text", content_type="text/plain"),
        client.post("/orders", json={"long": "x" * 2000}),
    ]

    assert [answer.status_code for answer in answers] == [401, 415, 413]
    for answer in answers:
        assert answer.mimetype in found[str(answer.status_code)]["content"]
        assert {"RateLimit", "WWW-Authenticate"} & set(answer.headers.keys()) <= set(
            found[str(answer.status_code)].get("headers", {})
        )


def test_two_policies_are_asked_together_and_an_optional_one_is_not(app: Flask) -> None:
    paths = guard_of(app).openapi(operations("get /both", "get /maybe"))["paths"]

    assert paths["/both"]["get"]["security"] == [{"bearer": [], "apiKey_X-API-Key": []}]
    assert paths["/maybe"]["get"]["security"] == [{"apiKey_X-Token": []}, {}]


def test_open_and_unknown_operations_and_report_mode_stay_as_they_are(app: Flask) -> None:
    given = operations("get /public", "get /none", "get /trial")

    found = guard_of(app).openapi(given)

    assert found == given


def test_words_of_the_document_stay(app: Flask) -> None:
    given = operations("post /orders")
    own = {"description": "Too many orders"}
    given["components"] = {"securitySchemes": {"Key": {"type": "http", "scheme": "bearer"}}}
    given["paths"]["/orders"]["post"]["responses"]["429"] = dict(own)

    found = guard_of(app).openapi(given)

    operation = found["paths"]["/orders"]["post"]
    assert operation["security"][0] == {"Key": []}
    assert operation["responses"]["429"]["description"] == own["description"]
    assert "content" not in operation["responses"]["429"]


def test_paths_alone_are_completed(app: Flask) -> None:
    found = guard_of(app).openapi(operations("post /form")["paths"])

    assert sorted(found) == ["components", "paths"]
    assert "403" in found["paths"]["/form"]["post"]["responses"]


def test_document_of_apiflask_is_completed_as_it_is_served() -> None:
    app = APIFlask("shop")
    openapi: Any = Guard(app).openapi
    app.spec_processor(openapi)

    @app.post("/orders/<int:number>")
    @limit("10/minute")
    @require_api_key
    def orders(number: int) -> dict[str, int]:
        return {"number": number}

    found = app.test_client().get("/openapi.json").get_json()

    validate(found)
    operation = found["paths"]["/orders/{number}"]["post"]
    assert {"401", "429"} <= set(operation["responses"])
    assert operation["security"]


def test_swagger_2_is_refused(app: Flask) -> None:
    with pytest.raises(ConfigError, match="OpenAPI 3"):
        guard_of(app).openapi({"swagger": "2.0", "paths": {}})
