"""Policies on blueprints: registered early, late, twice, nested, below the same name, and on two apps."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from flask import Blueprint, Flask, Request, Response

from flask_guard import ConfigError, Guard, Policy, cors, exempt, limit, middleware, protect, require_api_key
from tests.conftest import MakeApp


@middleware
def stamp(request: Request, *, value: str = "yes") -> Generator[None, Response, None]:
    response = yield
    response.headers.add("X-Stamp", value)


def blueprint(name: str = "api", prefix: str | None = "/api", *policies: Policy) -> Blueprint:
    """Return a blueprint that serves one view, and has `policies`."""
    made = Blueprint(name, __name__, url_prefix=prefix)
    made.add_url_rule("/a", "a", lambda: "a")
    return protect(made, *policies) if policies else made


def stamps(app: Flask, path: str) -> list[str]:
    """Return what the stamps in force at `path` wrote."""
    return app.test_client().get(path).headers.getlist("X-Stamp")


# When things happen ------------------------------------------------------------------------------------------------


def test_guard_may_be_initialised_after_blueprints_and_views_were_registered(app: Flask) -> None:
    app.register_blueprint(blueprint("api", "/api", stamp, require_api_key))
    app.add_url_rule("/view", "view", require_api_key(lambda: "view"))

    Guard(app)

    assert [app.test_client().get(path).status_code for path in ("/api/a", "/view", "/api/nowhere")] == [401] * 3


def test_guard_may_be_initialised_before_anything_is_registered(app: Flask) -> None:
    guard = Guard()
    guard.init_app(app)

    app.register_blueprint(blueprint("api", "/api", stamp, require_api_key))
    app.add_url_rule("/view", "view", require_api_key(lambda: "view"))

    assert [app.test_client().get(path).status_code for path in ("/api/a", "/view", "/api/nowhere")] == [401] * 3


def test_views_added_to_a_blueprint_after_the_policy_are_guarded(app: Flask) -> None:
    api = blueprint("api", "/api", stamp)
    api.add_url_rule("/late", "late", lambda: "late")
    app.register_blueprint(api)
    Guard(app)

    assert stamps(app, "/api/late") == ["yes"]


@pytest.mark.parametrize("has_one", [False, True])
@pytest.mark.parametrize("has_guard", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_policy_on_a_registered_blueprint_is_a_config_error(
    app: Flask, has_one: bool, has_guard: bool, nested: bool
) -> None:
    api = blueprint("api", "/api", *([stamp] if has_one else []))
    parent = Blueprint("parent", __name__)
    if has_guard:
        Guard(app)
    if nested:
        parent.register_blueprint(api)
    app.register_blueprint(parent if nested else api)

    with pytest.raises(ConfigError, match="before that") as raised:
        require_api_key(api)

    assert f"{__file__}:" in str(raised.value)


@pytest.mark.parametrize("has_one", [False, True])
def test_exemption_on_a_registered_blueprint_is_a_config_error(app: Flask, has_one: bool) -> None:
    api = blueprint("api", "/api", *([stamp] if has_one else []))
    app.register_blueprint(api)

    with pytest.raises(ConfigError, match="before that"):
        exempt(require_api_key)(api)


@pytest.mark.parametrize("policies", [(), (stamp,)])
@pytest.mark.parametrize("has_guard", [False, True])
def test_policy_on_an_app_that_has_served_a_request_is_a_config_error(
    app: Flask, policies: tuple[Policy, ...], has_guard: bool
) -> None:
    if has_guard:
        Guard(app, policies=policies)
    elif policies:
        protect(app, *policies)
    app.test_client().get("/nowhere")

    with pytest.raises(ConfigError, match="before that"):
        require_api_key(app)


# Names -------------------------------------------------------------------------------------------------------------


def test_blueprints_with_one_leaf_name_at_different_nesting_share_nothing(app: Flask) -> None:
    policies = {"top": "1/hour", "one": "2/hour", "two": "3/hour"}
    app.register_blueprint(blueprint("leaf", "/top", limit(policies["top"]), stamp(value="top")))
    for parent in ("one", "two"):
        outer = Blueprint(parent, __name__, url_prefix=f"/{parent}")
        outer.register_blueprint(blueprint("leaf", None, limit(policies[parent]), stamp(value=parent)))
        app.register_blueprint(outer)
    Guard(app)

    answers = {name: [app.test_client().get(f"/{name}/a") for _ in range(4)] for name in policies}

    assert {name: [each.status_code for each in got].count(200) for name, got in answers.items()} == {
        "top": 1,
        "one": 2,
        "two": 3,
    }
    assert all(answers[name][0].headers["X-Stamp"] == name for name in answers)


def test_blueprints_with_one_leaf_name_and_equal_limits_count_apart(app: Flask) -> None:
    for parent in ("one", "two"):
        outer = Blueprint(parent, __name__, url_prefix=f"/{parent}")
        outer.register_blueprint(blueprint("leaf", None, limit("1/hour")))
        app.register_blueprint(outer)
    Guard(app)

    paths = ("/one/a", "/two/a", "/one/a", "/two/a")

    assert [app.test_client().get(path).status_code for path in paths] == [200, 200, 429, 429]


def test_blueprint_registered_twice_is_guarded_at_both_places_and_counts_apart(app: Flask) -> None:
    api = blueprint("api", "/v1", limit("1/hour"), stamp)
    Guard(app)
    app.register_blueprint(api)
    app.register_blueprint(api, name="newer", url_prefix="/v2")

    paths = ("/v1/a", "/v2/a", "/v1/a", "/v2/a", "/v1/nowhere", "/v2/nowhere", "/v3/nowhere")
    answers = [app.test_client().get(path) for path in paths]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 404, 404, 404]
    assert ["RateLimit" in answer.headers for answer in answers] == [True] * 6 + [False]
    assert [answer.headers.getlist("X-Stamp") for answer in answers[:2]] == [["yes"], ["yes"]]


def test_blueprint_nested_twice_has_the_policies_of_each_parent(app: Flask) -> None:
    shared = blueprint("shared", "/shared", cors(origins="*"))
    for parent in ("one", "two"):
        outer = protect(Blueprint(parent, __name__, url_prefix=f"/{parent}"), stamp(value=parent))
        outer.register_blueprint(shared)
        app.register_blueprint(outer)
    Guard(app)

    assert [stamps(app, path) for path in ("/one/shared/a", "/two/shared/a", "/two/shared/nowhere")] == [
        ["one"],
        ["two"],
        ["two"],
    ]


# Two apps ----------------------------------------------------------------------------------------------------------


def test_two_apps_share_a_blueprint_and_each_has_its_own_app_policies(make_app: MakeApp) -> None:
    api = blueprint("api", "/api", limit("1/hour"))
    open_app, keyed_app = make_app(), make_app()
    Guard(open_app, policies=[stamp(value="open")])
    Guard(keyed_app, policies=[stamp(value="keyed"), require_api_key])
    for each in (open_app, keyed_app):
        each.register_blueprint(api)

    answers = [each.test_client().get("/api/a") for each in (open_app, keyed_app, open_app)]

    assert [answer.status_code for answer in answers] == [200, 401, 429]
    assert answers[0].headers.getlist("X-Stamp") == ["open"]


def test_one_function_has_on_each_app_the_policies_that_it_was_given_there(make_app: MakeApp) -> None:
    def view() -> str:
        return "a"

    keyed, stamped = make_app(), make_app()
    for each, policy in ((keyed, require_api_key), (stamped, stamp)):
        Guard(each)
        each.add_url_rule("/a", "a", protect(view, policy))

    assert keyed.test_client().get("/a").status_code == 401
    assert stamps(stamped, "/a") == ["yes"]


def test_two_apps_count_the_limits_of_a_shared_blueprint_apart(make_app: MakeApp) -> None:
    api = blueprint("api", "/api", limit("1/hour", shared="everything"))
    apps = [make_app(), make_app()]
    for each in apps:
        Guard(each)
        each.register_blueprint(api)

    assert [each.test_client().get("/api/a").status_code for each in (*apps, *apps)] == [200, 200, 429, 429]


def test_two_apps_may_mount_a_shared_blueprint_at_different_prefixes(make_app: MakeApp) -> None:
    api = blueprint("api", "/api", stamp)
    apps = {"/one": make_app(), "/two": make_app()}
    for prefix, each in apps.items():
        Guard(each)
        each.register_blueprint(api, url_prefix=prefix)

    found = {prefix: [bool(stamps(each, f"{p}/nowhere")) for p in apps] for prefix, each in apps.items()}

    assert found == {"/one": [True, False], "/two": [False, True]}


def test_app_called_within_a_view_of_another_runs_its_own_policies(make_app: MakeApp) -> None:
    outer, inner = make_app(), make_app()
    Guard(outer, policies=[stamp(value="outer")])
    Guard(inner, policies=[stamp(value="inner")])
    inner.add_url_rule("/a", "a", limit("9/hour")(lambda: "inner"))
    outer.add_url_rule("/a", "a", limit("9/hour")(lambda: ",".join(stamps(inner, "/a"))))

    response = outer.test_client().get("/a")

    assert response.get_data(as_text=True) == "inner"
    assert response.headers.getlist("X-Stamp") == ["outer"]
