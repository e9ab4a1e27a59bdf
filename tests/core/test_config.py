"""The `GUARD_*` keys of an app's configuration: read once, checked when the app is put together."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from flask import Blueprint, Flask

from flask_guard import (
    ApiKey,
    ConfigError,
    Denied,
    DenyingPolicy,
    Guard,
    Run,
    Step,
    Target,
    cors,
    limit,
    log_timing,
    protect,
    request_would_be_denied,
    require_api_key,
    secure_headers,
)
from tests.cases import together
from tests.conftest import MakeApp


@together(
    ("config", "message"),
    [
        ({"GUARD_ENABLE": True}, "unknown config key GUARD_ENABLE; did you mean 'GUARD_ENABLED'\\? The known"),
        ({"GUARD_CORS_ORIGIN": "*"}, "did you mean 'GUARD_CORS_ORIGINS'"),
        ({"GUARD_XYZZY": 1}, "unknown config key GUARD_XYZZY\\. The known ones: .*GUARD_API_KEYS"),
        ({"GUARD_ENABLED": "no"}, "GUARD_ENABLED must be True or False, not 'no'"),
        ({"GUARD_ENABLED": 0}, "GUARD_ENABLED must be True or False"),
        ({"GUARD_ENABLED": None}, "GUARD_ENABLED must be True or False"),
        ({"GUARD_MODES": "report"}, "GUARD_MODES must map"),
        ({"GUARD_MODES": ["limit"]}, "GUARD_MODES must map"),
        ({"GUARD_MODES": {"limits": "report"}}, "GUARD_MODES names 'limits'.*did you mean 'limit'\\? Write one of"),
        ({"GUARD_MODES": {"log_timing": "report"}}, "not a kind of policy with a mode"),
        ({"GUARD_MODES": {1: "report"}}, "not a kind of policy with a mode"),
        ({"GUARD_MODES": {"limit": "shadow"}}, r"GUARD_MODES\['limit'\] must be one of 'enforce', 'report'"),
        ({"GUARD_MODES": {"limit": None}}, r"GUARD_MODES\['limit'\] must be one of"),
        ({"GUARD_MODES": {"limit": ["report"]}}, r"GUARD_MODES\['limit'\] must be one of"),
        ({"GUARD_ERROR_FORMAT": "json"}, "GUARD_ERROR_FORMAT must be one of 'auto', 'problem', 'html', not 'json'"),
        ({"GUARD_ERROR_FORMAT": None}, "GUARD_ERROR_FORMAT must be one of"),
        ({"GUARD_REALM": 7}, "GUARD_REALM must be .*, not 7"),
        ({"GUARD_REALM": None}, "GUARD_REALM must be .*, not None"),
        ({"GUARD_API_KEYS": ["a"]}, "GUARD_API_KEYS must map"),
        ({"GUARD_API_KEYS": "a"}, "GUARD_API_KEYS must map"),
    ],
)
def test_config_that_cannot_be_meant_is_refused_at_init_app(
    make_app: MakeApp, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Guard(make_app(**config))


def test_message_about_keys_does_not_show_them(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError) as raised:
        Guard(make_app(GUARD_API_KEYS=["hunter2 hunter2"]))

    assert "hunter2" not in str(raised.value)


def test_realm_that_a_header_cannot_carry_is_refused_at_init_app(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError, match="GUARD_REALM must be printable ASCII"):
        Guard(make_app(GUARD_REALM="a\r\nb"), policies=[require_api_key])


def test_config_is_read_once(make_app: MakeApp) -> None:
    app = make_app(GUARD_REALM="first")
    Guard(app, policies=[require_api_key])
    app.config.update(GUARD_REALM="second", GUARD_ENABLED=False, GUARD_ERROR_FORMAT="nonsense")

    response = app.test_client().get("/nowhere")

    assert response.headers["WWW-Authenticate"] == 'Bearer realm="first"'


def test_options_in_the_code_win_over_config(make_app: MakeApp) -> None:
    app = make_app(
        GUARD_REALM="config",
        GUARD_CORS_ORIGINS="https://config.example.com",
        GUARD_MODES={"require_api_key": "report"},
        GUARD_API_KEYS={"config": "the key of the config"},
    )
    found = ApiKey("code")
    Guard(
        app,
        policies=[require_api_key(realm="code", mode="enforce"), cors(origins="https://code.example.com")],
        keys=lambda presented: found if presented == "the key of the code" else None,
    )
    app.add_url_rule("/a", "a", lambda: "a")
    client = app.test_client()

    refused = client.get("/a", headers={"Origin": "https://code.example.com"})

    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="code"'
    assert refused.headers["Access-Control-Allow-Origin"] == "https://code.example.com"
    assert client.get("/a", headers={"X-API-Key": "the key of the config"}).status_code == 401
    assert client.get("/a", headers={"X-API-Key": "the key of the code"}).status_code == 200


def test_no_keys_in_the_code_wins_over_keys_in_the_config(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"config": "the key of the config"})
    Guard(app, policies=[require_api_key], keys={})

    assert app.test_client().get("/a", headers={"X-API-Key": "the key of the config"}).status_code == 401


# GUARD_ENABLED -----------------------------------------------------------------------------------------------------


def everything(app: Flask) -> None:
    """Guard views, a blueprint and the app itself with policies that deny, and that write headers."""
    api = protect(Blueprint("api", __name__, url_prefix="/api"), require_api_key)
    api.add_url_rule("/a", "a", lambda: "a")
    app.register_blueprint(api)
    app.add_url_rule("/view", "view", require_api_key(limit("1/hour")(lambda: "view")))
    Guard(app, policies=[secure_headers, log_timing, limit("1/day")])


def test_guard_enabled_false_switches_everything_off_and_says_so(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(GUARD_ENABLED=False)

    with caplog.at_level(logging.INFO):
        everything(app)
        answers = [app.test_client().get(path) for path in ("/api/a", "/view", "/api/a", "/view", "/nowhere")]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404]
    assert not any({"X-Content-Type-Options", "X-Request-ID", "RateLimit"} & set(a.headers.keys()) for a in answers)
    assert [(r.levelname, r.getMessage()) for r in caplog.records if r.name.startswith("flask_guard")] == [
        ("WARNING", "GUARD_ENABLED is False: nothing on 'tests' is guarded")
    ]


def test_guard_is_enabled_without_config(make_app: MakeApp) -> None:
    app = make_app()
    everything(app)

    assert [app.test_client().get(path).status_code for path in ("/api/a", "/view")] == [401, 401]


# GUARD_MODES -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modes", "statuses"),
    [
        ({}, [401, 401]),
        ({"require_api_key": "enforce"}, [401, 401]),
        ({"limit": "report"}, [401, 401]),
        ({"require_api_key": "report"}, [200, 429]),
        ({"require_api_key": "report", "limit": "report"}, [200, 200]),
    ],
)
def test_guard_modes_put_kinds_in_shadow(make_app: MakeApp, modes: dict[str, str], statuses: list[int]) -> None:
    app = make_app(GUARD_MODES=modes)
    app.add_url_rule("/a", "a", require_api_key(limit("1/hour", by="api_key")(lambda: "a")))
    Guard(app)

    assert [app.test_client().get("/a").status_code for _ in range(2)] == statuses


def test_kind_of_a_policy_that_is_imported_later_may_be_in_guard_modes(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(GUARD_MODES={"teapot": "report", "samovar": "report"})
    Guard(app)

    @dataclass(frozen=True, slots=True, repr=False)
    class Teapot(DenyingPolicy):
        """Refuses to brew."""

        kind: ClassVar[str] = "teapot"

        def compile(self, target: Target) -> Step:
            def enter(run: Run) -> None:
                raise Denied("Short and stout.", policy="teapot", reason="teapot")

            return Step(enter)

    app.add_url_rule("/a", "a", Teapot()(lambda: "a"))

    assert app.test_client().get("/a").status_code == 200
    assert "GET /a would be denied by teapot" in caplog.text
    assert "GUARD_MODES names 'samovar', and no policy of 'tests' has that name" in caplog.messages


def test_changing_the_mapping_later_changes_no_mode(make_app: MakeApp) -> None:
    modes = {"require_api_key": "enforce"}
    app = make_app(GUARD_MODES=modes)
    Guard(app, policies=[require_api_key])
    modes["require_api_key"] = "report"

    assert app.test_client().get("/a").status_code == 401


def test_shadow_by_config_is_logged_and_signalled(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(GUARD_MODES={"require_api_key": "report"})
    app.add_url_rule("/a", "a", require_api_key(lambda: "a"))
    Guard(app)

    with request_would_be_denied.connected_to(lambda _sender, denial, request: denials.append(denial.policy), app):
        denials: list[str] = []
        app.test_client().get("/a")

    assert denials == ["require_api_key"]
    assert "GET /a would be denied by require_api_key (missing)" in caplog.messages


# GUARD_ERROR_FORMAT ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error_format", "accept", "content_type"),
    [
        ("auto", "application/json", "application/problem+json"),
        ("auto", "*/*", "application/problem+json"),
        ("auto", "", "application/problem+json"),
        ("auto", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("problem", "text/html", "application/problem+json"),
        ("html", "application/json", "text/html; charset=utf-8"),
    ],
)
def test_error_format(make_app: MakeApp, error_format: str, accept: str, content_type: str) -> None:
    app = make_app(GUARD_ERROR_FORMAT=error_format)
    Guard(app, policies=[require_api_key])

    response = app.test_client().get("/a", headers={"Accept": accept} if accept else {})

    assert response.status_code == 401
    assert response.headers["Content-Type"] == content_type
    assert ("Accept" in response.headers.get("Vary", "")) == (error_format == "auto")


# Policies that the configuration does not go with ---------------------------------------------------------------------


def app_wide(app: Flask) -> None:
    Guard(app, policies=[cors])


def on_a_view(app: Flask) -> None:
    app.add_url_rule("/a", "a", cors(lambda: "a"))
    Guard(app)


def on_a_blueprint(app: Flask) -> None:
    api = protect(Blueprint("api", __name__), cors)
    api.add_url_rule("/a", "a", lambda: "a")
    app.register_blueprint(api)
    Guard(app)


def on_an_empty_blueprint(app: Flask) -> None:
    app.register_blueprint(protect(Blueprint("api", __name__, url_prefix="/api"), cors))
    Guard(app)


def on_the_app_after_the_guard(app: Flask) -> None:
    Guard(app)
    protect(app, cors)


def on_a_blueprint_after_the_guard(app: Flask) -> None:
    Guard(app)
    app.register_blueprint(protect(Blueprint("api", __name__, url_prefix="/api"), cors))


@pytest.mark.parametrize(
    "wire",
    [
        app_wide,
        on_a_view,
        on_a_blueprint,
        on_an_empty_blueprint,
        on_the_app_after_the_guard,
        on_a_blueprint_after_the_guard,
    ],
)
def test_cors_without_origins_anywhere_is_refused_before_the_first_request(app: Flask, wire: Any) -> None:
    with pytest.raises(ConfigError, match="set GUARD_CORS_ORIGINS") as raised:
        wire(app)

    assert f"cors at {__file__}:" in str(raised.value)


def test_view_that_comes_after_the_guard_is_refused_by_the_line_that_registers_it(app: Flask) -> None:
    Guard(app)
    view = cors(lambda: "a")

    with pytest.raises(ConfigError, match=rf"cors at {__file__}:\d+: .*set GUARD_CORS_ORIGINS") as raised:
        app.add_url_rule("/a", "a", view)

    assert (
        raised.traceback[0].frame.code.name
        == "test_view_that_comes_after_the_guard_is_refused_by_the_line_that_registers_it"
    )


def on_a_view_above_the_route(app: Flask) -> None:
    Guard(app)
    cors(app.get("/late")(lambda: "late"))


def on_a_shared_limit_counted_in_two_ways(app: Flask) -> None:
    Guard(app)
    shared = limit("5/minute", shared="all")
    app.add_url_rule("/late", "late", shared(lambda: "late"))
    limit("6/minute", shared="all", algorithm="moving-window")(app.get("/later")(lambda: "later"))


@pytest.mark.parametrize("wire", [on_a_view_above_the_route, on_a_shared_limit_counted_in_two_ways])
def test_mistake_that_shows_late_keeps_every_path_from_being_served_with_the_same_answer(
    app: Flask, caplog: pytest.LogCaptureFixture, wire: Any
) -> None:
    app.add_url_rule("/fine", "fine", lambda: "fine")
    wire(app)

    statuses = [app.test_client().get(path).status_code for path in ("/fine", "/late", "/nowhere", "/fine")]

    lines = [r.getMessage() for r in caplog.records if r.name == "flask_guard" and r.levelname == "ERROR"]
    assert statuses == [500, 500, 500, 500]
    assert len(lines) == 1
    assert f"{__file__}:" in lines[0]
