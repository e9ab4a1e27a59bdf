"""The inspector: a live page with the last requests, which opens to the right people only and keeps no secret."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import pytest
from flask import Flask, abort, request

from flask_guard import (
    ConfigError,
    Guard,
    Phase,
    exempt,
    limit,
    log_timing,
    middleware,
    require_api_key,
    require_auth,
    secure_headers,
)
from flask_guard.audit.findings import examine
from flask_guard.audit.inventory import take_inventory
from flask_guard.audit.start_line import start_line
from flask_guard.core.app_state import AppState
from tests.conftest import MakeApp

SECRET = "hunter2-" + "Zx9" * 9


def fine() -> str:
    return "fine"


def let_in(name: str, password: str) -> dict[str, str] | None:
    return {"sub": name} if password == SECRET else None


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """Return an app in debug mode with an inspector."""
    app = make_app(GUARD_API_KEYS={"k": SECRET})
    app.debug = True
    Guard(app, policies=[log_timing, secure_headers, require_api_key], inspector=True)
    app.add_url_rule("/", "view", limit("2/hour")(lambda: "fine"))
    app.add_url_rule("/secret/<word>", "secret", lambda word: word)
    app.add_url_rule("/fails", "fails", lambda: abort(500))
    return app


def seen(app: Flask, after: int = -1) -> dict[str, Any]:
    answer = app.test_client().get(f"/_guard/requests?after={after}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


# Who may look --------------------------------------------------------------------------------------------------------


def test_page_opens_on_the_same_machine(app: Flask) -> None:
    page = app.test_client().get("/_guard/")

    assert page.status_code == 200
    assert "Inspector of tests" in page.text
    assert "connect-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/_guard/", "/_guard/requests"])
@pytest.mark.parametrize(
    ("address", "host", "headers"),
    [
        ("192.0.2.1", "localhost", {}),
        ("127.0.0.1", "evil.example", {}),
        ("127.0.0.1", "localhost.evil.example:5000", {}),
        ("127.0.0.1", "localhost", {"X-Forwarded-For": "192.0.2.1"}),
        ("127.0.0.1", "localhost", {"Forwarded": "for=192.0.2.1"}),
        ("127.0.0.1", "localhost", {"X-Forwarded-Proto": "https"}),
        ("127.0.0.1", "localhost", {"CF-Connecting-IP": "192.0.2.1"}),
        ("::ffff:192.0.2.1", "localhost", {}),
    ],
    ids=[
        "address",
        "host",
        "look-alike host",
        "proxy",
        "standard proxy",
        "https proxy",
        "content network",
        "mapped address",
    ],
)
def test_page_is_closed_to_everybody_else(
    app: Flask, path: str, address: str, host: str, headers: dict[str, str]
) -> None:
    answer = app.test_client().get(path, headers={"Host": host, **headers}, environ_overrides={"REMOTE_ADDR": address})

    assert answer.status_code == 403
    assert "Content-Security-Policy" not in answer.headers


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5000", "[::1]:5000", "localhost:8000", "[::1]"])
def test_every_loopback_name_opens_the_page(app: Flask, address: str, host: str) -> None:
    options: Any = {"headers": {"Host": host}, "environ_overrides": {"REMOTE_ADDR": address}}

    assert app.test_client().get("/_guard/requests", **options).status_code == 200


def test_app_out_of_debug_mode_refuses_to_start(make_app: MakeApp) -> None:
    app = make_app()
    Guard(app, inspector=True)
    app.add_url_rule("/", "view", fine)

    for path in ("/", "/_guard/"):
        assert app.test_client().get(path).status_code == 500
    assert "is for debug mode" in str(AppState.of(app).error)


def test_page_closes_when_debug_mode_ends(app: Flask) -> None:
    assert app.test_client().get("/_guard/").status_code == 200
    app.debug = False

    assert app.test_client().get("/_guard/").status_code == 403


@pytest.mark.parametrize(
    "gate",
    [
        limit("9/hour"),
        limit("9/hour", by="api_key"),
        middleware(phase=Phase.AUTHENTICATE)(lambda _request: None),
        require_api_key(optional=True),
        require_api_key(mode="report"),
        secure_headers,
        "yes",
        1,
        None,
    ],
    ids=str,
)
def test_what_would_open_the_page_to_anyone_is_refused(make_app: MakeApp, gate: Any) -> None:
    with pytest.raises(ConfigError, match="would open the inspector to anyone"):
        Guard(make_app(), inspector=gate)


def test_gate_in_report_mode_by_configuration_is_refused(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError, match="would open the inspector to anyone"):
        Guard(make_app(GUARD_MODES={"require_auth": "report"}), inspector=require_auth(basic=let_in))


def test_a_policy_opens_the_page_in_any_mode(make_app: MakeApp) -> None:
    app = make_app()
    Guard(app, policies=limit("1/hour"), inspector=require_auth(basic=let_in))
    client = app.test_client()

    assert client.get("/_guard/").status_code == 401
    assert client.get("/_guard/requests").status_code == 401
    for _ in range(3):
        assert client.get("/_guard/", auth=("ada", SECRET), headers={"Host": "app.example"}).status_code == 200


def test_nothing_is_mounted_unless_it_is_wanted(make_app: MakeApp) -> None:
    app = make_app()
    app.debug = True
    app.add_url_rule("/", "view", limit("9/hour")(fine))
    guard = Guard(app)

    assert app.test_client().get("/_guard/").status_code == 404
    assert not AppState.of(app).traces
    assert [type(step).__name__ for step in guard.plan_for("view").enter] == ["function"]


def test_nothing_is_mounted_while_the_guard_is_switched_off(make_app: MakeApp) -> None:
    app = make_app(GUARD_ENABLED=False)
    app.debug = True
    Guard(app, inspector=True)

    assert app.test_client().get("/_guard/").status_code == 404


# What is seen --------------------------------------------------------------------------------------------------------


def test_each_request_is_seen_with_its_way(app: Flask) -> None:
    client = app.test_client()
    client.get("/", headers={"X-API-Key": SECRET})
    client.get("/")

    first, second = seen(app)["requests"]

    assert (first["method"], first["path"], first["endpoint"], first["status"]) == ("GET", "/", "view", 200)
    assert [(step["text"], step["verdict"]) for step in first["steps"]] == [
        ("log_timing", "allowed"),
        ("secure_headers", "response only"),
        ("limit(2/hour)", "allowed"),
        ("require_api_key", "allowed"),
    ]
    assert "X-Request-ID" in first["steps"][0]["fields"]
    assert first["steps"][2]["enter_us"] > 0
    assert second["status"] == 401
    assert second["steps"][3]["needed"] == "Send a key: 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."


@pytest.mark.slow
def test_only_what_is_newer_is_sent_and_the_last_200_are_kept(app: Flask) -> None:
    client = app.test_client()
    for _ in range(203):
        client.get("/none")

    found = seen(app)

    assert (found["schema"], found["last"], len(found["requests"])) == ("flask_guard.requests/1", 202, 200)
    assert [each["number"] for each in seen(app, after=200)["requests"]] == [201, 202]


def test_requests_of_the_page_itself_are_not_seen(app: Flask) -> None:
    app.test_client().get("/_guard/")
    seen(app)

    assert seen(app)["requests"] == []


def test_requests_that_fail_are_seen(app: Flask) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.view_functions["fails"] = lambda: str(1 / 0)
    app.test_client().get("/fails", headers={"X-API-Key": SECRET})

    assert [(each["endpoint"], each["status"]) for each in seen(app)["requests"]] == [("fails", 500)]


def test_no_secret_body_or_query_value_is_kept(app: Flask) -> None:
    def echo() -> tuple[str, int, dict[str, str]]:
        return f"{request.data!r}", 400, {"X-Echo": SECRET, "Set-Cookie": f"a={SECRET}"}

    app.add_url_rule("/echo", "echo", echo, methods=["POST"])
    client = app.test_client(use_cookies=False)
    for headers in ({"X-API-Key": SECRET}, {"Authorization": f"Bearer {SECRET}x"}, {"Cookie": f"a={SECRET}"}):
        client.post(f"/echo?key={SECRET}", data=SECRET, headers=headers)

    assert SECRET not in json.dumps(seen(app))
    assert SECRET not in app.test_client().get("/_guard/").text
    assert seen(app)["requests"][0]["path"] == "/echo?key=…"


def test_limits_are_charged_as_ever(app: Flask) -> None:
    client = app.test_client()

    assert [client.get("/", headers={"X-API-Key": SECRET}).status_code for _ in range(3)] == [200, 200, 429]


def test_inspector_adds_no_finding(make_app: MakeApp) -> None:
    with_it, without_it = make_app(), make_app()
    for each in (with_it, without_it):
        each.debug = True
        Guard(each, policies=[limit("9/hour")], inspector=each is with_it)

    found = [[finding.rule.id for finding in examine(take_inventory(each)).findings] for each in (with_it, without_it)]

    assert found[0] == found[1]


def test_policies_of_the_app_do_not_hold_for_the_page(app: Flask) -> None:
    entries = [each for each in take_inventory(app).entries if each.path.startswith("/_guard/")]

    assert [[placed.policy.name for placed in entry.plan or ()] for entry in entries] == [["inspector"]] * 2


# The line at the start -----------------------------------------------------------------------------------------------


def test_start_line_counts_endpoints_unguarded_writes_and_findings(app: Flask) -> None:
    app.add_url_rule("/open", "open", exempt(require_api_key)(lambda: "fine"), methods=["POST"])

    assert re.fullmatch(
        r"flask_guard: 7 endpoints, 1 unguarded write, \d+ errors, \d+ warnings?, \d+ info\."
        r" To see more: flask guard audit, flask guard routes",
        start_line(app),
    )


@pytest.mark.parametrize("debug", [True, False])
def test_development_server_prints_the_line_in_debug_mode_only(app: Flask, capsys: Any, debug: bool) -> None:
    app = Flask("served")
    app.debug = debug
    Guard(app)

    app.test_client().get("/", environ_overrides={"werkzeug.socket": object()})
    for thread in threading.enumerate():
        if thread.name == "flask_guard-start-line":
            thread.join(20)

    assert ("flask_guard: 1 endpoint, no unguarded writes" in capsys.readouterr().err) is debug


def test_other_servers_and_tests_print_no_line(app: Flask, capsys: Any) -> None:
    app.test_client().get("/")

    assert "flask_guard:" not in capsys.readouterr().err
