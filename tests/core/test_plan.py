"""`guard.plan_for`: the plan of an endpoint and method, which is the object that requests run."""

from __future__ import annotations

import re
import sys
from dataclasses import FrozenInstanceError, dataclass
from typing import Any, ClassVar

import pytest
from flask import Blueprint, Flask, Request
from flask.views import MethodView

from flask_guard import (
    ConfigError,
    Guard,
    Phase,
    Plan,
    Policy,
    Run,
    Step,
    Target,
    cors,
    exempt,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
    secure_headers,
)
from tests.conftest import MakeApp


@dataclass(frozen=True, slots=True, repr=False)
class Spy(Policy):
    """Keeps the plans of the requests that it sees, and the targets where it was compiled."""

    kind: ClassVar[str] = "spy"
    phase: ClassVar[Phase] = Phase.OBSERVE

    plans: Any = ()
    targets: Any = ()

    def compile(self, target: Target) -> Step:
        self.targets.append(target)
        return Step(enter=lambda run: self.plans.append(run.plan))


@pytest.fixture
def spy() -> Spy:
    return Spy(plans=[], targets=[])


def test_plan_for_is_the_object_that_requests_run(app: Flask, spy: Spy) -> None:
    guard = Guard(app, policies=[spy])
    app.add_url_rule("/a/<int:number>", "a", lambda number: "a", methods=["GET", "POST"])
    client = app.test_client()

    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        for number in (1, 2):
            client.open(f"/a/{number}", method=method)
        assert len(spy.plans) == 2
        assert all(plan is guard.plan_for("a", method) for plan in spy.plans)
        spy.plans.clear()


def test_plan_that_was_asked_for_before_the_first_request_says_what_requests_run(app: Flask, spy: Spy) -> None:
    guard = Guard(app, policies=[spy, secure_headers])
    app.add_url_rule("/a", "a", limit("1/minute")(lambda: "a"))

    early = guard.plan_for("a")
    app.test_client().get("/a")

    (run,) = spy.plans
    assert [(each.policy, each.scope, each.site) for each in early.policies] == [
        (each.policy, each.scope, each.site) for each in run.policies
    ]


def test_plan_that_was_asked_for_early_does_not_freeze_what_is_registered_later(app: Flask) -> None:
    guard = Guard(app)
    api = Blueprint("api", __name__)
    app.add_url_rule("/a", "a", lambda: "a")

    assert guard.plan_for("a").policies == ()
    protect(app, require_api_key)
    api.add_url_rule("/b", "b", lambda: "b")
    app.register_blueprint(protect(api, secure_headers))

    assert app.test_client().get("/a").status_code == 401
    assert [placed.policy for placed in guard.plan_for("a").policies] == [require_api_key]
    assert [placed.policy for placed in guard.plan_for("api.b").policies] == [secure_headers, require_api_key]


def test_plan_is_compiled_once_for_each_endpoint_and_method(app: Flask, spy: Spy) -> None:
    Guard(app, policies=[spy])
    app.add_url_rule("/a", "a", lambda: "a")
    client = app.test_client()

    for _ in range(3):
        client.get("/a")
        client.post("/a")  # a 405
        client.get("/nowhere")
        client.open("/a", method="OPTIONS", headers={"Access-Control-Request-Method": "GET"})

    seen = {(target.endpoint, target.method, target.preflight) for target in spy.targets}
    assert len(spy.targets) == len(seen)


def test_plan_says_of_each_policy_what_it_is_where_it_comes_from_and_where_it_was_written(app: Flask) -> None:
    guard = Guard(app, policies=[log_timing])
    outer = protect(Blueprint("outer", __name__), cors(origins="*"))
    inner = protect(Blueprint("inner", __name__), secure_headers)

    @limit("1/minute")
    class Thing(MethodView):
        decorators = [limit("2/minute", shared="two")]  # noqa: RUF012

        @require_api_key
        def get(self) -> str:
            return "got"

    inner.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)

    plan = guard.plan_for("outer.inner.thing")

    assert (plan.endpoint, plan.method) == ("outer.inner.thing", "GET")
    assert [(placed.policy.name, placed.scope.partition(" ")[0]) for placed in plan.policies] == [
        ("log_timing", "app"),
        ("cors", "blueprint"),
        ("secure_headers", "blueprint"),
        ("limit", "view"),
        ("require_api_key", "method"),
    ]
    assert [placed.scope for placed in plan.policies][:3] == ["app tests", "blueprint outer", "blueprint outer.inner"]
    written = [placed.site.rpartition(":") for placed in plan.policies]
    assert {file for file, _, _ in written} == {__file__}
    assert all(line.isdigit() for _, _, line in written)


def test_plan_is_immutable(app: Flask) -> None:
    guard = Guard(app, policies=[secure_headers])
    app.add_url_rule("/a", "a", lambda: "a")

    with pytest.raises(FrozenInstanceError):
        guard.plan_for("a").enter = ()  # type: ignore[misc]


def test_plan_of_an_endpoint_without_policies_is_empty(app: Flask) -> None:
    guard = Guard(app)
    app.add_url_rule("/a", "a", lambda: "a")

    plan = guard.plan_for("a")

    assert (plan.policies, plan.enter, plan.leave, plan.teardown) == ((), (), (), ())


def test_plan_leaves_out_what_is_exempt(app: Flask) -> None:
    guard = Guard(app, policies=[secure_headers, require_api_key])
    app.add_url_rule("/a", "a", exempt(require_api_key)(lambda: "a"))

    assert [placed.policy for placed in guard.plan_for("a").policies] == [secure_headers]


@pytest.mark.parametrize("method", ["post", "Post", "POST"])
def test_method_may_be_in_any_case(app: Flask, method: str) -> None:
    guard = Guard(app)
    app.add_url_rule("/a", "a", lambda: "a", methods=["POST"])

    assert guard.plan_for("a", method) is guard.plan_for("a", "POST")


def test_unknown_endpoint_is_a_key_error(app: Flask) -> None:
    guard = Guard(app)

    with pytest.raises(KeyError, match="has no endpoint 'a'"):
        guard.plan_for("a")


@pytest.mark.parametrize("method", ["POST", "DELETE", "NONSENSE"])
def test_method_that_the_endpoint_does_not_take_is_a_value_error(app: Flask, method: str) -> None:
    guard = Guard(app)
    app.add_url_rule("/a", "a", lambda: "a")

    with pytest.raises(ValueError, match=f"endpoint 'a' does not take {method}"):
        guard.plan_for("a", method)


def test_plans_of_several_rules_of_one_endpoint_are_found_by_method(app: Flask) -> None:
    guard = Guard(app, policies=[secure_headers])
    app.add_url_rule("/a", "a", methods=["GET"])
    app.add_url_rule("/b", "a", lambda: "a", methods=["POST"])

    assert [guard.plan_for("a", method).method for method in ("GET", "POST")] == ["GET", "POST"]


def test_policies_of_ones_own_run_like_the_built_in_ones(app: Flask) -> None:
    @dataclass(frozen=True, slots=True, repr=False)
    class Teapot(Policy):
        """Refuses to brew."""

        kind: ClassVar[str] = "teapot"

        message: str = "short and stout"

        def compile(self, target: Target) -> Step:
            def enter(run: Run) -> tuple[str, int]:
                return f"{self.message} at {target.endpoint}", 418

            return Step(enter)

    Guard(app)
    app.add_url_rule("/a", "a", protect(lambda: "a", Teapot().refine(message="tall")))

    response = app.test_client().get("/a")

    assert (response.status_code, response.get_data(as_text=True)) == (418, "tall at a")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Signed(Policy):
    """Has options that may hold a secret, and one whose name only looks so."""

    kind: ClassVar[str] = "signed"
    phase: ClassVar[Phase] = Phase.OBSERVE
    secret: str = ""
    hmac_key: bytes = b""
    passwords: tuple[str, ...] = ()
    partition_key: str = ""

    def compile(self, target: Target) -> Step:
        return Step()


@middleware
def signed_too(_request: Request, *, token: str = "", header: str = "X-Signature") -> None:
    """Have an option that may hold a secret."""


def test_no_secret_option_is_in_a_repr_or_a_plan(app: Flask) -> None:
    options = {"secret": "hunter2", "hmac_key": b"hunter2", "passwords": ("hunter2",), "partition_key": "shop"}
    app.add_url_rule("/", "view", Signed()(**options)(signed_too(token="hunter2", header="X-Sign")(lambda: "")))
    plan = Guard(app).plan_for("view")

    assert "hunter2" not in f"{plan!r} {plan} {plan.policies} {plan.policies[-1]} {plan.policies[-1].mark}"
    assert [repr(placed.policy) for placed in plan.policies] == [
        "signed(secret=…, hmac_key=…, passwords=…, partition_key='shop')",
        "signed_too(token=…, header='X-Sign')",
    ]


def test_policy_as_written_is_its_repr(app: Flask) -> None:
    @middleware
    def tenant(request: Request, *, header: str = "X-Tenant") -> None: ...

    guard = Guard(app, policies=[limit("10/minute", shared="all"), tenant(header="X-Org"), secure_headers])
    app.add_url_rule("/a", "a", lambda: "a")

    shown = [repr(placed.policy) for placed in guard.plan_for("a").policies]

    assert shown == ["secure_headers", "limit(shared='all', rates=('10/minute',))", "tenant(header='X-Org')"]


def test_plan_is_asked_for_kinds_by_policy_or_name(app: Flask) -> None:
    @middleware
    def tenant(request: Request) -> None: ...

    guard = Guard(app, policies=[secure_headers, limit("9/hour", shared="all"), tenant])
    app.add_url_rule("/a", "a", limit("1/minute")(lambda: "a"))
    plan = guard.plan_for("a")

    assert secure_headers in plan
    assert secure_headers("api") in plan
    assert tenant in plan
    assert "limit" in plan
    assert require_api_key not in plan
    assert "require_api_key" not in plan
    assert [placed.policy.name for placed in plan] == ["secure_headers", "limit", "limit", "tenant"]
    assert plan["secure_headers"].policy == secure_headers
    assert plan["tenant"].scope == "app tests"
    with pytest.raises(KeyError, match="has 0 policies called 'cors'"):
        plan["cors"]
    with pytest.raises(KeyError, match="has 2 policies called 'limit'"):
        plan["limit"]


def test_two_plans_are_equal_only_if_they_are_the_same(app: Flask) -> None:
    guard = Guard(app)
    app.add_url_rule("/a", "a", lambda: "a")
    app.add_url_rule("/b", "b", lambda: "b")

    assert guard.plan_for("a") != Plan(guard.plan_for("a").target)
    assert guard.plan_for("a") != guard.plan_for("b")


@pytest.mark.parametrize("kind", [None, "", 7])
def test_policy_without_a_kind_is_refused_where_its_class_is_made(kind: Any) -> None:
    body = {} if kind is None else {"kind": kind}

    with pytest.raises(ConfigError, match="Nameless needs a kind"):
        type("Nameless", (Policy,), body)


def test_policy_that_compiles_to_no_step_is_named_with_its_place(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    class Forgetful(Policy):
        kind = "forgetful"

        def compile(self, target: Target) -> Any:
            return lambda run: None

    Guard(app)
    app.add_url_rule("/a", "a", Forgetful()(lambda: "a"))

    assert app.test_client().get("/a").status_code == 500
    assert re.search(r"forgetful at .*test_plan\.py:\d+: compile must return a Step, .* not a function", caplog.text)


def test_policy_without_compile_is_named_with_its_place(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    class Unfinished(Policy):
        kind = "unfinished"

    Guard(app)
    app.add_url_rule("/a", "a", Unfinished()(lambda: "a"))

    assert app.test_client().get("/a").status_code == 500
    assert re.search(r"unfinished at .*test_plan\.py:\d+: .*Unfinished needs a method compile", caplog.text)


def calls_per_plan(app: Flask, guard: Guard, endpoints: int) -> float:
    """Return how many functions are called to make a plan, in an app with so many endpoints."""
    for number in range(endpoints):
        view = limit("9/minute")(secure_headers(lambda: "a"))
        app.add_url_rule(f"/{number}", f"view{number}", view)
    calls = [0]

    def count(_frame: object, event: str, _argument: object) -> None:
        calls[0] += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for number in range(endpoints):
            guard.plan_for(f"view{number}")
    finally:
        sys.setprofile(before)
    return calls[0] / endpoints


@pytest.mark.slow
def test_making_a_plan_costs_the_same_however_many_endpoints_there_are(make_app: MakeApp) -> None:
    few, many = (calls_per_plan(app, Guard(app), count) for app, count in ((make_app(), 20), (make_app(), 400)))

    assert many < 1.2 * few
