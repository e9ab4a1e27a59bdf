"""Protection by other packages: recognised as it is at work, for each endpoint and method."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, abort
from flask.views import MethodView
from flask_cors import CORS, cross_origin
from flask_httpauth import HTTPBasicAuth, HTTPTokenAuth, MultiAuth  # type: ignore[import-untyped]
from flask_jwt_extended import JWTManager, jwt_required
from flask_limiter import ExemptionScope, Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, fresh_login_required, login_required  # type: ignore[import-untyped]
from flask_talisman import Talisman  # type: ignore[import-untyped]
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]

from flask_guard import Guard, limit, require_api_key
from flask_guard.audit.findings import examine
from flask_guard.audit.foreign import hooks_of
from flask_guard.audit.inventory import take_inventory
from flask_guard.core.facts import Entry, Foreign
from tests.conftest import MakeApp


def entry_of(app: Flask, endpoint: str, method: str = "GET") -> Entry:
    return next(each for each in take_inventory(app).entries if (each.endpoint, each.method) == (endpoint, method))


def facts_of(app: Flask, endpoint: str, method: str = "GET") -> list[tuple[str, str, str]]:
    return [(each.by, each.purpose, each.detail) for each in entry_of(app, endpoint, method).foreign]


def fine() -> str:
    return "fine"


# Decorators ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def logins(app: Flask) -> Flask:
    manager = LoginManager(app)
    manager.user_loader(lambda _id: None)
    return app


@pytest.mark.parametrize(
    ("decorator", "name"), [(login_required, "login_required"), (fresh_login_required, "fresh_login_required")]
)
def test_flask_login_is_recognised(logins: Flask, decorator: Callable[..., Any], name: str) -> None:
    logins.add_url_rule("/", "view", decorator(fine))

    assert facts_of(logins, "view") == [("Flask-Login", "authentication", name)]
    assert logins.test_client().get("/").status_code == 401


def test_flask_login_that_is_switched_off_protects_nothing(logins: Flask) -> None:
    logins.config["LOGIN_DISABLED"] = True
    logins.add_url_rule("/", "view", login_required(fine))

    assert not entry_of(logins, "view").has("authentication")
    assert logins.test_client().get("/").status_code == 200


@pytest.mark.parametrize(
    ("decorator", "purpose", "status"),
    [
        (jwt_required(), "authentication", 401),
        (jwt_required(fresh=True), "authentication", 401),
        (jwt_required(optional=True), "unknown", 200),
    ],
    ids=["jwt_required()", "fresh", "optional"],
)
def test_flask_jwt_extended_is_recognised(make_app: MakeApp, decorator: Any, purpose: str, status: int) -> None:
    app = make_app(JWT_SECRET_KEY="a key of more than thirty-two bytes")
    JWTManager(app)
    app.add_url_rule("/", "view", decorator(fine))

    assert [(by, what) for by, what, _ in facts_of(app, "view")] == [("Flask-JWT-Extended", purpose)]
    assert app.test_client().get("/").status_code == status


@pytest.mark.parametrize(
    "decorator",
    [login_required, jwt_required(optional=True), HTTPBasicAuth().login_required(optional=True)],
    ids=["switched off", "optional token", "optional credentials"],
)
def test_a_write_behind_a_decorator_that_lets_everybody_in_is_open(make_app: MakeApp, decorator: Any) -> None:
    app = make_app(LOGIN_DISABLED=True, JWT_SECRET_KEY="a key of more than thirty-two bytes")
    LoginManager(app)
    JWTManager(app)
    app.add_url_rule("/", "view", decorator(fine), methods=["POST"])

    found = {finding.rule.id for finding in examine(take_inventory(app)).findings}

    assert app.test_client().post("/").status_code == 200
    assert "FG001" in found
    assert "FG002" not in found


@pytest.mark.parametrize(
    "auth",
    [HTTPBasicAuth(), HTTPTokenAuth(), MultiAuth(HTTPBasicAuth(), HTTPTokenAuth())],
    ids=["basic", "token", "multi"],
)
def test_flask_httpauth_is_recognised(app: Flask, auth: Any) -> None:
    app.add_url_rule("/", "view", auth.login_required(fine))
    app.add_url_rule("/staff", "staff", auth.login_required(role="staff")(fine))
    app.add_url_rule("/maybe", "maybe", auth.login_required(optional=True)(fine))
    client = app.test_client()

    assert entry_of(app, "view").has("authentication")
    assert entry_of(app, "staff").has("authentication")
    assert not entry_of(app, "maybe").has("authentication")
    assert [client.get(path).status_code for path in ("/", "/staff", "/maybe")] == [401, 401, 200]


def test_cross_origin_is_recognised_with_its_origins(app: Flask) -> None:
    app.add_url_rule("/", "view", cross_origin(origins=["https://a.example"])(fine))
    app.add_url_rule("/all", "all", cross_origin()(fine))

    assert ("Flask-CORS", "cors", "cross_origin, origins https://a.example") in facts_of(app, "view")
    assert ("Flask-CORS", "cors", "cross_origin, origins *") in facts_of(app, "all")


def own(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def wrapper(**arguments: Any) -> Any:
        return view(**arguments)

    return wrapper


def opaque(view: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(**arguments: Any) -> Any:
        return view(**arguments)

    return wrapper


class Called:
    def __init__(self, view: Callable[..., Any]) -> None:
        self.view = view
        functools.update_wrapper(self, view)

    def __call__(self, **arguments: Any) -> Any:
        return self.view(**arguments)


@pytest.mark.parametrize("decorator", [own, opaque, Called], ids=["wraps", "opaque", "an object"])
def test_decorator_of_the_apps_own_is_unknown_and_named(app: Flask, decorator: Callable[..., Any]) -> None:
    app.add_url_rule("/", "view", decorator(fine))

    (fact,) = entry_of(app, "view").foreign
    assert (fact.by, fact.purpose) == (f"{__name__}.{decorator.__name__}", "unknown")
    assert "may refuse" in fact.detail
    assert (fact.site or "").startswith(f"{__file__}:")


@pytest.mark.parametrize(
    "decorator", [login_required, jwt_required(), HTTPBasicAuth().login_required], ids=["login", "jwt", "httpauth"]
)
def test_a_view_for_options_is_open_behind_decorators_that_let_options_in(make_app: MakeApp, decorator: Any) -> None:
    app = make_app(SECRET_KEY="a secret key", JWT_SECRET_KEY="a secret of at least 32 characters, for sure")
    LoginManager(app)
    JWTManager(app)
    Guard(app)
    app.add_url_rule("/", "view", decorator(fine), methods=["OPTIONS"], provide_automatic_options=False)
    inventory = take_inventory(app)
    entry = next(each for each in inventory.entries if each.endpoint == "view")

    assert not inventory.serves(entry, "authentication")
    assert app.test_client().options("/").status_code == 200


def test_a_bare_view_has_no_foreign_protection(app: Flask) -> None:
    helper = own(fine)

    def view() -> str:
        return str(helper())

    app.add_url_rule("/", "view", view)

    assert facts_of(app, "view") == []


def test_decorators_are_seen_between_and_outside_of_policies(logins: Flask) -> None:
    Guard(logins, keys={"k": "a long secret key"})
    logins.add_url_rule("/", "view", own(require_api_key(login_required(limit("1/minute")(fine)))))

    assert [by.rpartition(".")[2] for by, _, _ in facts_of(logins, "view")] == ["own", "Flask-Login"]


def test_decorators_on_a_class_and_on_one_method_are_seen(logins: Flask) -> None:
    class Things(MethodView):
        decorators = [own]  # noqa: RUF012

        def get(self) -> str:
            return "fine"

        @login_required  # type: ignore[untyped-decorator]
        def post(self) -> str:
            return "fine"

    logins.add_url_rule("/", view_func=Things.as_view("things"))

    assert [by.rpartition(".")[2] for by, _, _ in facts_of(logins, "things")] == ["own"]
    assert [by.rpartition(".")[2] for by, _, _ in facts_of(logins, "things", "POST")] == ["own", "Flask-Login"]


# Flask-Limiter -------------------------------------------------------------------------------------------------------


def limited(app: Flask, **options: Any) -> Limiter:
    return Limiter(get_remote_address, app=app, storage_uri="memory://", **options)


def limits_of(app: Flask, endpoint: str, method: str = "GET") -> list[str]:
    return [
        detail for by, purpose, detail in facts_of(app, endpoint, method) if (by, purpose) == ("Flask-Limiter", "limit")
    ]


def allowed(app: Flask, path: str, method: str = "GET") -> int:
    """Return how many of ten requests are let through."""
    client = app.test_client()
    return sum(client.open(path, method=method).status_code != 429 for _ in range(10))


def test_limits_of_each_sort_are_recognised_as_they_hold(app: Flask) -> None:
    limiter = limited(app, default_limits=["5/minute"], application_limits=["1000/minute"])
    area = Blueprint("area", __name__, url_prefix="/area")
    limiter.limit("4/minute")(area)
    area.add_url_rule("/", "view", fine)
    app.register_blueprint(area)
    app.add_url_rule("/plain", "plain", fine)
    app.add_url_rule("/decorated", "decorated", limiter.limit("3/minute")(lambda: "fine"))
    added = limiter.limit("2/minute", override_defaults=False)(fine_too)
    app.add_url_rule("/added", "added", added)
    app.add_url_rule("/exempt", "exempt", limiter.exempt(exempted))
    app.add_url_rule("/partly", "partly", limiter.exempt(partly, flags=ExemptionScope.DEFAULT))
    of_app = "1000 per 1 minute (application)"

    assert limits_of(app, "plain") == [of_app, "5 per 1 minute (default)"]
    assert limits_of(app, "decorated") == [of_app, "3 per 1 minute (decorated)"]
    assert limits_of(app, "added") == [of_app, "2 per 1 minute (decorated)", "5 per 1 minute (default)"]
    assert limits_of(app, "area.view") == [of_app, "4 per 1 minute (blueprint)"]
    assert limits_of(app, "exempt") == []
    assert limits_of(app, "partly") == [of_app]
    assert limits_of(app, "static") == []
    reality = {path: allowed(app, path) for path in ("/plain", "/decorated", "/added", "/area/", "/exempt", "/partly")}
    assert reality == {"/plain": 5, "/decorated": 3, "/added": 2, "/area/": 4, "/exempt": 10, "/partly": 10}


def fine_too() -> str:
    return "fine"


def exempted() -> str:
    return "fine"


def partly() -> str:
    return "fine"


def test_limit_above_the_route_is_not_shown_because_it_limits_nothing(app: Flask) -> None:
    limiter = limited(app, default_limits=["5/minute"])

    def view() -> str:
        return "fine"

    app.add_url_rule("/", "view", view)
    limiter.limit("3/minute")(view)

    assert limits_of(app, "view") == []
    assert allowed(app, "/") == 10


def test_limits_hold_for_their_methods_only(app: Flask) -> None:
    limiter = limited(app, default_limits=["5/minute"])
    view = limiter.limit("3/minute", methods=["POST"])(lambda: "fine")
    app.add_url_rule("/", "view", view, methods=["GET", "POST"])

    assert limits_of(app, "view") == ["5 per 1 minute (default)"]
    assert limits_of(app, "view", "POST") == ["3 per 1 minute (decorated)"]
    assert [allowed(app, "/"), allowed(app, "/", "POST")] == [5, 3]


def test_rate_that_a_callable_gives_is_unknown_and_the_callable_is_at_most_asked(app: Flask) -> None:
    def rate() -> str:
        raise RuntimeError("needs a request")

    app.add_url_rule("/", "view", limited(app).limit(rate)(fine))

    assert limits_of(app, "view") == ["a rate from a callable (decorated)"]


def test_limiter_that_is_switched_off_limits_nothing(make_app: MakeApp) -> None:
    app = make_app(RATELIMIT_ENABLED=False)
    limiter = limited(app)
    app.add_url_rule("/", "view", limiter.limit("3/minute")(fine))

    assert limits_of(app, "view") == []


def test_the_limiter_that_our_own_limits_count_with_is_not_foreign(app: Flask) -> None:
    Guard(app, policies=[limit("3/minute")])
    app.add_url_rule("/", "view", fine)

    assert facts_of(app, "view") == []
    assert allowed(app, "/") == 3
    assert facts_of(app, "view") == []


# Extensions of the whole app -----------------------------------------------------------------------------------------


def test_flask_cors_is_recognised_on_the_paths_that_it_covers(app: Flask) -> None:
    CORS(app, resources={r"/api/*": {"origins": ["https://a.example"], "supports_credentials": True}})
    area = Blueprint("area", __name__, url_prefix="/area")
    CORS(area)
    area.add_url_rule("/", "view", fine)
    app.register_blueprint(area)
    app.add_url_rule("/api/<int:number>", "api", lambda number: "fine")
    app.add_url_rule("/other", "other", fine)

    assert facts_of(app, "api") == [("Flask-CORS", "cors", "CORS(/api/*), origins https://a.example, with credentials")]
    assert facts_of(app, "area.view") == [("Flask-CORS", "cors", "CORS(/*), origins *")]
    assert facts_of(app, "other") == []
    headers = {"Origin": "https://a.example"}
    client = app.test_client()
    sent = {
        path: "Access-Control-Allow-Origin" in client.get(path, headers=headers).headers
        for path in ("/api/1", "/area/", "/other")
    }
    assert sent == {"/api/1": True, "/area/": True, "/other": False}


def test_talisman_is_recognised(app: Flask) -> None:
    Talisman(app)
    app.add_url_rule("/", "view", fine)

    assert facts_of(app, "view") == [("Flask-Talisman", "headers", "with CSP, redirects to https")]
    assert [each.by for each in take_inventory(app).foreign] == ["Flask-Talisman"]


def test_csrf_protection_is_recognised_where_it_checks(app: Flask) -> None:
    csrf = CSRFProtect(app)
    area = csrf.exempt(Blueprint("area", __name__, url_prefix="/area"))
    area.add_url_rule("/", "view", fine, methods=["POST"])
    app.register_blueprint(area)
    app.add_url_rule("/", "view", lambda: "fine", methods=["GET", "POST"])
    app.add_url_rule("/hook", "hook", csrf.exempt(webhook), methods=["POST"])
    client = app.test_client()

    protected = {
        path: entry_of(app, endpoint, "POST").has("csrf")
        for path, endpoint in (("/", "view"), ("/area/", "area.view"), ("/hook", "hook"))
    }

    assert protected == {"/": True, "/area/": False, "/hook": False}
    assert protected == {path: client.post(path).status_code == 400 for path in protected}
    assert not entry_of(app, "view").has("csrf")


def webhook() -> str:
    return "fine"


def test_csrf_protection_that_is_switched_off_is_not_shown(make_app: MakeApp) -> None:
    app = make_app(WTF_CSRF_ENABLED=False)
    CSRFProtect(app)
    app.add_url_rule("/", "view", fine, methods=["POST"])

    assert facts_of(app, "view", "POST") == []


# Hooks ---------------------------------------------------------------------------------------------------------------


def load_user() -> None:
    abort(403)


def test_hooks_are_unknown_and_named_where_they_hold(app: Flask) -> None:
    area = Blueprint("area", __name__, url_prefix="/area")
    area.before_request(load_user)
    area.add_url_rule("/", "view", fine)
    app.register_blueprint(area)
    app.add_url_rule("/", "view", fine)

    assert entry_of(app, "view").foreign == ()
    (fact,) = entry_of(app, "area.view").foreign
    assert (fact.by, fact.purpose, fact.scope) == (f"{__name__}.load_user", "unknown", "blueprint area")
    assert (fact.site or "").startswith(f"{__file__}:")


def test_hooks_that_run_before_the_policies_are_told_apart(app: Flask) -> None:
    app.before_request(load_user)
    Guard(app)
    app.before_request(fine)

    assert take_inventory(app).hooks == (f"{__name__}.load_user", f"{__name__}.fine")
    assert [each.name for each in hooks_of(app, None) if each.early] == [f"{__name__}.load_user"]


def test_the_guards_own_hooks_are_not_foreign(app: Flask) -> None:
    area = Blueprint("area", __name__, url_prefix="/area")
    limit("1/minute")(area)
    area.add_url_rule("/", "view", fine)
    Guard(app, policies=[require_api_key])
    app.register_blueprint(area)

    assert take_inventory(app).foreign == ()
    assert entry_of(app, "area.view").foreign == ()


# As JSON -------------------------------------------------------------------------------------------------------------


def test_facts_are_values_that_json_can_hold() -> None:
    assert Foreign("Flask-Login", "authentication", "login_required").describe() == {
        "by": "Flask-Login",
        "purpose": "authentication",
        "detail": "login_required",
        "scope": "view",
        "site": None,
    }
