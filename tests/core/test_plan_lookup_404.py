"""Which plan a request gets that no rule matches, and which one a static file gets."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from flask import Blueprint, Flask, Request, Response

from flask_guard import Guard, Policy, limit, middleware, protect, require_api_key, secure_headers
from tests.cases import together


@middleware
def stamp(request: Request, *, value: str) -> Generator[None, Response, None]:
    response = yield
    response.headers["X-Stamp"] = value


def stamped(app: Flask, path: str, base_url: str | None = None) -> str | None:
    """Return what the stamp in force wrote on the response."""
    return app.test_client().get(path, base_url=base_url).headers.get("X-Stamp")


def blueprint(name: str, prefix: str | None = None, subdomain: str | None = None) -> Blueprint:
    """Return a blueprint that stamps its name, and serves /a."""
    made = protect(Blueprint(name, __name__, url_prefix=prefix, subdomain=subdomain), stamp(value=name))
    made.add_url_rule("/a", "a", lambda **values: "a")
    return made


# 404 ---------------------------------------------------------------------------------------------------------------


def at_prefixes(app: Flask) -> None:
    """Register guarded blueprints in several ways, below an app that is guarded too."""
    Guard(app, policies=[stamp(value="app")])
    app.register_blueprint(blueprint("api", "/api"))
    app.register_blueprint(blueprint("moved", "/old"), url_prefix="/moved")
    app.register_blueprint(blueprint("slash", "/slash/"))
    app.register_blueprint(blueprint("lang", "/<lang>/docs"))
    app.register_blueprint(blueprint("typed", "/n-<int:number>.x/list"))
    app.register_blueprint(blueprint("files", "/f/<path:folder>/api"))
    app.register_blueprint(blueprint("choice", "/<any(left, right):side>/x"))
    app.register_blueprint(blueprint("bare"))
    outer = blueprint("outer", "/outer")
    outer.register_blueprint(blueprint("inner", "/inner"))
    outer.register_blueprint(Blueprint("open", __name__, url_prefix="/open"))
    app.register_blueprint(outer)


@pytest.mark.slow
@together(
    ("path", "expected"),
    [
        ("/nowhere", "app"),
        ("/", "app"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/nowhere", "api"),
        ("/api/deep/down/nowhere", "api"),
        ("/apiary", "app"),
        ("/API/nowhere", "app"),
        ("/v1/api/nowhere", "app"),
        ("/old/nowhere", "app"),
        ("/moved/nowhere", "moved"),
        ("/slash/nowhere", "slash"),
        ("/de/docs/nowhere", "lang"),
        ("/de/docs", "lang"),
        ("/de/nowhere", "app"),
        ("/de/at/docs/nowhere", "app"),
        ("/n-7.x/list/nowhere", "typed"),
        ("/n-7yx/list/nowhere", "app"),
        ("/f/a/api/none", "files"),
        ("/f/a/b/api/none", "files"),
        ("/f/a/b/c/api", "files"),
        ("/f/api/none", "app"),
        ("/left/x/none", "choice"),
        ("/up/x/none", "app"),
        ("/outer/nowhere", "outer"),
        ("/outer/inner/nowhere", "outer.inner"),
        ("/outer/innermost", "outer"),
        ("/outer/open/nowhere", "outer"),
        ("/inner/nowhere", "app"),
        ("/a/nowhere", "app"),
    ],
)
def test_404_gets_the_plan_of_the_innermost_guarded_blueprint_above_it(app: Flask, path: str, expected: str) -> None:
    at_prefixes(app)

    response = app.test_client().get(path)

    assert response.status_code == 404
    assert response.headers["X-Stamp"] == expected.rpartition(".")[2]


def test_404_below_a_literal_prefix_is_not_that_of_a_variable_one(app: Flask) -> None:
    Guard(app)
    app.register_blueprint(blueprint("tenant", "/<tenant>/api"))
    app.register_blueprint(blueprint("admin", "/admin/api"))

    assert [stamped(app, path) for path in ("/admin/api/a", "/admin/api/nowhere")] == ["admin", "admin"]
    assert [stamped(app, path) for path in ("/acme/api/a", "/acme/api/nowhere")] == ["tenant", "tenant"]


def test_404_is_guarded_before_it_says_that_there_is_nothing(app: Flask) -> None:
    Guard(app)
    app.register_blueprint(protect(Blueprint("api", __name__, url_prefix="/api"), require_api_key, limit("2/hour")))

    assert [app.test_client().get("/api/nowhere").status_code for _ in range(3)] == [401, 401, 429]


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("api.example.com", "/a", "api"),
        ("api.example.com", "/nowhere", "api"),
        ("api.example.com", "/v1/nowhere", "v1"),
        ("acme.tenants.example.com", "/a", "tenants"),
        ("acme.tenants.example.com", "/nowhere", "tenants"),
        ("other.example.com", "/nowhere", "app"),
        ("example.com", "/nowhere", "app"),
        ("example.com", "/v1/nowhere", "app"),
    ],
)
def test_404_on_a_subdomain_gets_the_plan_of_the_blueprint_there(host: str, path: str, expected: str) -> None:
    app = Flask("tests", subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.com"
    Guard(app, policies=[stamp(value="app")])
    app.register_blueprint(blueprint("api", subdomain="api"))
    app.register_blueprint(blueprint("v1", "/v1", subdomain="api"))
    app.register_blueprint(blueprint("tenants", subdomain="<tenant>.tenants"))

    assert stamped(app, path, base_url=f"http://{host}") == expected


def test_redirect_to_the_trailing_slash_gets_the_plan_of_the_blueprint(app: Flask) -> None:
    api = blueprint("api", "/api")
    api.add_url_rule("/list/", "list", lambda: "list")
    app.register_blueprint(api)
    Guard(app)

    response = app.test_client().get("/api/list")

    assert response.status_code == 308
    assert response.headers["X-Stamp"] == "api"


def test_view_that_aborts_with_404_keeps_its_own_plan(app: Flask) -> None:
    def missing() -> tuple[str, int]:
        return "no such order", 404

    Guard(app, policies=[stamp(value="app")])
    app.add_url_rule("/a", "a", stamp(value="view")(missing))

    assert stamped(app, "/a") == "view"


# static ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_statics(tmp_path: Path) -> Callable[..., Flask]:
    """Return what makes an app with a static file, which a blueprint of it serves too; it takes the app's policies."""
    (tmp_path / "file.txt").write_text("static")

    def make(*app_wide: Policy) -> Flask:
        app = Flask("tests", static_folder=str(tmp_path), static_url_path="/static")
        Guard(app, policies=app_wide)
        api = Blueprint("api", __name__, url_prefix="/api", static_folder=str(tmp_path), static_url_path="/files")
        app.register_blueprint(api)
        return app

    return make


@pytest.mark.parametrize("path", ["/static/file.txt", "/api/files/file.txt"])
def test_static_files_have_the_policies_of_the_app_but_for_unshared_limits(
    with_statics: Callable[..., Flask], path: str
) -> None:
    client = with_statics(limit("1/hour"), secure_headers).test_client()

    answers = [client.get(path, buffered=True) for _ in range(3)]

    assert [answer.get_data(as_text=True) for answer in answers] == ["static"] * 3
    assert all(answer.headers["X-Content-Type-Options"] == "nosniff" for answer in answers)
    assert not any("RateLimit" in answer.headers for answer in answers)
    assert [client.get("/nowhere").status_code for _ in range(2)] == [404, 429]


def test_static_files_draw_on_shared_limits(with_statics: Callable[..., Flask]) -> None:
    client = with_statics(limit("2/hour", shared="everything")).test_client()

    paths = ("/static/file.txt", "/api/files/file.txt", "/nowhere")
    statuses = [client.get(path, buffered=True).status_code for path in paths]

    assert statuses == [200, 200, 429]


def test_static_files_need_the_key_that_the_app_asks_for(with_statics: Callable[..., Flask]) -> None:
    client = with_statics(require_api_key).test_client()

    assert client.get("/static/file.txt").status_code == 401
