"""`flask guard routes`: every route and what protects it, as a table, as Markdown, and as a document."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import Result
from flask import Blueprint, Flask, Request, abort
from flask_cors import cross_origin
from flask_login import LoginManager, login_required  # type: ignore[import-untyped]
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_guard import (
    ConfigError,
    Guard,
    Phase,
    Policy,
    Step,
    Target,
    cors,
    exempt,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
    require_auth,
    same_origin,
    secure_headers,
)
from flask_guard.cli import guard_group
from tests.conftest import MakeApp


def fine() -> str:
    return "fine"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Impossible(Policy):
    """A policy that cannot be compiled."""

    kind: ClassVar[str] = "impossible"

    def compile(self, target: Target) -> Step:
        raise ConfigError("write something else")


@middleware
def tenant(request: object, *, header: str = "X-Tenant", token: str = "") -> None:
    """Stand for a middleware of an app's own."""


@pytest.fixture
def shop(make_app: MakeApp) -> Flask:
    """Return an app with a policy at every scope."""
    app = make_app(GUARD_API_KEYS={"k": "a long secret key"})
    Guard(app, policies=[log_timing, secure_headers])
    api = Blueprint("api", __name__, url_prefix="/api")
    protect(api, cors(origins="https://a.example"), limit("100/minute"), require_api_key)
    inner = Blueprint("inner", __name__, url_prefix="/inner")
    inner.add_url_rule("/", "view", fine)
    api.register_blueprint(inner)
    api.add_url_rule("/orders", "orders", fine)
    api.add_url_rule("/orders", "create", limit("10/minute", by="api_key")(require_api_key(fine)), methods=["POST"])
    api.add_url_rule("/health", "health", exempt(require_api_key, limit)(fine))
    app.add_url_rule("/open", "open", fine, methods=["POST"])
    app.add_url_rule("/maybe", "maybe", require_auth(session=lambda: None, optional=True)(fine), methods=["POST"])
    app.add_url_rule("/tried", "tried", require_api_key(mode="report")(fine), methods=["DELETE"])
    app.add_url_rule("/tenant", "tenant", tenant(header="X-Org", token="do not show")(fine))
    protect(app, limit("7/minute"), under="/areas/one")
    app.add_url_rule("/areas/<area>/things", "things", fine)
    app.register_blueprint(api)
    return app


def run(app: Flask, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> Result:
    app.cli.add_command(guard_group)  # as the entry point does outside of tests
    runner = app.test_cli_runner(env={"COLUMNS": None, "NO_COLOR": None, **(env or {})})
    return runner.invoke(args=["guard", "routes", *arguments], **options)


def document(app: Flask, *arguments: str) -> dict[str, Any]:
    result = run(app, "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def listed(app: Flask, *arguments: str) -> list[str]:
    return [f"{each['method']} {each['path']}" for each in document(app, *arguments)["routes"]]


def route(app: Flask, where: str) -> dict[str, Any]:
    return next(each for each in document(app)["routes"] if f"{each['method']} {each['path']}" == where)


# The document --------------------------------------------------------------------------------------------------------


def test_policies_are_listed_in_the_order_in_which_they_act(shop: Flask) -> None:
    names = {where: [each["text"] for each in route(shop, where)["policies"]] for where in listed(shop)}

    assert names["POST /api/orders"] == [
        "log_timing",
        "cors(origins=https://a.example)",
        "secure_headers",
        "require_api_key",
        "limit(10/minute, by=api_key)",
    ]
    assert names["GET /api/inner/"][3:] == ["limit(100/minute)", "require_api_key"]
    assert names["GET /api/health"] == ["log_timing", "cors(origins=https://a.example)", "secure_headers"]
    assert names["POST /open"] == ["log_timing", "secure_headers"]


def test_each_policy_is_described_with_where_it_was_written(shop: Flask) -> None:
    found = next(each for each in route(shop, "GET /api/orders")["policies"] if each["name"] == "limit")

    assert found["site"].startswith(f"{__file__}:")
    del found["site"]
    assert found == {
        "name": "limit",
        "text": "limit(100/minute)",
        "options": {"rates": ["100/minute"]},
        "mode": "enforce",
        "phase": "LIMIT",
        "scope": "blueprint api",
    }


def test_document_has_a_schema_and_says_what_the_app_is(shop: Flask) -> None:
    found = document(shop)

    assert (found["schema"], found["app"], found["guard"], found["enabled"]) == (
        "flask_guard.routes/1",
        "tests",
        True,
        True,
    )
    assert set(found["routes"][0]) == {
        "path", "method", "endpoint", "blueprint", "host", "below", "site", "writes", "unguarded_write", "policies",
        "foreign",
    }  # fmt: skip


def test_a_rule_on_both_sides_of_a_path_has_a_route_for_each(shop: Flask) -> None:
    found = [each for each in document(shop)["routes"] if each["endpoint"] == "things"]

    assert [(each["below"], [policy["name"] for policy in each["policies"]]) for each in found] == [
        ([], ["log_timing", "secure_headers"]),
        (["/areas/one"], ["log_timing", "secure_headers", "limit"]),
    ]


def test_a_rule_on_both_sides_of_several_paths_has_a_route_for_each_that_a_path_can_meet(app: Flask) -> None:
    for number, path in enumerate(["/one", "/one/deep", "/two", "/files/secret"]):
        protect(app, limit("7/minute", shared=f"path-{number}"), under=path)
    app.add_url_rule("/<section>/deep/<int:number>", "deep", fine)
    app.add_url_rule("/files/<path:name>", "files", fine)
    Guard(app)

    routes = document(app)["routes"]
    found = {each: [route["below"] for route in routes if route["endpoint"] == each] for each in ("deep", "files")}

    assert found == {
        "deep": [[], ["/one", "/one/deep"], ["/two"]],
        "files": [[], ["/files/secret"]],
    }


def test_options_that_a_decorator_answers_is_no_route_of_the_view(app: Flask) -> None:
    app.add_url_rule("/", "view", limit("9/hour")(cross_origin(origins="*")(fine)), methods=["PUT", "OPTIONS"])
    Guard(app)

    assert app.test_client().options("/").status_code == 200
    assert [each["method"] for each in document(app)["routes"] if each["endpoint"] == "view"] == ["PUT"]


def test_no_secret_option_is_shown(shop: Flask) -> None:
    found = route(shop, "GET /tenant")["policies"][-1]

    assert found["options"] == {"header": "X-Org", "token": "…"}
    assert "do not show" not in run(shop).stdout


def test_host_of_a_rule_is_shown(make_app: MakeApp) -> None:
    app = make_app(SERVER_NAME="shop.example")
    app.add_url_rule("/", "view", fine, subdomain="api")

    assert [(each["path"], each["host"]) for each in document(app)["routes"] if each["endpoint"] == "view"] == [
        ("/", "api")
    ]
    assert "//api/" in run(app).stdout


def test_mounts_are_named(shop: Flask) -> None:
    shop.wsgi_app = DispatcherMiddleware(shop.wsgi_app, {"/metrics": Flask("metrics")})  # type: ignore[method-assign]

    assert document(shop)["mounts"] == [{"path": "/metrics", "app": "the Flask app 'metrics'"}]


# Choosing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--blueprint", "api.inner"], ["GET /api/inner/"]),
        (["--blueprint", "api", "--method", "post"], ["POST /api/orders"]),
        (["--path", "/api/orders"], ["GET /api/orders", "POST /api/orders"]),
        (["--path", "/api/ord"], []),
        (["--path", "*/health"], ["GET /api/health"]),
        (["--policy", "limit", "--policy", "require_api_key", "--method", "POST"], ["POST /api/orders"]),
        (["--path", "/api", "--without", "require_api_key"], ["GET /api/health"]),
        (["--unguarded-writes"], ["POST /maybe", "POST /open", "DELETE /tried"]),
    ],
    ids=" ".join,
)
def test_routes_are_chosen(shop: Flask, arguments: list[str], wanted: list[str]) -> None:
    assert listed(shop, *arguments) == wanted


def test_routes_are_chosen_by_other_packages(app: Flask) -> None:
    LoginManager(app)
    app.add_url_rule("/", "view", login_required(fine), methods=["POST"])
    app.add_url_rule("/open", "open", fine, methods=["POST"])

    assert listed(app, "--without", "flask-login", "--method", "POST") == ["POST /open"]
    assert listed(app, "--unguarded-writes") == ["POST /open"]


def test_what_is_unknown_never_counts_as_protection(app: Flask) -> None:
    app.before_request(lambda: abort(403))
    app.add_url_rule("/", "view", fine, methods=["POST"])

    assert listed(app, "--unguarded-writes") == ["POST /"]


def test_a_write_is_guarded_by_what_authenticates_and_by_protection_from_csrf(app: Flask) -> None:
    @middleware(phase=Phase.AUTHENTICATE)
    def looking_on(request: Request) -> None: ...

    policies: list[Policy] = [same_origin, require_api_key, looking_on, limit("1/day")]
    for number, policy in enumerate(policies):
        app.add_url_rule(f"/{number}", f"view {number}", policy(fine), methods=["POST"])
    Guard(app)

    assert listed(app, "--unguarded-writes") == ["POST /2", "POST /3"]


@pytest.mark.parametrize("method", ["PURGE", "COPY", "LINK", "MKCOL"])
def test_any_method_that_is_not_known_as_safe_is_a_write(app: Flask, method: str) -> None:
    app.add_url_rule("/", "view", fine, methods=["GET", "PROPFIND", "QUERY", method])

    assert listed(app, "--unguarded-writes") == [f"{method} /"]


def test_policies_that_are_switched_off_protect_nothing(make_app: MakeApp) -> None:
    app = make_app(GUARD_ENABLED=False, GUARD_API_KEYS={"k": "a long secret key"})
    app.add_url_rule("/", "view", require_api_key(fine), methods=["POST"])
    Guard(app)

    assert listed(app, "--unguarded-writes") == ["POST /"]
    assert "GUARD_ENABLED is False" in run(app).stdout


# For people ----------------------------------------------------------------------------------------------------------


def test_table_shows_each_route_on_a_line(shop: Flask) -> None:
    lines = run(shop).stdout.splitlines()

    assert lines[0].split() == ["METHOD", "PATH", "ENDPOINT", "PROTECTION"]
    created = next(line for line in lines if line.split()[:3] == ["POST", "/api/orders", "api.create"])
    assert created.endswith(" > secure_headers > require_api_key > limit(10/minute, by=api_key)")
    assert any(line.split()[:3] == ["POST", "!", "/open"] for line in lines)
    assert any(line.endswith("require_api_key [report]") for line in lines)
    assert lines[-1] == f"{len(lines) - 3} routes, 3 unguarded writes"


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_table_fits_the_terminal(shop: Flask, width: int) -> None:
    result = run(shop, env={"COLUMNS": str(width)})

    assert max(map(len, result.stdout.splitlines())) <= width
    assert "require_api_key" in result.stdout


def test_no_colour_where_there_is_no_terminal(shop: Flask) -> None:
    assert "\x1b[" not in run(shop).stdout
    assert "\x1b[31m" in run(shop, color=True).stdout
    assert "\x1b[" not in run(shop, color=True, env={"NO_COLOR": "1"}).stdout


def test_markdown_is_a_table_with_a_row_for_each_route(shop: Flask) -> None:
    lines = run(shop, "--markdown", "--path", "/api").stdout.splitlines()

    assert lines[:2] == ["| Method | Path | Endpoint | Policies | Others |", "|---|---|---|---|---|"]
    assert len(lines) == 2 + 4
    assert "| GET | `/api/health` | `api.health` | `log_timing` → " in lines[2]


def test_an_app_without_a_guard_is_shown_as_it_stands(app: Flask) -> None:
    LoginManager(app)
    app.add_url_rule("/", "view", login_required(fine))

    output = run(app).stdout

    assert "tests has no Guard" in output
    assert "+ Flask-Login: login_required" in output


def test_a_mistake_ends_the_command_with_its_message(app: Flask) -> None:
    app.add_url_rule("/", "view", Impossible()(fine))
    Guard(app)

    result = run(app)

    assert (result.exit_code, result.stdout) == (6, "")
    assert "write something else" in result.stderr


def test_json_and_markdown_exclude_each_other(shop: Flask) -> None:
    assert run(shop, "--json", "--markdown").exit_code == 2


# Everywhere ----------------------------------------------------------------------------------------------------------


def test_the_commands_are_there_for_every_app() -> None:
    found = [each for each in metadata.entry_points(group="flask.commands") if each.name == "guard"]

    assert [each.value for each in found] == ["flask_guard.cli:guard_group"]


@pytest.mark.slow
def test_flask_guard_works_on_an_app_that_has_never_heard_of_it(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(
        "from flask import Flask\napp = Flask(__name__)\n\n@app.post('/x')\ndef x():\n    return 'x'\n"
    )
    command = [sys.executable, "-m", "flask", "--app", "plain", "guard", "routes"]

    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert "POST !" in result.stdout
    assert "1 unguarded write" in result.stdout
    assert result.stderr == ""


@pytest.mark.slow
def test_a_guarded_app_has_the_commands_once(tmp_path: Path) -> None:
    (tmp_path / "guarded.py").write_text(
        "from flask import Flask\nfrom flask_guard import Guard\napp = Flask(__name__)\nGuard(app)\n"
    )
    command = [sys.executable, "-m", "flask", "--app", "guarded"]

    listing = subprocess.run([*command, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    result = subprocess.run([*command, "guard", "routes"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert sum(line.split()[:1] == ["guard"] for line in listing.stdout.splitlines()) == 1
    assert "1 route, no unguarded writes" in result.stdout
