"""`protect(app, …, under="/path")`: the policies reach all below that path, and there is no way round."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import Any

import pytest
from flask import Blueprint, Flask, Request, Response, redirect
from flask.views import MethodView
from werkzeug.routing import Rule

from flask_guard import (
    ConfigError,
    Guard,
    Limit,
    cors,
    exempt,
    limit,
    middleware,
    protect,
    require_api_key,
    require_auth,
    secure_headers,
)
from tests.cases import together
from tests.conftest import MakeApp

SECRET = "the key of the tests"
ORIGIN = "https://app.example.com"


@middleware
def stamp(request: Request, *, value: str) -> Generator[None, Response, None]:
    response = yield
    response.headers["X-Stamp"] = value


def stamped(app: Flask, path: str, method: str = "GET") -> str | None:
    """Return what the stamp in force wrote on the response."""
    return app.test_client().open(path, method=method).headers.get("X-Stamp")


def served(path: str, **options: Any) -> Callable[[Flask], None]:
    """Return what serves `path` on an app."""
    return lambda app: app.add_url_rule(path, "view", lambda **values: "served", **options)


# What lies below ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@together("early", [True, False])
@together(
    ("under", "rule", "path", "is_below"),
    [
        ("/admin", "/admin", "/admin", True),
        ("/admin/", "/admin", "/admin", True),
        ("/admin", "/admin/", "/admin/", True),
        ("/admin", "/admin/users", "/admin/users", True),
        ("/admin", "/admin/<int:number>/x", "/admin/7/x", True),
        ("/admin", "/administrator", "/administrator", False),
        ("/admin", "/admin-panel/x", "/admin-panel/x", False),
        ("/admin", "/x/admin", "/x/admin", False),
        ("/admin", "/ADMIN", "/ADMIN", False),
        ("/admin/users", "/admin", "/admin", False),
        ("/tenants/<tenant>/admin", "/tenants/<tenant>/admin/x", "/tenants/a/admin/x", True),
        ("/tenants/<tenant>/admin", "/tenants/<name>/admin/x", "/tenants/a/admin/x", True),
        ("/tenants/<tenant>/admin", "/tenants/acme/admin/x", "/tenants/acme/admin/x", True),
        ("/tenants/<int:number>/admin", "/tenants/acme/admin/x", "/tenants/acme/admin/x", False),
        ("/tenants/<int:number>/admin", "/tenants/<tenant>/admin", "/tenants/7/admin", True),
        ("/tenants/<int:number>/admin", "/tenants/<tenant>/admin", "/tenants/acme/admin", False),
        ("/tenants/<tenant>/admin", "/tenants/<tenant>/users", "/tenants/a/users", False),
        ("/admin", "/<section>/users", "/admin/users", True),
        ("/admin", "/<section>/users", "/shop/users", False),
        ("/admin", "/adm<ending>/users", "/admin/users", True),
        ("/admin", "/adm<ending>/users", "/admit/users", False),
        ("/admin", "/<path:anything>", "/admin", True),
        ("/admin", "/<path:anything>", "/admin/deep/down", True),
        ("/admin", "/<path:anything>", "/administrator", False),
        ("/a/b", "/<path:anything>", "/a/b/c", True),
        ("/a/b", "/<path:anything>", "/a/c", False),
        ("/files/<path:folder>/private", "/files/<path:file>", "/files/x/y/private/z", True),
        ("/files/<path:folder>/private", "/files/<path:file>", "/files/x/y/public/z", False),
        ("/files/<path:file>/private", "/files/<path:file>", "/files/x/y/private/z", True),
        ("/files/<path:file>/private", "/files/<path:file>/x/<path:rest>", "/files/a/x/private/b", True),
        ("/files/<path:file>/private", "/files/<path:file>/x/<path:rest>", "/files/a/x/b/c", False),
        ("/<path:anything>/admin", "/a/b/admin/x", "/a/b/admin/x", True),
        ("/<path:anything>/admin", "/a/b/administrator", "/a/b/administrator", False),
        ("/<path:anything>/admin", "/<a>/<b>/admin/x", "/1/2/admin/x", True),
        ("/<path:anything>/admin", "/<a>/<b>/<c>", "/1%0A2/3/admin", True),
        ("/<path:anything>/admin", "/<a>/<b>/<c>", "/1/2/3", False),
    ],
)
def test_path_reaches_the_endpoints_below_it_and_no_others(
    app: Flask, under: str, rule: str, path: str, is_below: bool, early: bool
) -> None:
    serve = served(rule)
    if not early:
        serve(app)
    Guard(app)
    protect(app, stamp(value="below"), under=under)
    if early:
        serve(app)

    assert app.test_client().get(path).status_code == 200
    assert stamped(app, path) == ("below" if is_below else None)
    assert stamped(app, path, "HEAD") == ("below" if is_below else None)


@pytest.mark.parametrize("first", ["/admin/users", "/shop/users"])
def test_rule_that_matches_on_both_sides_is_guarded_by_the_path_of_each_request(app: Flask, first: str) -> None:
    guard = Guard(app)
    protect(app, require_api_key, under="/admin")
    app.add_url_rule("/<section>/users", "users", lambda section: section, methods=["GET", "POST"])
    client = app.test_client()
    client.get(first)

    statuses = {
        path: [client.open(path, method=method).status_code for method in ("GET", "POST", "GET")]
        for path in ("/admin/users", "/shop/users")
    }

    assert statuses == {"/admin/users": [401] * 3, "/shop/users": [200] * 3}
    assert guard.plan_for("users", path="/admin/users").names == ("require_api_key",)
    assert guard.plan_for("users", path="/shop/users").names == ()


def test_endpoint_with_rules_on_both_sides_is_guarded_on_all_of_them_and_a_warning_says_so(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    Guard(app)
    protect(app, require_api_key, under="/admin")
    app.add_url_rule("/admin/users", "users", lambda: "users")
    app.add_url_rule("/users", "users")

    assert [app.test_client().get(path).status_code for path in ("/admin/users", "/users")] == [401, 401]
    assert [message for message in caplog.messages if "inside and outside of path /admin" in message] == [
        "endpoint 'users' has rules inside and outside of path /admin: the policies there hold for all of them"
    ]


def nested_blueprints(app: Flask) -> None:
    outer, inner = Blueprint("outer", __name__, url_prefix="/admin"), Blueprint("inner", __name__, url_prefix="/x")
    inner.add_url_rule("/view", "view", lambda: "served")
    outer.register_blueprint(inner)
    app.register_blueprint(outer)


def class_based(app: Flask) -> None:
    view: type[MethodView] = type("View", (MethodView,), {"get": lambda self: "served"})
    app.add_url_rule("/admin/x/view", view_func=view.as_view("view"))


def mounted_elsewhere(app: Flask) -> None:
    api = Blueprint("api", __name__, url_prefix="/api")
    api.add_url_rule("/x/view", "view", lambda: "served")
    app.register_blueprint(api, url_prefix="/admin")


def static_files(app: Flask) -> None:
    app.register_blueprint(Blueprint("files", __name__, static_folder=".", static_url_path="/admin/x"), url_prefix=None)


def bare_rule(app: Flask) -> None:
    app.url_map.add(Rule("/admin/x/view", endpoint="bare"))
    app.view_functions["bare"] = lambda: "served"


@pytest.mark.parametrize("register", [nested_blueprints, class_based, mounted_elsewhere, static_files, bare_rule])
def test_whoever_registered_it(app: Flask, register: Callable[[Flask], None]) -> None:
    Guard(app)
    register(app)
    protect(app, require_api_key, under="/admin/x")

    for path in ("/admin/x/view", "/admin/x/__init__.py", "/admin/x/nowhere", "/admin/x"):
        assert app.test_client().get(path).status_code == 401
    assert app.test_client().get("/admin").status_code == 404


# No way round ------------------------------------------------------------------------------------------------------


def site(app: Flask) -> Flask:
    """Serve pages on both sides of a guarded path, and a page for all that is left."""
    Guard(app)
    protect(app, require_api_key, under="/admin")
    app.add_url_rule("/admin/users", "users", lambda: "secret", methods=["GET", "PUT"])
    app.add_url_rule("/admin/pages/", "pages", lambda: "secret")
    app.add_url_rule("/<path:page>", "page", lambda page: f"page {page}")
    app.add_url_rule("/", "index", lambda: "index")
    return app


@pytest.mark.slow
@together("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "TRACE", "MADEUP"])
@together(
    "path",
    [
        "/admin",
        "/admin/",
        "/admin/users",
        "/admin/users/",
        "/admin/pages",
        "/admin/pages/",
        "/admin/nothing",
        "/admin//users",
        "//admin/users",
        "///admin///users",
        "/admin/./users",
        "/admin/x/../users",
        "/%61dmin/users",
        "/admin%2Fusers",
        "/admin%2fusers",
        "/admin;x=1/../admin/users",
        "/admin/users?x=/public",
        "/admin/users#/public",
        "http://elsewhere.example.com/admin/users",
    ],
)
def test_path_has_no_second_spelling(app: Flask, path: str, method: str) -> None:
    asked = path if not path.startswith("//") else "/"
    raw = {"PATH_INFO": path} if path.startswith("//") else {}
    response = site(app).test_client().open(asked, method=method, environ_overrides=raw)

    assert b"secret" not in response.get_data()
    if path.startswith("/admin;"):  # a segment of another name
        assert response.status_code in (200, 405)
    else:
        assert response.status_code in (401, 308)


@pytest.mark.parametrize(
    "path", ["/ADMIN/users", "/Admin/Users", "/administrator", "/x/admin/users", "/x/../admin/users"]
)
def test_path_of_another_name_is_not_that_path(app: Flask, path: str) -> None:
    response = site(app).test_client().get(path)

    assert (response.status_code, response.text[:4]) == (200, "page")


def test_redirect_leads_to_what_is_guarded(app: Flask) -> None:
    client = site(app).test_client()

    for path in ("/admin/pages", "/admin//users", "/admin/pages//"):
        response = client.get(path, follow_redirects=True)
        assert response.status_code == 401


def test_host_header_is_no_way_round(app: Flask) -> None:
    client = site(app).test_client()

    assert [client.get("/admin/users", headers={"Host": host}).status_code for host in ("a", "b.example", "[::1]")] == [
        401
    ] * 3


def test_request_that_an_outer_application_has_moved_is_guarded_by_the_path_that_the_app_sees(app: Flask) -> None:
    client = site(app).test_client()

    assert client.get("/admin/users", environ_overrides={"SCRIPT_NAME": "/shop"}).status_code == 401
    assert client.get("/users", environ_overrides={"SCRIPT_NAME": "/admin"}).status_code == 200


@pytest.mark.parametrize("path", ["/admin/users", "/admin/nothing", "/admin"])
def test_options_and_preflights_need_no_key_and_get_the_cors_of_the_path(app: Flask, path: str) -> None:
    site(app)
    protect(app, cors(origins=ORIGIN, max_age=7), under="/admin")
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    client = app.test_client()

    response = client.options("/admin/users", headers=headers)

    assert (response.status_code, response.headers["Access-Control-Max-Age"]) == (204, "7")
    assert client.options("/admin/users").status_code == 200
    assert client.get(path, headers={"Origin": ORIGIN}).headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Origin" not in client.get("/", headers={"Origin": ORIGIN}).headers


def test_405_below_a_path_is_guarded(app: Flask) -> None:
    assert site(app).test_client().delete("/admin/users").status_code == 401


# Among other scopes ------------------------------------------------------------------------------------------------


def test_path_stands_between_app_and_blueprint_and_the_longer_path_is_nearer(app: Flask) -> None:
    guard = Guard(app, policies=[stamp(value="app")])
    protect(app, stamp(value="longer"), under="/admin/users")
    protect(app, stamp(value="path"), under="/admin")
    api = protect(Blueprint("api", __name__, url_prefix="/admin/users/api"), stamp(value="blueprint"))
    for scaffold, rule, name in (
        (app, "/x", "x"),
        (app, "/admin/x", "ax"),
        (app, "/admin/users/x", "ux"),
        (api, "/x", "x"),
    ):
        scaffold.add_url_rule(rule, name, lambda: "a")
    api.add_url_rule("/y", "y", stamp(value="view")(lambda: "a"))
    app.register_blueprint(api)

    paths = ("/x", "/admin/x", "/admin/users/x", "/admin/users/api/x", "/admin/users/api/y")

    assert [stamped(app, path) for path in paths] == ["app", "path", "longer", "blueprint", "view"]
    nowheres = ("/nowhere", "/admin/nowhere", "/admin/users/nowhere", "/admin/users/api/nowhere")
    assert [stamped(app, path) for path in nowheres] == ["app", "path", "longer", "blueprint"]
    assert guard.plan_for("ux").policies[0].scope == "path /admin/users"
    assert guard.plan_for("ux").policies[0].site.startswith(f"{__file__}:")


def test_path_merges_and_adds_up_like_any_scope(app: Flask) -> None:
    guard = Guard(app, policies=[secure_headers, limit("9/hour", shared="all")])
    protect(app, secure_headers(frame_options="sameorigin"), limit("8/hour"), limit("7/minute"), under="/admin")
    app.add_url_rule("/admin/x", "x", limit("6/hour")(lambda: "a"))

    plan = guard.plan_for("x")
    response = app.test_client().get("/admin/x")

    assert response.headers["X-Frame-Options"] == "sameorigin"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    rates = [rate for each in plan.policies if isinstance(each.policy, Limit) for rate in each.policy.rates]
    assert rates == ["9/hour", "6/hour"]


def test_views_and_blueprints_below_may_be_exempt(app: Flask) -> None:
    Guard(app)
    protect(app, require_api_key, under="/admin")
    open_area = exempt(require_api_key)(Blueprint("open", __name__, url_prefix="/admin/open"))
    open_area.add_url_rule("/x", "x", lambda: "open")
    app.register_blueprint(open_area)
    app.add_url_rule("/admin/login", "login", exempt(require_api_key)(lambda: "log in"))
    app.add_url_rule("/admin/x", "x", lambda: "closed")

    paths = ("/admin/open/x", "/admin/login", "/admin/x")

    assert [app.test_client().get(path).status_code for path in paths] == [200, 200, 401]


def test_path_itself_may_be_exempt_from_an_outer_one(app: Flask) -> None:
    Guard(app)
    protect(app, require_api_key, limit("9/minute"), under="/admin")
    protect(app, exempt(require_api_key), under="/admin/login")
    app.add_url_rule("/admin/login", "login", lambda: "log in")
    app.add_url_rule("/admin/<page>", "page", lambda page: page)
    app.add_url_rule("/admin/both", "both", lambda: "both")
    app.add_url_rule("/admin/login/both", "both")
    client = app.test_client()

    assert [client.get(path).status_code for path in ("/admin/login", "/admin/login/nowhere")] == [200, 404]
    assert [client.get(path).status_code for path in ("/admin/x", "/admin/both", "/admin/login/both")] == [401] * 3
    assert "RateLimit" in client.get("/admin/login").headers


def test_limits_below_a_path_are_counted_by_endpoint_unless_shared(app: Flask) -> None:
    Guard(app)
    protect(app, limit("1/hour"), under="/a")
    protect(app, limit("1/hour", shared="b"), under="/b")
    for path in ("/a/1", "/a/2", "/b/1", "/b/2"):
        app.add_url_rule(path, path.strip("/").replace("/", "_"), lambda: "a")
    client = app.test_client()

    assert [client.get(path).status_code for path in ("/a/1", "/a/2", "/a/1", "/a/2")] == [200, 200, 429, 429]
    assert [client.get(path).status_code for path in ("/b/1", "/b/2")] == [200, 429]


# Mistakes ----------------------------------------------------------------------------------------------------------


@together(
    "under",
    [
        "admin", "", "/", "//", "/a//b", "/a?b", "/a#b", None.__class__, 7, ["/a"], "/admin/*", "/caf%C3%A9", "/a/../b",
        "/./a", "/a/..", "/<tenant", "/tenant>",
    ],
)  # fmt: skip
def test_path_that_is_none_is_refused(app: Flask, under: Any) -> None:
    with pytest.raises(ConfigError, match=r"under="):
        protect(app, require_api_key, under=under)


def test_path_goes_with_an_app_only(app: Flask) -> None:
    with pytest.raises(TypeError, match=r"protect\(under=…\) goes with an app"):
        protect(Blueprint("api", __name__), require_api_key, under="/admin")


def test_kind_twice_on_one_path_is_a_config_error_that_says_where(app: Flask) -> None:
    protect(app, require_api_key, under="/admin")
    protect(app, require_api_key, under="/other")

    with pytest.raises(ConfigError, match="one target takes one require_api_key") as raised:
        protect(app, require_api_key(realm="x"), under="/admin/")
    assert str(raised.value).count(f"{__file__}:") == 2


def test_policy_that_is_not_complete_is_refused_on_a_path(app: Flask) -> None:
    with pytest.raises(ConfigError, match="require_auth needs a callable"):
        protect(app, require_auth, under="/admin")


def test_policy_that_cannot_work_is_refused_on_a_path(app: Flask) -> None:
    Guard(app)

    with pytest.raises(ConfigError, match="set GUARD_CORS_ORIGINS"):
        protect(app, cors, under="/admin")


def test_path_after_the_first_request_is_a_config_error(app: Flask) -> None:
    Guard(app)
    app.test_client().get("/")

    with pytest.raises(ConfigError, match="before that"):
        protect(app, require_api_key, under="/admin")


def test_unknown_converter_is_refused_before_anything_is_served(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    Guard(app)
    app.add_url_rule("/a", "a", lambda: "a")
    protect(app, require_api_key, under="/<slug:page>")

    assert [app.test_client().get("/a").status_code for _ in range(2)] == [500, 500]
    assert "under='/<slug:page>'" in caplog.text


def test_app_with_a_path_and_without_a_guard_serves_nothing(app: Flask) -> None:
    app.add_url_rule("/admin", "admin", lambda: "admin")
    protect(app, require_api_key, under="/admin")

    assert app.test_client().get("/admin").status_code == 500


def test_two_apps_share_no_paths(make_app: MakeApp) -> None:
    first, second = make_app(), make_app()
    for each in (first, second):
        Guard(each)
        each.add_url_rule("/admin", "admin", lambda: "admin")
    protect(first, require_api_key, under="/admin")

    assert [each.test_client().get("/admin").status_code for each in (first, second)] == [401, 200]


# Other people's endpoints ------------------------------------------------------------------------------------------


def test_flask_admin_is_guarded_by_its_path(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    import flask_admin  # type: ignore[import-untyped]

    Guard(app, policies=[secure_headers])
    protect(app, require_auth(basic=lambda user, password: user if password == SECRET else None), under="/admin")
    flask_admin.Admin(app, name="Shop")
    app.add_url_rule("/", "index", lambda: "front page")
    client = app.test_client()

    with caplog.at_level(logging.WARNING):
        refused = [
            client.get(path).status_code for path in ("/admin/", "/admin/static/admin/js/form.js", "/admin/nope")
        ]
    let_in = client.get("/admin/", auth=("ada", SECRET))

    assert refused == [401] * 3
    assert (let_in.status_code, let_in.content_type) == (200, "text/html; charset=utf-8")
    assert client.get("/").status_code == 200


@pytest.mark.filterwarnings("ignore:The `ordered`")  # by marshmallow, of old versions of flask-smorest
def test_flask_smorest_is_guarded_by_its_path(app: Flask) -> None:
    import flask_smorest  # type: ignore[import-untyped]

    app.config.update(
        API_TITLE="Pets", API_VERSION="v1", OPENAPI_VERSION="3.0.3", OPENAPI_URL_PREFIX="/internal",
        OPENAPI_JSON_PATH="openapi.json", GUARD_API_KEYS={"docs": SECRET},
    )  # fmt: skip
    Guard(app)
    protect(app, require_api_key, under="/internal")
    pets = flask_smorest.Blueprint("pets", "pets", url_prefix="/pets")

    @pets.route("/")
    class Pets(MethodView):
        def get(self) -> Any:
            return redirect("/elsewhere")

    flask_smorest.Api(app).register_blueprint(pets)
    client = app.test_client()

    assert [client.get(path).status_code for path in ("/internal/openapi.json", "/pets/")] == [401, 302]
    assert client.get("/internal/openapi.json", headers={"X-API-Key": SECRET}).get_json()["info"]["title"] == "Pets"
