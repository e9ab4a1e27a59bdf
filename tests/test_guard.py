"""The extension: how it is put on an app, switched off for tests, asked for plans, and kept apart from other apps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
from flask import Blueprint, Flask, Request, Response

from flask_guard import (
    ApiKey,
    ConfigError,
    Denied,
    Guard,
    compose,
    cors,
    exempt,
    limit,
    log_timing,
    middleware,
    protect,
    request_denied,
    request_would_be_denied,
    require_api_key,
    secure_headers,
)
from flask_guard.keys import SignedKeys
from flask_guard.keys.concern import key_store_of
from tests.conftest import MakeApp

SECRET = "hunter2-hunter2-hunter2"


@middleware
def stamp(request: Request, *, value: str = "yes") -> Generator[None, Response, None]:
    response = yield
    response.headers.add("X-Stamp", value)


def status(app: Flask, path: str = "/a") -> int:
    """Return the status of GET `path`."""
    return app.test_client().get(path).status_code


# Putting it on an app ------------------------------------------------------------------------------------------------


def test_guard_takes_the_app_at_once_or_later(make_app: MakeApp) -> None:
    at_once, later = make_app(), make_app()
    Guard(at_once, policies=[require_api_key])
    guard = Guard(policies=[require_api_key])
    guard.init_app(later)

    assert [status(each) for each in (at_once, later)] == [401, 401]


def test_something_else_than_an_app_is_refused() -> None:
    with pytest.raises(TypeError, match="takes the Flask app to guard, not a str"):
        Guard("shop")  # type: ignore[arg-type]


def test_second_guard_on_an_app_is_refused(app: Flask) -> None:
    Guard(app)

    with pytest.raises(ConfigError, match="'tests' has a Guard already"):
        Guard(app, policies=[stamp])


def test_second_init_app_of_one_guard_on_one_app_is_refused(app: Flask) -> None:
    guard = Guard(app, policies=[stamp])

    with pytest.raises(ConfigError, match="has a Guard already"):
        guard.init_app(app)


@pytest.mark.parametrize("policies", [stamp, [stamp], (stamp,), compose(stamp), [compose(stamp)], iter([stamp])])
def test_policies_may_be_one_or_several(app: Flask, policies: Any) -> None:
    Guard(app, policies=policies)

    assert app.test_client().get("/a").headers["X-Stamp"] == "yes"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FLASK_GUARD_API_KEYS": '{"ci": "the key of the tests"}'}, 200),
        ({"FLASK_GUARD_API_KEYS__ci": "the key of the tests"}, 200),
        ({"FLASK_GUARD_MODES__require_api_key": "report"}, 200),
        ({"FLASK_GUARD_ENABLED": "false"}, 200),
        ({}, 401),
    ],
)
def test_configuration_may_come_from_the_environment(
    app: Flask, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    app.config.from_prefixed_env()
    Guard(app, policies=[require_api_key])
    app.add_url_rule("/a", "a", lambda: "a")

    assert app.test_client().get("/a", headers={"X-API-Key": "the key of the tests"}).status_code == expected


def test_guard_refuses_what_is_no_policy(app: Flask) -> None:
    with pytest.raises(TypeError, match="expected a policy"):
        Guard(app, policies=[lambda: None])  # type: ignore[list-item]


def test_guard_does_not_take_an_exemption_as_policy(app: Flask) -> None:
    with pytest.raises(TypeError, match="expected a policy"):
        Guard(app, policies=[exempt(cors)])  # type: ignore[list-item]


def test_one_guard_on_two_apps_shares_nothing(make_app: MakeApp) -> None:
    guard = Guard(policies=[limit("1/hour"), stamp, require_api_key(optional=True)])
    first = make_app(GUARD_API_KEYS={"first": "the first key"}, GUARD_REALM="first")
    second = make_app(GUARD_API_KEYS={"second": "the second key"}, GUARD_MODES={"limit": "report"})
    for each in (first, second):
        guard.init_app(each)
        each.add_url_rule("/a", "a", lambda: "a")
    clients = [each.test_client() for each in (first, second)]

    answers = [client.get("/a", headers={"X-API-Key": "the first key"}) for client in clients]

    assert [answer.status_code for answer in answers] == [200, 401]
    assert [status(each) for each in (first, second)] == [429, 200]
    assert first.extensions["guard"] is not second.extensions["guard"]
    with first.app_context():
        of_first = guard.plan_for("a")
    with second.app_context():
        of_second = guard.plan_for("a")
    assert of_first is not of_second


def test_policies_added_to_one_app_do_not_reach_another_of_the_same_guard(make_app: MakeApp) -> None:
    guard, first, second = Guard(policies=[stamp]), make_app(), make_app()
    for each in (first, second):
        guard.init_app(each)
    protect(first, require_api_key)

    assert [status(each) for each in (first, second)] == [401, 404]


def test_state_is_in_the_extensions_of_the_app_and_nowhere_else(app: Flask) -> None:
    before = set(app.extensions)

    Guard(app, policies=[stamp, secure_headers])
    app.test_client().get("/a")

    assert set(app.extensions) - before == {"guard"}


@pytest.mark.parametrize("source", ["mapping", "callable", "store"])
def test_keys_may_be_a_mapping_a_callable_or_a_store(app: Flask, source: str) -> None:
    class Store:
        def lookup(self, presented: str) -> ApiKey | None:
            return ApiKey("one") if presented == SECRET else None

    sources: dict[str, Any] = {"mapping": {"one": SECRET}, "callable": Store().lookup, "store": Store()}
    Guard(app, policies=[require_api_key], keys=sources[source])
    app.add_url_rule("/a", "a", lambda: "a")

    statuses = [app.test_client().get("/a", headers={"X-API-Key": key}).status_code for key in (SECRET, "wrong")]

    assert statuses == [200, 401]


@pytest.mark.parametrize("keys", [7, "a key", ["a key"]])
def test_keys_that_are_none_of_these_are_refused(app: Flask, keys: Any) -> None:
    with pytest.raises(ConfigError, match="keys must be a store, a mapping or a callable"):
        Guard(app, keys=keys)


# Switching it off --------------------------------------------------------------------------------------------------


def guarded_everywhere(app: Flask) -> Guard:
    """Guard the app, a blueprint and a view, so that nobody gets in."""
    api = protect(Blueprint("api", __name__, url_prefix="/api"), require_api_key)
    api.add_url_rule("/a", "a", require_api_key(stamp(lambda: "a")))
    app.register_blueprint(api)
    app.add_url_rule("/a", "a", require_api_key(lambda: "a"))
    return Guard(app, policies=[secure_headers, limit("1/hour", shared="everything")])


def test_disabled_switches_every_policy_off_and_on_again(app: Flask) -> None:
    guard = guarded_everywhere(app)
    client = app.test_client()

    with guard.disabled():
        answers = [client.get(path) for path in ("/a", "/api/a", "/a")]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert not any({"X-Content-Type-Options", "RateLimit", "X-Stamp"} & set(a.headers.keys()) for a in answers)
    assert [status(app, path) for path in ("/a", "/api/a")] == [401, 429]


def test_disabled_works_after_requests_have_been_served(app: Flask) -> None:
    guard = guarded_everywhere(app)
    assert status(app) == 401

    with guard.disabled():
        assert status(app) == 200


def test_disabled_may_be_nested_and_survives_errors(app: Flask) -> None:
    guard = guarded_everywhere(app)

    with guard.disabled():
        with pytest.raises(ZeroDivisionError), guard.disabled():
            raise ZeroDivisionError
        assert status(app) == 200

    assert status(app) == 401


def test_disabled_lets_shims_be_called_within_an_app_context(app: Flask) -> None:
    guard = Guard(app)
    view: Callable[[], str] = require_api_key(lambda: "served")

    with app.app_context(), guard.disabled():
        assert view() == "served"


def test_disabled_is_for_the_current_app_only(make_app: MakeApp) -> None:
    guard, first, second = Guard(policies=[require_api_key]), make_app(), make_app()
    for each in (first, second):
        guard.init_app(each)

    with second.app_context(), guard.disabled():
        statuses = [status(each) for each in (first, second)]

    assert statuses == [401, 404]


def test_disabled_switches_one_kind_off_and_leaves_the_others_in_force(app: Flask) -> None:
    guard = Guard(app, policies=[secure_headers, limit("1/hour"), require_api_key(optional=True)])
    app.add_url_rule("/a", "a", limit("1/hour")(require_api_key(lambda: "a")))
    client = app.test_client()

    with guard.disabled(require_api_key):
        without_keys = [client.get("/a") for _ in range(2)]
    with guard.disabled(require_api_key, limit):
        without_both = client.get("/a")

    assert [answer.status_code for answer in without_keys] == [200, 429]
    assert without_both.status_code == 200
    assert without_both.headers["X-Content-Type-Options"] == "nosniff"
    assert [status(app) for _ in range(2)] == [429, 429]


def test_disabled_holds_in_the_context_that_asked_and_not_in_other_threads(app: Flask) -> None:
    guard = Guard(app, policies=[require_api_key])
    app.add_url_rule("/a", "a", lambda: "a")
    elsewhere: list[int] = []

    with guard.disabled():
        thread = threading.Thread(target=lambda: elsewhere.append(status(app)))
        thread.start()
        thread.join()
        here = status(app)

    assert (here, elsewhere) == (200, [401])


def test_guard_of_several_apps_refuses_to_guess_which_one_is_meant(make_app: MakeApp) -> None:
    guard, apps = Guard(policies=[require_api_key]), [make_app(), make_app()]
    for each in apps:
        guard.init_app(each)
        each.add_url_rule("/a", "a", lambda: "a")

    with pytest.raises(RuntimeError, match=r"several apps.*app_context"):
        guard.plan_for("a")
    with pytest.raises(RuntimeError, match=r"several apps.*app_context"), guard.disabled():
        pass
    for each in apps:
        with each.app_context():
            assert guard.plan_for("a").names == ("require_api_key",)


def test_guard_without_an_app_says_what_to_call() -> None:
    guard = Guard()

    with pytest.raises(RuntimeError, match=r"guard\.init_app\(app\)"), guard.disabled():
        pass
    with pytest.raises(RuntimeError, match=r"guard\.init_app\(app\)"):
        guard.plan_for("a")


# Signals, and what is said about secrets ------------------------------------------------------------------------------


def test_denials_are_signalled_with_the_app_the_denial_and_the_request(make_app: MakeApp) -> None:
    app, other = make_app(), make_app()
    for each in (app, other):
        Guard(each, policies=[require_api_key])
    heard: list[tuple[Any, str, str, str]] = []

    def hear(sender: Any, denial: Denied, request: Request) -> None:
        heard.append((sender, denial.policy, denial.reason, request.path))

    with request_denied.connected_to(hear, app):
        app.test_client().get("/a")
        app.test_client().get("/b", headers={"X-API-Key": "wrong"})
        other.test_client().get("/c")

    assert heard == [(app, "require_api_key", "missing", "/a"), (app, "require_api_key", "unknown", "/b")]


def test_shadow_signals_what_it_would_have_denied_and_only_that(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    Guard(app, policies=[require_api_key(mode="report"), limit("1/hour", mode="report"), stamp])
    app.add_url_rule("/a", "a", lambda: "a")
    heard: list[str] = []
    denied: list[str] = []

    with (
        request_would_be_denied.connected_to(lambda _app, denial, request: heard.append(denial.policy), app),
        request_denied.connected_to(lambda _app, denial, request: denied.append(denial.policy), app),
    ):
        answers = [app.test_client().get("/a") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.headers["X-Stamp"] for answer in answers] == ["yes", "yes"]
    assert heard == ["require_api_key", "limit", "require_api_key"]
    assert denied == []
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "would be" in r.getMessage()]
    assert warnings == [
        "GET /a would be denied by require_api_key (missing)",
        "GET /a would be denied by limit (exceeded)",
    ]


def test_path_in_the_log_cannot_forge_a_line(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    Guard(app, policies=[require_api_key(mode="report")])

    app.test_client().get("/a%0d%0aERROR forged%1b[31m")

    line = next(message for message in caplog.messages if "would be denied" in message)
    assert line == r"GET /a\r\nERROR forged\x1b[31m would be denied by require_api_key (missing)"


@pytest.mark.parametrize("keys", ["config", "mapping", "signed", "callable"])
def test_repr_of_nothing_shows_a_secret(make_app: MakeApp, keys: str, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(SECRET_KEY=SECRET, GUARD_API_KEYS={"one": SECRET} if keys == "config" else {})
    sources: dict[str, Any] = {"mapping": {"one": SECRET}, "signed": SignedKeys(), "callable": lambda _: None}
    guard = Guard(app, policies=[log_timing, require_api_key], keys=sources.get(keys))
    app.add_url_rule("/a", "a", lambda: "a")
    app.test_client().get("/a", headers={"X-API-Key": SECRET})

    state = app.extensions["guard"]
    plan = guard.plan_for("a")
    shown = [repr(each) for each in (guard, state, state.config, key_store_of(state), plan, plan.policies)]

    assert not [text for text in (*shown, caplog.text) if SECRET in text]
