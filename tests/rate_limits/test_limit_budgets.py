"""`limit`: one budget for each endpoint, unless it is shared; nearest wins; two apps share nothing."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from flask.views import MethodView

from flask_guard import Guard, Limit, exempt, limit, protect

from ..conftest import MakeApp


def statuses(client: FlaskClient, *paths: str, method: str = "GET", **request: Any) -> list[int]:
    """Return the status codes of requests to `paths`, one after the other."""
    return [client.open(path, method=method, **request).status_code for path in paths]


def view() -> str:
    return ""


# Each endpoint has its own ---------------------------------------------------------------------------------------


def nested_with_one_leaf_name(app: Flask) -> None:
    """Register two blueprints of the same name at different nesting, each with a limited view of the same name."""
    for parent in ("a", "b"):
        outer, leaf = Blueprint(parent, parent, url_prefix=f"/{parent}"), Blueprint("leaf", "leaf")
        leaf.add_url_rule("/", "view", limit("1/minute")(lambda: ""))
        outer.register_blueprint(leaf)
        app.register_blueprint(outer)


def limited_blueprints_with_one_leaf_name(app: Flask) -> None:
    """Register two blueprints of the same name at different nesting, each limited itself."""
    for parent in ("a", "b"):
        outer, leaf = Blueprint(parent, parent, url_prefix=f"/{parent}"), Blueprint("leaf", "leaf")
        leaf.add_url_rule("/", "view", lambda: "")
        protect(leaf, limit("1/minute"))
        outer.register_blueprint(leaf)
        app.register_blueprint(outer)


def made_in_a_loop(app: Flask) -> None:
    """Register two views that one line of code makes, so that they share a qualified name."""
    for name in ("a", "b"):
        app.add_url_rule(f"/{name}/", name, limit("1/minute")(lambda: ""))


def one_function_twice(app: Flask) -> None:
    """Register one limited function under two endpoints."""
    shim = limit("1/minute")(view)
    app.add_url_rule("/a/", "a", shim)
    app.add_url_rule("/b/", "b", shim)


def one_blueprint_twice(app: Flask) -> None:
    """Register one limited blueprint under two names."""
    blueprint = protect(Blueprint("one", "one"), limit("1/minute"))
    blueprint.add_url_rule("/", "view", view)
    app.register_blueprint(blueprint, name="a", url_prefix="/a")
    app.register_blueprint(blueprint, name="b", url_prefix="/b")


def below_one_blueprint(app: Flask) -> None:
    """Register two views on one limited blueprint: an unshared limit is a default for each."""
    blueprint = protect(Blueprint("one", "one"), limit("1/minute"))
    blueprint.add_url_rule("/a/", "a", lambda: "")
    blueprint.add_url_rule("/b/", "b", lambda: "")
    app.register_blueprint(blueprint)


def below_the_app(app: Flask) -> None:
    """Register two views on an app that is limited."""
    protect(app, limit("1/minute"))
    app.add_url_rule("/a/", "a", lambda: "")
    app.add_url_rule("/b/", "b", lambda: "")


def one_class_twice(app: Flask) -> None:
    """Register one limited class under two endpoints."""

    class Orders(MethodView):
        decorators = (limit("1/minute"),)  # type: ignore[assignment]  # Flask says list

        def get(self) -> str:
            return ""

    app.add_url_rule("/a/", view_func=Orders.as_view("a"))
    app.add_url_rule("/b/", view_func=Orders.as_view("b"))


ARRANGEMENTS = [
    nested_with_one_leaf_name,
    limited_blueprints_with_one_leaf_name,
    made_in_a_loop,
    one_function_twice,
    one_blueprint_twice,
    below_one_blueprint,
    below_the_app,
    one_class_twice,
]


@pytest.mark.parametrize("arrange", ARRANGEMENTS, ids=lambda arrange: arrange.__name__)
def test_each_endpoint_has_a_budget_of_its_own(app: Flask, arrange: Any) -> None:
    Guard(app)
    arrange(app)

    assert statuses(app.test_client(), "/a/", "/a/", "/b/", "/b/") == [200, 429, 200, 429]


def test_two_rules_of_one_endpoint_have_one_budget(app: Flask) -> None:
    Guard(app)
    shim = limit("1/minute")(view)
    app.add_url_rule("/short", "view", shim)
    app.add_url_rule("/long", "view", shim)

    assert statuses(app.test_client(), "/short", "/long") == [200, 429]


def test_the_methods_of_one_view_have_one_budget(app: Flask) -> None:
    Guard(app)
    app.add_url_rule("/", "view", limit("1/minute")(view), methods=["GET", "POST"])
    client = app.test_client()

    assert statuses(client, "/") + statuses(client, "/", method="POST") == [200, 429]


def test_limits_on_two_methods_of_a_class_have_two_budgets(app: Flask) -> None:
    class Orders(MethodView):
        @limit("1/minute")
        def get(self) -> str:
            return ""

        @limit("1/minute")
        def post(self) -> str:
            return ""

    Guard(app)
    app.add_url_rule("/", view_func=Orders.as_view("orders"))
    client = app.test_client()

    assert statuses(client, "/", "/") == [200, 429]
    assert statuses(client, "/", "/", method="POST") == [200, 429]


def test_limits_for_different_methods_on_one_view_have_two_budgets(app: Flask) -> None:
    Guard(app)
    policies = limit("1/minute", methods=["GET"]), limit("1/minute", methods=["POST"])
    app.add_url_rule("/", "view", protect(view, *policies), methods=["GET", "POST"])
    client = app.test_client()

    assert statuses(client, "/", "/") == [200, 429]
    assert statuses(client, "/", "/", method="POST") == [200, 429]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_limit_for_one_method_does_not_split_the_budget_of_the_limit_beside_it(app: Flask, reverse: bool) -> None:
    policies = [limit("5/minute", methods=["POST"]), limit("2/minute")]
    Guard(app)
    app.add_url_rule("/", "view", protect(view, *policies[:: -1 if reverse else 1]), methods=["GET", "POST"])
    client = app.test_client()

    assert statuses(client, "/", "/") + statuses(client, "/", method="POST") == [200, 200, 429]


# Shared ----------------------------------------------------------------------------------------------------------


def test_a_shared_limit_is_one_budget_for_all_that_is_under_it(app: Flask) -> None:
    Guard(app)
    protect(outer := Blueprint("outer", "outer"), limit("3/minute", shared="everything"))
    outer.add_url_rule("/a", "a", lambda: "")
    outer.register_blueprint(inner := Blueprint("inner", "inner"))
    inner.add_url_rule("/b", "b", lambda: "")
    app.register_blueprint(outer)
    app.add_url_rule("/open", "open", lambda: "")

    assert statuses(app.test_client(), "/a", "/b", "/a", "/b", "/a", "/open") == [200, 200, 200, 429, 429, 200]


@pytest.fixture
def shared_and_nearer(app: Flask) -> Flask:
    """Return an app with a shared limit of three, on whose views the nearer limits are of one and of ten."""
    Guard(app, policies=[limit("3/minute", shared="everything"), limit("2/minute")])
    app.add_url_rule("/one", "one", limit("1/minute")(lambda: ""))
    app.add_url_rule("/ten", "ten", limit("10/minute")(lambda: ""))
    app.add_url_rule("/exempt", "exempt", exempt(limit)(lambda: ""))
    return app


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/one", "/one"], [200, 429]),
        (["/ten"] * 4, [200, 200, 200, 429]),
        (["/ten", "/ten", "/one", "/ten"], [200, 200, 200, 429]),
        (["/exempt"] * 5, [200] * 5),
    ],
)
def test_a_shared_limit_stays_in_force_beside_a_nearer_one_that_replaces_unshared_ones(
    shared_and_nearer: Flask, paths: list[str], expected: list[int]
) -> None:
    assert statuses(shared_and_nearer.test_client(), *paths) == expected


def test_one_shared_policy_on_several_views_is_one_budget(app: Flask) -> None:
    exports = limit("1/minute", shared="exports")
    Guard(app)
    app.add_url_rule("/a", "a", exports(lambda: ""))
    app.add_url_rule("/b", "b", exports(lambda: ""))
    app.add_url_rule("/c", "c", limit("1/minute", shared="imports")(lambda: ""))

    assert statuses(app.test_client(), "/a", "/b", "/c") == [200, 429, 200]


def test_a_shared_limit_inherited_and_repeated_is_charged_once(app: Flask) -> None:
    everything = limit("2/minute", shared="everything")
    Guard(app, policies=[everything])
    app.add_url_rule("/", "view", everything(lambda: ""))

    assert statuses(app.test_client(), "/", "/", "/") == [200, 200, 429]


def test_a_shared_limit_covers_paths_that_do_not_exist_and_methods_that_a_path_lacks(app: Flask) -> None:
    Guard(app, policies=[limit("2/minute", shared="everything")])
    app.add_url_rule("/", "view", view)
    client = app.test_client()

    assert [*statuses(client, "/nowhere"), *statuses(client, "/", method="POST")] == [404, 405]
    assert statuses(client, "/", "/nowhere") == [429, 429]


def test_static_files_are_left_out_of_unshared_app_wide_limits_only(make_app: MakeApp) -> None:
    def requests_to_static(policy: Limit) -> list[int]:
        app = make_app()
        Guard(app, policies=[policy])
        return statuses(app.test_client(), "/static/a", "/static/a")

    assert requests_to_static(limit("1/minute")) == [404, 404]
    assert requests_to_static(limit("1/minute", shared="everything")) == [404, 429]


def test_only_flasks_own_static_views_are_left_out_whatever_an_endpoint_is_called(app: Flask) -> None:
    Guard(app, policies=[limit("1/minute")])
    named, files = Blueprint("named", "named"), Blueprint("files", "files", static_folder="static", url_prefix="/files")
    named.add_url_rule("/named", "static", view)
    for each in (named, files):
        app.register_blueprint(each)
    client = app.test_client()

    assert statuses(client, "/named", "/named") == [200, 429]
    assert statuses(client, "/files/static/a", "/files/static/a") == [404, 404]


def test_a_view_of_an_app_without_a_static_folder_is_limited_although_it_is_called_static() -> None:
    app = Flask("tests", static_folder=None)
    Guard(app, policies=[limit("1/minute")])
    app.add_url_rule("/", "static", view)

    assert statuses(app.test_client(), "/", "/") == [200, 429]


# Apps ------------------------------------------------------------------------------------------------------------


def test_two_apps_with_the_same_blueprint_share_nothing(make_app: MakeApp) -> None:
    blueprint = protect(Blueprint("one", "one"), limit("1/minute"), limit("5/minute", shared="everything"))
    blueprint.add_url_rule("/", "view", view)
    apps = [make_app(), make_app()]
    for app in apps:
        Guard(app)
        app.register_blueprint(blueprint)

    assert [statuses(app.test_client(), "/", "/") for app in apps] == [[200, 429], [200, 429]]


def test_a_second_app_does_not_inherit_the_limits_of_the_first(make_app: MakeApp) -> None:
    first, second = make_app(), make_app()
    guard = Guard(policies=[])
    Guard(first, policies=[limit("1/minute")])
    guard.init_app(second)
    for app in (first, second):
        app.add_url_rule("/", "view", lambda: "")

    assert statuses(first.test_client(), "/", "/") == [200, 429]
    assert statuses(second.test_client(), "/", "/") == [200, 200]
