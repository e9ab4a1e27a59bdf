"""Where the options of `cors` come from: the code, or the configuration where the code leaves them out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView

from flask_guard import ConfigError, Guard, cors, exempt
from tests.cases import together
from tests.conftest import MakeApp

from .test_cors_origins import APP, cors_headers, get, serve

# Where the origins come from -------------------------------------------------------------------------------------


@pytest.mark.parametrize("configured", [APP, [APP], (APP, re.compile("http://localhost:[0-9]+"))])
def test_origins_come_from_the_configuration_where_the_policy_names_none(make_app: MakeApp, configured: Any) -> None:
    app = serve(make_app(GUARD_CORS_ORIGINS=configured), cors)

    assert get(app, APP).headers["Access-Control-Allow-Origin"] == APP
    assert cors_headers(get(app, "https://evil.net")) == []


FROM_THE_CONFIGURATION: dict[str, tuple[Any, str, str]] = {
    "GUARD_CORS_METHODS": ("PUT", "Access-Control-Allow-Methods", "PUT"),
    "GUARD_CORS_ALLOW_HEADERS": (["X-Tenant"], "Access-Control-Allow-Headers", "x-tenant"),
    "GUARD_CORS_CREDENTIALS": (True, "Access-Control-Allow-Credentials", "true"),
    "GUARD_CORS_MAX_AGE": (5, "Access-Control-Max-Age", "5"),
    "GUARD_CORS_EXPOSE_HEADERS": (["X-Total"], "Access-Control-Expose-Headers", "X-Total"),
}
OWN: dict[str, dict[str, Any]] = {
    "GUARD_CORS_METHODS": {"methods": None},
    "GUARD_CORS_ALLOW_HEADERS": {"allow_headers": ()},
    "GUARD_CORS_CREDENTIALS": {"credentials": False},
    "GUARD_CORS_MAX_AGE": {"max_age": None},
    "GUARD_CORS_EXPOSE_HEADERS": {"expose_headers": ()},
}


@together("key", FROM_THE_CONFIGURATION)
@together("has_own", [False, True])
def test_options_that_are_left_out_come_from_the_configuration(make_app: MakeApp, key: str, has_own: bool) -> None:
    configured, header, sent = FROM_THE_CONFIGURATION[key]
    app = make_app(GUARD_CORS_ORIGINS=APP, **{key: configured})
    app.add_url_rule("/", "index", cors(**OWN[key] if has_own else {})(lambda: "hello"), methods=["GET", "PUT"])
    Guard(app)
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-tenant, x-other"}

    answer = app.test_client().options("/", headers={"Origin": APP, **asked})
    actual = get(app, APP)

    both = {**dict(answer.headers), **dict(actual.headers)}
    assert both["Access-Control-Allow-Origin"] == APP
    assert (both.get(header) == sent) is not has_own


def test_options_of_the_configuration_that_contradict_a_policy_are_refused(make_app: MakeApp) -> None:
    app = make_app(GUARD_CORS_CREDENTIALS=True)

    with pytest.raises(ConfigError, match=r"credentials=True.*List the origins"):
        Guard(app, policies=[cors(origins="*")])
    with pytest.raises(ConfigError, match=r"GUARD_CORS_METHODS takes names of methods, not '\*'"):
        Guard(make_app(GUARD_CORS_METHODS="*"))


def test_own_origins_win_over_the_configuration(make_app: MakeApp) -> None:
    app = serve(make_app(GUARD_CORS_ORIGINS="*"), cors(origins=APP))

    assert cors_headers(get(app, "https://evil.net")) == []


def test_no_origins_anywhere_is_refused_app_wide(app: Flask) -> None:
    with pytest.raises(ConfigError, match=r"cors at .*test_cors_configuration\.py:\d+: .*GUARD_CORS_ORIGINS"):
        Guard(app, policies=[cors])


def _view(app: Flask) -> None:
    app.add_url_rule("/", "index", cors(lambda: "hello"))


def _class(app: Flask) -> None:
    @cors
    class Index(MethodView):
        def get(self) -> str:
            return "hello"

    app.add_url_rule("/", view_func=Index.as_view("index"))


def _method(app: Flask) -> None:
    class Index(MethodView):
        @cors
        def delete(self) -> str:
            return "gone"

    app.add_url_rule("/", view_func=Index.as_view("index"))


def _blueprint(app: Flask) -> None:
    blueprint = cors(Blueprint("pages", __name__))
    blueprint.add_url_rule("/", "index", lambda: "hello")
    app.register_blueprint(blueprint)


@pytest.mark.parametrize("register", [_view, _class, _method, _blueprint])
def test_no_origins_anywhere_is_refused_for_what_is_registered_already(app: Flask, register: Any) -> None:
    register(app)

    with pytest.raises(ConfigError, match=r"cors at .*test_cors_configuration\.py:\d+: .*GUARD_CORS_ORIGINS"):
        Guard(app)


def test_exemption_needs_no_origins(app: Flask) -> None:
    app.add_url_rule("/", "index", exempt(cors)(lambda: "hello"))
    Guard(app, policies=[cors(origins=APP)])

    assert cors_headers(get(app, APP)) == []


def test_view_without_origins_that_comes_after_the_guard_is_refused_where_it_is_registered(app: Flask) -> None:
    Guard(app)

    with pytest.raises(ConfigError, match="set GUARD_CORS_ORIGINS"):

        @app.get("/")
        @cors
        def index() -> str:
            return "hello"
