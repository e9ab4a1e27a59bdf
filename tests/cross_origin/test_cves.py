"""The vulnerabilities that Flask-CORS has had. Each test fails where the vulnerable behaviour is back."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Blueprint, Flask
from werkzeug.test import TestResponse

from flask_guard import Guard, cors, log_timing, protect, require_api_key

APP = "https://app.example.com"
PARTNER = "https://partner.example.com"
EVIL = "https://evil.example.net"


def allowed(response: TestResponse) -> str | None:
    return response.headers.get("Access-Control-Allow-Origin")


def get(app: Flask, path: str, origin: str = EVIL, **headers: str) -> TestResponse:
    return app.test_client().get(path, headers={"Origin": origin, **headers})


@pytest.mark.parametrize(
    "path", ["/%0d%0aCRITICAL:forged", "/%0aforged", "/a%0db", "/%1b[31mred", "/%e2%80%a8forged", "/%00"]
)
@pytest.mark.parametrize("origin", ["https://evil\r\nforged", "https://evil\u2028forged", EVIL])
def test_cve_2024_1681_no_request_writes_lines_into_the_log(
    app: Flask, path: str, origin: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    Guard(app, policies=[log_timing, cors(origins=lambda origin: bool(1 / 0)), require_api_key])
    environ: dict[str, Any] = {"HTTP_ORIGIN": origin.encode().decode("latin-1")}

    app.test_client().get(path, environ_overrides=environ)

    assert caplog.records
    assert all(record.getMessage().isprintable() for record in caplog.records)


@pytest.mark.parametrize("asked", ["true", "false", ""])
@pytest.mark.parametrize("origins", [APP, "*"])
def test_cve_2024_6221_private_networks_are_never_opened(app: Flask, origins: str, asked: str) -> None:
    app.add_url_rule("/", "index", cors(origins=origins)(lambda: "hello"))
    Guard(app)
    headers = {"Access-Control-Request-Private-Network": asked, "Access-Control-Request-Method": "GET"}

    answer = app.test_client().options("/", headers={"Origin": APP, **headers})

    assert allowed(answer) is not None
    assert "Access-Control-Allow-Private-Network" not in answer.headers
    assert "Access-Control-Allow-Private-Network" not in get(app, "/", APP, **headers).headers


def test_cve_2024_6839_the_policy_is_that_of_the_scope_not_of_the_longest_pattern(app: Flask) -> None:
    api = protect(Blueprint("api", __name__, url_prefix="/api/v1/a/long/prefix"), cors(origins="*"))
    api.add_url_rule("/open", "open", lambda: "open")
    api.add_url_rule("/x", "strict", cors(origins=APP)(lambda: "strict"))
    app.register_blueprint(api)
    Guard(app, policies=[cors(origins=PARTNER)])
    prefix = "/api/v1/a/long/prefix"

    answered = {path: allowed(get(app, path)) for path in (f"{prefix}/open", f"{prefix}/x", "/")}

    assert answered == {f"{prefix}/open": "*", f"{prefix}/x": None, "/": None}


@pytest.mark.parametrize("path", ["/a+b", "/a%2Bb", "/a%2bb", "/a b", "/a%20b"])
def test_cve_2024_6844_a_plus_in_a_path_is_not_a_blank(app: Flask, path: str) -> None:
    app.add_url_rule("/a+b", "plus", cors(origins=APP)(lambda: "plus"))
    app.add_url_rule("/a b", "blank", cors(origins=PARTNER)(lambda: "blank"))
    Guard(app)
    is_plus = "+" in path or "%2b" in path.lower()

    responses = {origin: get(app, path, origin) for origin in (APP, PARTNER, EVIL)}

    assert {each.text for each in responses.values()} == {"plus" if is_plus else "blank"}
    assert [origin for origin, each in responses.items() if allowed(each)] == [APP if is_plus else PARTNER]


@pytest.mark.parametrize("path", ["/Admin/x", "/ADMIN/x", "/admin/X", "/admin/x"])
@pytest.mark.parametrize("scope", ["blueprint", "path"])
def test_cve_2024_6866_paths_that_differ_in_case_are_different_paths(app: Flask, path: str, scope: str) -> None:
    admin, other = Blueprint("admin", __name__, url_prefix="/admin"), Blueprint("other", __name__)
    if scope == "blueprint":
        protect(admin, cors(origins=APP))
    else:
        protect(app, cors(origins=APP), under="/admin")
    admin.add_url_rule("/x", "x", lambda: "admin")
    admin.add_url_rule("/X", "upper", cors(origins=PARTNER)(lambda: "upper"))
    other.add_url_rule("/Admin/x", "x", lambda: "other")
    app.register_blueprint(admin)
    app.register_blueprint(other)
    Guard(app)

    answered = {origin for origin in (APP, PARTNER, EVIL) if allowed(get(app, path, origin))}

    assert answered == {"/admin/x": {APP}, "/admin/X": {PARTNER}}.get(path, set())
