"""`assert_guarded`."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView

from flask_guard import Guard, compose, exempt, limit, protect, require_api_key, require_auth, secure_headers
from flask_guard.testing import assert_guarded
from tests.conftest import MakeApp

public = compose(limit("10/minute"), secure_headers)


def recognise(token: str) -> str | None:
    return None


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = make_app()
    Guard(app, policies=[secure_headers])
    api = Blueprint("api", __name__, url_prefix="/api")
    protect(api, require_api_key, limit("10/minute"))
    api.add_url_rule("/orders", "orders", lambda: "", methods=["GET", "POST"])
    api.add_url_rule("/orders/<int:number>", "order", lambda number: "", methods=["PUT", "PATCH"])
    api.add_url_rule("/webhooks/bank", "bank", exempt(require_api_key)(lambda: ""), methods=["POST"])
    app.register_blueprint(api)
    app.add_url_rule("/trial", "trial", require_auth(bearer=recognise, mode="report")(lambda: ""), methods=["POST"])
    return app


@pytest.mark.parametrize(
    ("where", "options"),
    [
        ("GET /api/*", {"by": require_api_key}),
        ("get /api/orders", {"by": [require_api_key, limit]}),
        ("PUT,PATCH /api/*", {"by": public}),
        ("/api/orders/<int:number>", {}),
        ("* /api/*", {"by": limit}),
        ("POST /api/*", {"by": require_api_key, "except_for": "POST /api/webhooks/*"}),
        ("POST /api/*", {"except_for": ["/api/webhooks/*", "/trial"]}),
    ],
    ids=str,
)
def test_guarded_endpoints_pass(app: Flask, where: str, options: dict[str, Any]) -> None:
    assert_guarded(app, where, **options)


@pytest.mark.parametrize(
    ("where", "options", "message"),
    [
        (
            "POST /api/*",
            {"by": require_api_key},
            r"POST /api/webhooks/bank \(.*test_guarded.py:\d+\) lacks require_",
        ),
        ("POST /api/*", {}, "POST /api/webhooks/bank .* lacks authentication"),
        ("POST /trial", {"by": require_auth}, "lacks require_auth"),
        ("POST /trial", {}, "lacks authentication"),
        ("GET /api/orders", {"by": [limit, require_auth]}, "lacks require_auth$"),
        ("DELETE /api/*", {"by": limit}, "no endpoint of .* matches 'DELETE /api/\\*'"),
    ],
    ids=str,
)
def test_open_endpoints_fail(app: Flask, where: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=f"(?m){message}"):
        assert_guarded(app, where, **options)


def test_failure_names_what_is_in_force_and_what_took_a_policy_away(app: Flask) -> None:
    with pytest.raises(AssertionError) as failure:
        assert_guarded(app, "POST /api/*", by=require_api_key)

    lines = str(failure.value).partition("\n\n")[0].splitlines()
    assert len(lines) == 5
    assert lines[2].strip().startswith("secure_headers() of app")
    assert lines[3].strip().startswith('limit(rates=["10/minute"]) of blueprint')
    assert lines[4].strip().startswith("left out: require_api_key at ")
    assert " is exempt by exempt(require_api_key) at " in lines[4]


def test_policy_that_only_reports_is_named_as_such(app: Flask) -> None:
    with pytest.raises(AssertionError, match=r"require_auth\(.*\) of view .* only reports"):
        assert_guarded(app, "/trial")


@pytest.mark.parametrize("policy", [require_api_key, require_auth(bearer=recognise)], ids=["key", "token"])
def test_optional_credentials_count_only_if_they_are_named_as_optional(make_app: MakeApp, policy: Any) -> None:
    app = make_app()
    Guard(app)
    app.add_url_rule("/a/open", "open", policy(optional=True)(lambda: ""))
    app.add_url_rule("/a/closed", "closed", policy(lambda: ""))

    assert_guarded(app, "/a/closed", by=[policy(optional=True)])
    assert_guarded(app, "/a/*", by=[policy(optional=True)])
    with pytest.raises(AssertionError, match=f"GET /a/open .* lacks {policy.name}\n"):
        assert_guarded(app, "/a/*", by=[policy])


def test_app_without_a_guard_and_one_that_is_switched_off_fail(make_app: MakeApp) -> None:
    bare, off = make_app(), make_app(GUARD_ENABLED=False)
    Guard(off)
    for app in (bare, off):
        app.add_url_rule("/", "index", require_api_key(lambda: ""), methods=["POST"])

    with pytest.raises(AssertionError, match="the app has no Guard"):
        assert_guarded(bare, "/", by=require_api_key)
    with pytest.raises(AssertionError, match="GUARD_ENABLED is False"):
        assert_guarded(off, "/", by=require_api_key)


def test_each_of_several_endpoints_on_one_path_counts(make_app: MakeApp) -> None:
    app = make_app()
    Guard(app)
    app.add_url_rule("/things", "open", lambda: "", methods=["POST"])
    app.add_url_rule(
        "/things",
        "closed",
        require_api_key(lambda: ""),
        methods=["POST"],
    )

    with pytest.raises(AssertionError, match=r"POST /things .* lacks require_api_key"):
        assert_guarded(app, "POST /things", by=require_api_key)


def test_each_method_of_a_class_counts(make_app: MakeApp) -> None:
    app = make_app()
    Guard(app)

    class Things(MethodView):
        @require_api_key
        def post(self) -> str:
            return ""

        def delete(self) -> str:
            return ""

    app.add_url_rule("/things", view_func=Things.as_view("things"))

    assert_guarded(app, "POST /things")
    with pytest.raises(AssertionError, match="DELETE /things"):
        assert_guarded(app, "/things")


def test_failure_shows_what_explain_prints(app: Flask) -> None:
    with pytest.raises(AssertionError) as failure:
        assert_guarded(app, "POST /api/*", by=require_api_key)

    explanation = str(failure.value).partition("\n\n")[2]
    assert explanation.startswith("POST /api/webhooks/bank")
    assert "Outer policies that are not in force" in explanation
