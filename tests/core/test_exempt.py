"""`exempt`: it removes the named kinds where it is applied, and nothing else, nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, Request
from flask.views import MethodView

from flask_guard import (
    ConfigError,
    Exemption,
    Guard,
    Phase,
    Policy,
    compose,
    cors,
    exempt,
    limit,
    middleware,
    protect,
    require_api_key,
    secure_headers,
)
from flask_guard.core.marks import calling_site
from flask_guard.core.policy import apply
from tests.cases import together


@middleware
def tenant(request: Request) -> None: ...


@middleware
def audit(request: Request) -> None: ...


APP_WIDE = (require_api_key, limit("5/minute"), secure_headers, tenant, audit)


def serve(app: Flask, scope: str, exemption: Exemption) -> Guard:
    """Serve /api/v1/thing (GET and POST) and /api/v1/other, guarded by APP_WIDE but for `exemption` at `scope`."""
    outer, inner = Blueprint("outer", __name__, url_prefix="/api"), Blueprint("inner", __name__, url_prefix="/v1")

    class Thing(MethodView):
        def get(self) -> str:
            return "got"

        def post(self) -> str:
            return "posted"

    if scope == "method":
        Thing.get = exemption(Thing.get)  # type: ignore[method-assign]
    elif scope == "decorators":
        Thing.decorators = [exemption]
    else:
        targets: dict[str, Any] = {"outer": outer, "inner": inner, "class": Thing}
        exemption(targets[scope])
    inner.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    inner.add_url_rule("/other", "other", lambda: "other")
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    return Guard(app, policies=APP_WIDE)


REACHES = {
    "outer": {"GET thing", "HEAD thing", "POST thing", "GET other"},
    "inner": {"GET thing", "HEAD thing", "POST thing", "GET other"},
    "class": {"GET thing", "HEAD thing", "POST thing"},
    "decorators": {"GET thing", "HEAD thing", "POST thing"},
    "method": {"GET thing", "HEAD thing"},
}


@pytest.mark.parametrize("scope", REACHES)
def test_exemption_removes_the_named_kinds_in_its_scope_and_no_others(app: Flask, scope: str) -> None:
    guard = serve(app, scope, exempt(require_api_key, tenant))

    def missing(served: str) -> set[str]:
        method, endpoint = served.split()
        plan = guard.plan_for(f"outer.inner.{endpoint}", method)
        return {policy.name for policy in APP_WIDE} - {placed.policy.name for placed in plan.policies}

    everything = {"GET thing", "HEAD thing", "POST thing", "GET other"}
    exempted = {served: missing(served) for served in everything}
    assert exempted == {
        served: {"require_api_key", "tenant"} if served in REACHES[scope] else set() for served in everything
    }


@pytest.mark.parametrize("scope", REACHES)
def test_exempt_endpoint_is_open_and_its_neighbours_are_not(app: Flask, scope: str) -> None:
    serve(app, scope, exempt(require_api_key))
    client = app.test_client()

    answers = {
        "GET thing": client.get("/api/v1/thing"),
        "POST thing": client.post("/api/v1/thing"),
        "GET other": client.get("/api/v1/other"),
    }

    assert {name: answer.status_code for name, answer in answers.items()} == {
        name: 200 if name in REACHES[scope] else 401 for name in answers
    }
    assert all("X-Content-Type-Options" in answer.headers for answer in answers.values())


def test_exempt_view_function_is_open(app: Flask) -> None:
    Guard(app, policies=APP_WIDE)
    app.add_url_rule("/open", "open", exempt(require_api_key)(lambda: "open"))
    app.add_url_rule("/closed", "closed", lambda: "closed")

    statuses = [app.test_client().get(path).status_code for path in ("/open", "/closed")]

    assert statuses == [200, 401]


def test_exemption_of_a_blueprint_reaches_404s_below_its_prefix(app: Flask) -> None:
    serve(app, "outer", exempt(require_api_key))

    statuses = [app.test_client().get(path).status_code for path in ("/api/nowhere", "/nowhere")]

    assert statuses == [404, 401]


def test_policy_stands_for_its_kind_whatever_its_options(app: Flask) -> None:
    guard = serve(app, "class", exempt(limit("1/day"), require_api_key(realm="other")))

    names = [placed.policy.name for placed in guard.plan_for("outer.inner.thing").policies]

    assert names == ["secure_headers", "tenant", "audit"]


def test_composition_stands_for_all_its_kinds(app: Flask) -> None:
    guard = serve(app, "class", exempt(compose(limit, require_api_key), tenant))

    names = [placed.policy.name for placed in guard.plan_for("outer.inner.thing").policies]

    assert names == ["secure_headers", "audit"]


def test_shared_limit_can_be_exempted_too(app: Flask) -> None:
    Guard(app, policies=[limit("1/hour", shared="everything")])
    app.add_url_rule("/open", "open", exempt(limit)(lambda: "open"))

    assert [app.test_client().get("/open").status_code for _ in range(3)] == [200, 200, 200]


def test_policy_that_is_nearer_than_the_exemption_applies(app: Flask) -> None:
    near: Policy = require_api_key(realm="near")
    api = Blueprint("api", __name__)
    protect(api, require_api_key)
    inner = exempt(require_api_key)(Blueprint("inner", __name__))
    inner.add_url_rule("/a", "a", protect(lambda: "a", require_api_key(realm="near")))
    api.register_blueprint(inner)
    app.register_blueprint(api)
    guard = Guard(app, policies=[require_api_key(realm="far")])

    assert [placed.policy for placed in guard.plan_for("api.inner.a").policies] == [near]


def test_exempting_from_what_is_not_there_changes_nothing(app: Flask) -> None:
    Guard(app, policies=[secure_headers])
    app.add_url_rule("/a", "a", exempt(cors, limit)(lambda: "a"))

    response = app.test_client().get("/a")

    assert response.status_code == 200
    assert "X-Content-Type-Options" in response.headers


def test_exempt_view_keeps_its_own_policies(app: Flask) -> None:
    guard = Guard(app, policies=[require_api_key])
    app.add_url_rule("/a", "a", exempt(require_api_key)(limit("1/minute")(tenant(lambda: "a"))))

    assert [placed.policy for placed in guard.plan_for("a").policies] == [limit("1/minute"), tenant]


def test_exempt_needs_no_guard_to_serve(app: Flask) -> None:
    app.add_url_rule("/a", "a", exempt(require_api_key)(lambda: "a"))

    assert app.test_client().get("/a").status_code == 200


# What exempt refuses ---------------------------------------------------------------------------------------------


def test_exempt_of_nothing_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"exempt\(limit\)"):
        exempt()


@pytest.mark.parametrize("wrong", ["cors", lambda: "view", Policy, 1])
def test_exempt_takes_policies_only(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"such as @exempt\(limit\), not"):
        exempt(wrong)  # type: ignore[arg-type]


def test_exempt_takes_a_target_to_apply_to() -> None:
    with pytest.raises(TypeError, match="applies to a view"):
        exempt(cors)("view")  # type: ignore[type-var]


def test_exempt_on_an_app_is_a_config_error(app: Flask) -> None:
    with pytest.raises(ConfigError, match="on an app, leave the policy out"):
        exempt(cors)(app)


@together("policy", [require_api_key, limit("1/minute"), tenant])
@together("exempt_first", [True, False])
@together("target", ["view", "class", "blueprint"])
def test_applying_and_exempting_a_kind_on_one_target_is_a_config_error(
    policy: Any, exempt_first: bool, target: str
) -> None:
    targets: dict[str, Any] = {
        "view": lambda: "view",
        "class": type("Thing", (MethodView,), {}),
        "blueprint": Blueprint("api", __name__),
    }
    first, second = (exempt(policy), policy) if exempt_first else (policy, exempt(policy))

    with pytest.raises(ConfigError, match="both applies and exempts") as raised:
        second(first(targets[target]))

    assert str(raised.value).count(f"{__file__}:") == 2


def test_exemption_from_a_phase_removes_every_policy_of_it(app: Flask) -> None:
    reports = Blueprint("reports", __name__)
    apply((Exemption(phases=frozenset({Phase.AUTHENTICATE})),), reports, calling_site())
    reports.add_url_rule("/open", "open", lambda: "open")
    reports.add_url_rule("/guarded", "guarded", require_api_key(lambda: "guarded"))
    app.register_blueprint(reports)
    guard = Guard(app, policies=[require_api_key, limit("9/minute")])
    client = app.test_client()

    assert [client.get(path).status_code for path in ("/open", "/guarded")] == [200, 401]
    assert guard.plan_for("reports.open").names == ("limit",)
    assert repr(Exemption(phases=frozenset({Phase.AUTHENTICATE}))) == "exempt(AUTHENTICATE)"
