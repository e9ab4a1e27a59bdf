"""`flask guard explain`: reading the command line, and the explanation as people read it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import Result
from flask import Blueprint, Flask, request

from flask_guard import Guard, cors, exempt, limit, log_timing, protect, require_api_key, secure_headers
from flask_guard.cli import guard_group
from tests.conftest import MakeApp

KEY = "a long secret key"


def fine() -> str:
    return "fine"


@pytest.fixture
def shop(make_app: MakeApp) -> Flask:
    app = make_app(GUARD_API_KEYS={"k": KEY})
    Guard(app, policies=[log_timing, secure_headers])
    api = Blueprint("api", __name__, url_prefix="/api")
    protect(api, cors(origins="https://a.example"), limit("100/minute"), require_api_key)
    api.add_url_rule("/orders", "create", fine, methods=["POST"])
    api.add_url_rule("/orders/<int:number>", "order", fine)
    api.add_url_rule("/health", "health", exempt(require_api_key, limit)(fine))
    app.register_blueprint(api)
    app.add_url_rule("/echo", "echo", lambda: f"{request.method} {request.content_type}", methods=["GET", "POST"])
    return app


def run(app: Flask, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> Result:
    app.cli.add_command(guard_group)
    runner = app.test_cli_runner(env={"COLUMNS": None, "NO_COLOR": None, **(env or {})})
    return runner.invoke(args=["guard", "explain", *arguments], **options)


def document(app: Flask, *arguments: str) -> dict[str, Any]:
    result = run(app, "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


# Reading the command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "method", "path"),
    [
        (["/api/health"], "GET", "/api/health"),
        (["post", "/api/orders"], "POST", "/api/orders"),
        (["api.create"], "POST", "/api/orders"),
        (["api.order"], "GET", "/api/orders/1"),
        (["HEAD", "api.order"], "HEAD", "/api/orders/1"),
        (["/echo", "-d", "{}"], "POST", "/echo"),
        (["PUT", "/echo", "-d", "{}"], "PUT", "/echo"),
        (["http://localhost/api/health"], "GET", "http://localhost/api/health"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_target_is_a_path_or_an_endpoint(shop: Flask, arguments: list[str], method: str, path: str) -> None:
    asked = document(shop, *arguments)["request"]

    assert (asked["method"], asked["path"]) == (method, path)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [('{"a": 1}', "application/json"), ("a=1", "application/x-www-form-urlencoded")],
)
def test_content_type_of_a_body_is_guessed_unless_it_is_given(shop: Flask, data: str, content_type: str) -> None:
    assert ["Content-Type", content_type] in document(shop, "/echo", "-d", data)["request"]["headers"]
    given = document(shop, "/echo", "-d", data, "-H", "Content-Type: text/plain")["request"]["headers"]
    assert given == [["Content-Type", "text/plain"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["api.creat"], "unknown endpoint 'api.creat'; did you mean 'api.create'?"),
        (["DELETE", "api.create"], "endpoint 'api.create' does not take DELETE"),
        (["/", "-H", "no colon"], "invalid header: write -H 'Name: value'"),
        (["/", "-H", "X-API-Key:"], "with the quotes"),
        (["GET", "/", "more"], "there are too many words"),
        (["/", "--dry-run", "--run-view"], "choose --dry-run or --run-view"),
        (["/", "--preflight", "a.example", "PUT"], "is not an origin"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_on_the_command_line_is_told(shop: Flask, arguments: list[str], message: str) -> None:
    result = run(shop, *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize("unquoted", [["X-API-Key:", KEY], [f"X-API-Key {KEY}"], ["X-API-Key:", KEY, "more"]])
def test_a_secret_is_not_repeated_where_the_quotes_were_forgotten(shop: Flask, unquoted: list[str]) -> None:
    result = run(shop, "/", "-H", *unquoted)

    assert result.exit_code == 2
    assert KEY not in result.output


def test_the_address_of_the_client_can_be_given(shop: Flask) -> None:
    assert document(shop, "/", "--address", "203.0.113.7")["request"]["address"] == "203.0.113.7"


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [(["/echo"], "ran"), (["/echo", "--dry-run"], "left out"), (["POST", "/echo"], "left out"),
     (["POST", "/echo", "--run-view"], "ran")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)  # fmt: skip
def test_the_view_runs_as_wanted(shop: Flask, arguments: list[str], outcome: str) -> None:
    assert document(shop, *arguments)["view"]["outcome"] == outcome


# As text -------------------------------------------------------------------------------------------------------------


def test_text_says_what_was_refused_where_and_what_to_send(shop: Flask) -> None:
    text = run(shop, "/api/orders/1").stdout

    assert "/api/orders/<int:number> is served by api.order." in text
    assert "require_api_key  denied 401 (missing)" in text
    assert "blueprint api, tests/audit/test_explain_command.py:" in text
    assert "The view api.order did not run" in text
    assert "The answer 401 UNAUTHORIZED" in text
    assert "→ Send a key: 'Authorization: Bearer KEY' or 'X-API-Key: KEY'." in text


def test_text_says_what_is_not_in_force(shop: Flask) -> None:
    text = run(shop, "/api/health").stdout

    assert "Outer policies that are not in force" in text
    assert "removed by exempt(require_api_key, limit) (tests/audit/test_explain_command.py:" in text


def test_text_of_a_preflight_says_whether_a_browser_allows_it(shop: Flask) -> None:
    arguments = ("--preflight", "https://a.example", "POST", "api.create", "Content-Type,X-API-Key")
    allowed = run(shop, *arguments).stdout
    refused = run(shop, "--preflight", "https://b.example", "POST", "api.create", "X-API-Key").stdout

    assert "A browser lets a page of https://a.example send POST with content-type, x-api-key" in allowed
    assert "The request itself is answered with 401, and the page can read the answer." in allowed
    assert "A browser does not let a page of https://b.example send POST" in refused
    assert "→ Add 'https://b.example' to origins=… of cors at tests/audit/test_explain_command.py:" in refused


def test_text_of_a_preflight_names_no_view_because_none_serves_it(shop: Flask) -> None:
    text = run(shop, "--preflight", "https://a.example", "POST", "api.create").stdout

    assert "Flask answers OPTIONS for" in text
    assert "view is at" not in text
    assert "The view " not in text


def test_long_values_are_cut_unless_they_are_wanted(shop: Flask) -> None:
    assert "frame-ancestors 'none'" in run(shop, "/echo", "--full").stdout
    assert "…" in run(shop, "/echo").stdout


@pytest.mark.parametrize("width", [60, 80, 100])
def test_text_fits_the_terminal_and_loses_no_word(shop: Flask, width: int) -> None:
    wide = run(shop, "/api/ordrs").stdout
    folded = run(shop, "/api/ordrs", env={"COLUMNS": str(width)}).stdout

    assert max(map(len, folded.splitlines())) <= width
    assert words(folded) == words(wide)


def words(text: str) -> list[str]:
    """Return the words of the last part: costs and request ids differ from run to run."""
    return text[text.index("The answer") :].split()


def test_no_colour_where_there_is_no_terminal(shop: Flask) -> None:
    assert "\x1b[" not in run(shop, "/echo").stdout
    assert "\x1b[32m" in run(shop, "/echo", color=True).stdout


def test_no_secret_is_printed(shop: Flask) -> None:
    for header in (f"X-API-Key: {KEY}", f"Authorization: Bearer {KEY}", f"X-Key: {KEY}"):
        assert KEY not in run(shop, "api.order", "-H", header).output
        assert KEY not in run(shop, "api.order", "--json", "-H", header).output
