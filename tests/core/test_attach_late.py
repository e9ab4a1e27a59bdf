"""Whatever changes after the plans were made, or while a request runs, opens nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, copy_current_request_context, current_app, request
from flask.views import MethodView
from werkzeug.routing import Rule

from flask_guard import (
    ConfigError,
    Guard,
    current_api_key,
    exempt,
    limit,
    log_timing,
    protect,
    require_api_key,
    secure_headers,
)
from tests.conftest import MakeApp

KEY = {"X-API-Key": "the key of the tests"}


def rule_of(app: Flask, endpoint: str) -> Rule:
    return next(app.url_map.iter_rules(endpoint))


def guarded_by_its_view(app: Flask) -> None:
    app.add_url_rule("/admin", "admin", require_api_key(lambda: "admin"))


def guarded_by_its_class(app: Flask) -> None:
    @require_api_key
    class Admin(MethodView):
        def get(self) -> str:
            return "admin"

    app.add_url_rule("/admin", view_func=Admin.as_view("admin"))


def guarded_by_its_blueprint(app: Flask) -> None:
    admin = protect(Blueprint("admin", __name__), require_api_key)
    admin.add_url_rule("/admin", "index", lambda: "admin")
    app.register_blueprint(admin)


def guarded_by_the_app(app: Flask) -> None:
    protect(app, require_api_key)
    app.add_url_rule("/admin", "admin", lambda: "admin")


@pytest.mark.parametrize(
    "wire", [guarded_by_its_view, guarded_by_its_class, guarded_by_its_blueprint, guarded_by_the_app]
)
def test_hook_that_sends_a_request_to_another_view_does_not_get_past_its_policies(
    app: Flask, caplog: pytest.LogCaptureFixture, wire: Callable[[Flask], None]
) -> None:
    Guard(app)
    wire(app)
    app.add_url_rule("/open", "open", exempt(require_api_key)(lambda: "open"))
    admin = next(rule for rule in app.url_map.iter_rules() if rule.rule == "/admin")

    @app.before_request
    def rewrite() -> None:
        if "admin" in request.args:
            request.url_rule = admin

    client = app.test_client()

    assert client.get("/open").status_code == 200
    assert client.get("/open?admin=yes").status_code == 500
    assert client.get("/admin").status_code == 401
    assert "was not served" in caplog.text


def test_hook_that_sends_a_request_to_another_view_may_do_so_while_policies_are_switched_off(app: Flask) -> None:
    guard = Guard(app)
    app.add_url_rule("/open", "open", lambda: "open")
    guarded_by_its_blueprint(app)

    @app.before_request
    def rewrite() -> None:
        request.url_rule = rule_of(app, "admin.index")

    with guard.disabled():
        assert app.test_client().get("/open").text == "admin"


def test_view_may_call_another_view_that_no_policy_guards(app: Flask) -> None:
    Guard(app)
    app.add_url_rule("/inner", "inner", lambda: "inner")
    app.add_url_rule("/outer", "outer", lambda: str(current_app.view_functions["inner"]()))

    assert app.test_client().get("/outer").text == "inner"


def test_policy_on_a_class_that_has_served_a_request_is_a_config_error(app: Flask) -> None:
    class Thing(MethodView):
        def get(self) -> str:
            return "got"

    Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a"))
    assert app.test_client().get("/a").status_code == 200

    with pytest.raises(ConfigError, match="has served requests already") as raised:
        require_api_key(Thing)
    assert f"{__file__}:" in str(raised.value)


def test_policy_on_a_class_after_as_view_and_before_the_first_request_holds(app: Flask) -> None:
    class Thing(MethodView):
        def get(self) -> str:
            return "got"

    Guard(app)
    app.add_url_rule("/a", view_func=Thing.as_view("a"))
    protect(Thing, secure_headers, require_api_key)

    assert app.test_client().get("/a").status_code == 401


# Copies of the request context -------------------------------------------------------------------------------------


def in_a_copied_context(call: Callable[[], Any]) -> Any:
    """Return what `call` returns in a thread that has a copy of the request context, which ends there."""
    returned: list[Any] = []
    copied = copy_current_request_context(lambda: returned.append(call()))
    thread = threading.Thread(target=copied)
    thread.start()
    thread.join()
    return returned[0]


def test_copied_request_context_ends_neither_the_request_nor_its_record(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    def view() -> str:
        in_a_copied_context(lambda: request.path)
        return current_api_key.id

    app.config["GUARD_API_KEYS"] = {"one": KEY["X-API-Key"]}
    Guard(app, policies=[log_timing])
    app.add_url_rule("/a", "a", require_api_key(view))

    with caplog.at_level("INFO", logger="flask_guard.access"):
        response = app.test_client().get("/a", headers=KEY)

    records = [vars(each) for each in caplog.records if each.name == "flask_guard.access"]
    assert response.text == "one"
    assert [(each["status"], each["aborted"]) for each in records] == [(200, False)]


def test_copied_request_context_gives_no_place_back(app: Flask) -> None:
    inside = threading.Semaphore(0)
    leave = threading.Event()

    def view() -> str:
        in_a_copied_context(lambda: request.path)
        inside.release()
        leave.wait(20)
        return "served"

    Guard(app)
    app.add_url_rule("/a", "a", limit.concurrent(1)(view))
    statuses: list[int] = []
    first = threading.Thread(target=lambda: statuses.append(app.test_client().get("/a").status_code))
    first.start()
    try:
        assert inside.acquire(timeout=20)
        refused = [app.test_client().get("/a").status_code for _ in range(5)]
    finally:
        leave.set()
        first.join()

    assert refused == [429] * 5
    assert statuses == [200]


def test_copied_request_context_does_not_keep_a_request_from_being_charged(app: Flask) -> None:
    def view() -> tuple[str, int]:
        in_a_copied_context(lambda: request.path)
        return "failed", 403

    Guard(app)
    app.add_url_rule("/a", "a", limit("2/hour", deduct_when=lambda response: response.status_code == 403)(view))

    assert [app.test_client().get("/a").status_code for _ in range(4)] == [403, 403, 429, 429]


def test_principal_is_known_in_a_copied_request_context(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"one": KEY["X-API-Key"]})
    Guard(app)
    app.add_url_rule("/a", "a", require_api_key(lambda: in_a_copied_context(lambda: current_api_key.id)))

    assert app.test_client().get("/a", headers=KEY).text == "one"
