"""A rehearsal: the answer is that of a real request, and nothing that flask_guard keeps is changed."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import redis
from flask import Flask, Response, abort, current_app, g, request
from prometheus_client import CollectorRegistry

from flask_guard import (
    JWT,
    ConfigError,
    Guard,
    Policy,
    Step,
    Target,
    ban,
    client_banned,
    defer,
    key_used,
    limit,
    log_timing,
    metrics,
    middleware,
    protect,
    request_denied,
    request_would_be_denied,
    require_api_key,
    require_auth,
)
from flask_guard.audit.rehearsal import Asked, Rehearsed, rehearse
from flask_guard.core.app_state import AppState
from flask_guard.keys import SQLKeys
from flask_guard.rate_limits.storage.backend import Backend
from tests.conftest import MakeApp

pytestmark = pytest.mark.slow

STORAGES = ["memory", "sqlite", "redis"]


@pytest.fixture(params=STORAGES)
def storage_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    uris: dict[str, Callable[[], str]] = {
        "memory": lambda: "memory://",
        "sqlite": lambda: f"sqlite:///{tmp_path / 'limits.db'}",
        "redis": lambda: request.getfixturevalue("redis_url").rpartition("/")[0] + "/8",
    }
    return uris[request.param]()


def fine() -> str:
    return "fine"


def get(app: Flask, path: str = "/", *headers: tuple[str, str], **options: Any) -> Rehearsed:
    return rehearse(app, Asked("GET", path, headers), **options)


def field(headers: Any, name: str) -> str:
    found: str = next(value for each, value in headers if each == name)
    return found


# Limits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"])
def test_limits_are_looked_at_and_not_charged(make_app: MakeApp, storage_uri: str, algorithm: Any) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=storage_uri)
    app.add_url_rule("/", f"view-{algorithm}", limit("3/hour", algorithm=algorithm)(fine))
    Guard(app).reset()

    before = [field(get(app).headers, "RateLimit") for _ in range(5)]
    first = app.test_client().get("/")
    second = get(app)

    assert len(set(before)) == 1
    assert "r=2" in before[0]
    assert first.headers["RateLimit"].partition(";t=")[0] == before[0].partition(";t=")[0]
    assert "r=1" in field(second.headers, "RateLimit")


@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"])
def test_nothing_is_written_to_the_storage(make_app: MakeApp, storage_uri: str, algorithm: Any) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=storage_uri)
    several = limit("2/minute", algorithm=algorithm)(limit.concurrent(2)(ban(after="3/hour", on=[401])(fine)))
    app.add_url_rule("/", f"view-{algorithm}", several)
    app.add_url_rule("/key", "key", require_api_key(failures="1/hour")(fine))
    Guard(app, keys={"k": "a long secret key"}).reset()
    app.test_client().get("/")

    before = held(storage_uri, app)
    for _ in range(3):
        get(app)
        get(app, "/key", ("X-API-Key", "wrong"))

    assert held(storage_uri, app) == before != {}
    assert app.test_client().get("/").status_code == 200
    assert held(storage_uri, app) != before


def held(uri: str, app: Flask) -> dict[Any, Any]:
    """Return all that the storage of limits holds."""
    if uri.startswith("redis"):
        server = redis.Redis.from_url(uri)
        found = {key: (server.dump(key), server.pexpiretime(key)) for key in server.scan_iter()}
        server.close()
        return found
    if uri.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: database.execute(f"SELECT * FROM {name}").fetchall() for name in tables}  # noqa: S608
    counter = AppState.of(app).service(Backend).counter
    return {
        budget.key_for(identity): counter.take([(budget, identity, 0, 0)])[1][0].remaining
        for budget, identity in counter.find()
    }


def test_used_up_limit_refuses_a_rehearsal_as_it_refuses_a_request(app: Flask) -> None:
    app.add_url_rule("/", "view", limit("1/hour")(fine))
    Guard(app)
    app.test_client().get("/")

    rehearsed, real = get(app), app.test_client().get("/")

    assert rehearsed.status == real.status_code == 429
    assert [step.verdict for step in rehearsed.steps] == ["denied"]


@pytest.mark.parametrize("batch", [None, 5])
def test_a_limit_without_its_storage_lets_a_rehearsal_through_as_it_lets_a_request(
    make_app: MakeApp, tmp_path: Path, batch: int | None
) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"sqlite:///{tmp_path}/missing/limits.db", GUARD_ON_STORE_ERROR="allow")
    app.add_url_rule("/", "view", protect(fine, limit("9/hour", batch=batch), limit("99/day", on_store_error="local")))
    Guard(app)

    rehearsed, real = get(app), app.test_client().get("/")

    assert rehearsed.status == real.status_code == 200
    assert field(rehearsed.headers, "RateLimit") == real.headers["RateLimit"] == '"99-per-day";r=98;t=86400'


def test_limits_inside_a_view_are_not_charged(app: Flask) -> None:
    shared = limit("2/hour", shared="exports")

    def view() -> str:
        with limit.concurrent(1):
            return str(shared.hit().remaining)

    app.add_url_rule("/", "view", view)
    Guard(app)

    for _ in range(3):
        assert get(app).status == 200
    assert app.test_client().get("/").text == "1"


@pytest.mark.parametrize("batch", [None, 3])
def test_a_budget_that_a_request_draws_on_twice_is_told_as_it_will_be(app: Flask, batch: int | None) -> None:
    shared = limit("5/hour", shared="exports")
    calls = (shared.hit, shared.hit, shared.peek)
    app.add_url_rule("/", "view", shared(batch=batch)(lambda: " ".join(str(call().remaining) for call in calls)))
    Guard(app)

    rehearsed = get(app)
    real = app.test_client().get("/")

    assert real.text == "3 2 2"
    assert field(rehearsed.headers, "RateLimit").partition(";t=")[0] == real.headers["RateLimit"].partition(";t=")[0]


def test_limit_on_failures_is_not_charged_later(app: Flask) -> None:
    deducting = limit("1/hour", deduct_when=lambda response: response.status_code == 404)
    app.add_url_rule("/", "view", deducting(lambda: abort(404)))
    Guard(app)

    assert [get(app).status for _ in range(3)] == [404, 404, 404]
    assert app.test_client().get("/").status_code == 404
    assert get(app).status == app.test_client().get("/").status_code == 429


def test_no_place_is_held_by_a_rehearsal(app: Flask) -> None:
    app.add_url_rule("/", "view", limit.concurrent(1)(lambda: Response(iter(["a", "b"]))))
    Guard(app)

    assert [get(app).status for _ in range(3)] == [200, 200, 200]
    assert app.test_client().get("/").status_code == 200


def test_refusals_are_no_strikes_of_a_ban(app: Flask) -> None:
    banned: list[str] = []

    def note(_app: Flask, identity: str, **_: Any) -> None:
        banned.append(identity)

    app.add_url_rule("/", "view", ban(after="1/hour", on=[403], lasting="1h")(lambda: abort(403)))
    Guard(app)

    with client_banned.connected_to(note):
        assert [get(app).status for _ in range(5)] == [403] * 5
        assert banned == []
        assert app.test_client().get("/").status_code == 403
    assert banned == ["127.0.0.1"]


def test_a_banned_client_is_shown_as_banned(app: Flask) -> None:
    app.add_url_rule("/", "view", ban(after="1/hour", on=[403], lasting="1h")(lambda: abort(403)))
    Guard(app)
    app.test_client().get("/")

    assert get(app).status == 429


# Keys and credentials ------------------------------------------------------------------------------------------------


def test_bad_keys_are_no_failures(app: Flask) -> None:
    app.add_url_rule("/", "view", require_api_key(failures="1/hour")(fine))
    Guard(app, keys={"k": "a long secret key"})
    bad = ("X-API-Key", "wrong")

    assert [get(app, "/", bad).status for _ in range(4)] == [401] * 4
    assert app.test_client().get("/", headers=[bad]).status_code == 401


def test_bad_passwords_are_no_failures(app: Flask) -> None:
    app.add_url_rule("/", "view", require_auth(basic=lambda *_: None, failures="1/hour")(fine))
    Guard(app)
    bad = ("Authorization", "Basic dTpw")

    assert [get(app, "/", bad).status for _ in range(9)] == [401] * 9
    assert app.test_client().get("/", headers=[bad]).status_code == 401


def test_use_of_a_key_is_neither_noted_nor_signalled(app: Flask, tmp_path: Path) -> None:
    keys = SQLKeys(f"sqlite:///{tmp_path / 'keys.sqlite'}")
    new, used = keys.create(), list[str]()

    def note(_app: Flask, key: Any, **_: Any) -> None:
        used.append(key.id)

    app.add_url_rule("/", "view", require_api_key(fine))
    Guard(app, keys=keys)
    with key_used.connected_to(note):
        assert get(app, "/", ("X-API-Key", new.secret)).status == 200
        keys.flush()
        unused = keys.get(new.key.id).last_used
        app.test_client().get("/", headers={"X-API-Key": new.secret})
        keys.flush()

    assert unused is None
    assert keys.get(new.key.id).last_used is not None
    assert used == [new.key.id]
    keys.close()


# Everything else that is kept, sent or logged ------------------------------------------------------------------------


def test_nothing_is_deferred(app: Flask) -> None:
    deferred: list[str] = []
    app.testing = True

    def view() -> str:
        defer(deferred.append, "done")
        return "fine"

    app.add_url_rule("/", "view", view)
    Guard(app)

    assert get(app).status == 200
    assert deferred == []
    app.test_client().get("/")
    assert deferred == ["done"]


def test_no_record_no_metric_and_no_signal_is_made(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    registry, signalled = CollectorRegistry(), list[object]()

    def note(*_: object, **__: object) -> None:
        signalled.append(1)

    app.add_url_rule("/", "view", limit("1/hour", mode="report")(fine))
    app.add_url_rule("/refused", "refused", require_api_key(fine))
    Guard(app, keys={"k": "a long secret key"}, policies=[log_timing, metrics(registry=registry)])
    app.test_client().get("/")
    counted = registry.get_sample_value(
        "flask_guard_requests_total", {"endpoint": "view", "method": "GET", "status": "2xx"}
    )
    caplog.clear()

    with request_denied.connected_to(note), request_would_be_denied.connected_to(note), caplog.at_level(logging.DEBUG):
        reported, refused = get(app), get(app, "/refused")

    assert [step.verdict for step in reported.steps][-1] == "would deny"
    assert refused.status == 401
    assert signalled == []
    assert [record.name for record in caplog.records if record.name.startswith("flask_guard")] == []
    assert counted == 1.0
    assert (
        registry.get_sample_value("flask_guard_requests_total", {"endpoint": "view", "method": "GET", "status": "2xx"})
        == 1.0
    )


def test_no_record_is_written_of_what_is_said_once_or_of_an_exception(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_url_rule("/", "view", require_api_key(fine))
    app.add_url_rule("/fails", "fails", lambda: str(1 / 0))
    app.add_url_rule("/token", "token", require_auth(bearer=JWT("a secret of at least 32 characters!"))(fine))
    Guard(app)
    app.test_client().get("/fails")
    app.test_client().get("/")
    caplog.clear()

    with caplog.at_level(logging.DEBUG):
        statuses = [get(app, path, ("Authorization", "Bearer a.b.c")).status for path in ("/", "/fails", "/token")]

    assert statuses == [401, 500, 401]
    assert caplog.records == []
    with caplog.at_level(logging.INFO, logger="flask_guard"):
        assert app.test_client().get("/token", headers={"Authorization": "Bearer a.b.c"}).status_code == 401
    assert caplog.records[0].name == "flask_guard"


def test_the_app_is_left_as_it_was(app: Flask) -> None:
    app.before_request(fine_hook)
    app.add_url_rule("/", "view", limit("1/hour")(fine))
    Guard(app)
    app.test_client().get("/")
    hooks, before = app.before_request_funcs, dict(vars(app))

    get(app)
    get(app, run_view=False)

    assert app.before_request_funcs is hooks
    assert vars(app) == before


def fine_hook() -> None:
    g.seen = True


def test_requests_of_other_threads_are_real_meanwhile(app: Flask) -> None:
    inside, statuses = threading.Event(), list[str]()
    done = threading.Event()

    def view() -> str:
        if request.args.get("wait"):
            inside.set()
            assert done.wait(10)
        return "fine"

    app.add_url_rule("/", "view", limit("5/hour")(view))
    Guard(app)

    def real() -> None:
        assert inside.wait(10)
        statuses.extend(app.test_client().get("/").headers["RateLimit"] for _ in range(2))
        done.set()

    thread = threading.Thread(target=real)
    thread.start()
    rehearsed = get(app, "/?wait=1")
    thread.join()

    assert ["r=4" in statuses[0], "r=3" in statuses[1]] == [True, True]
    assert "r=4" in field(rehearsed.headers, "RateLimit")


# What is watched -----------------------------------------------------------------------------------------------------


def test_verdict_cost_and_fields_of_each_step_are_noted(app: Flask) -> None:
    @middleware
    def slow(request: object) -> Generator[None, Response, None]:
        time.sleep(0.002)
        response = yield
        response.headers["X-Slow"] = "yes"

    app.add_url_rule("/", "view", slow(limit("1/hour")(fine)))
    Guard(app, keys={"k": "a long secret key"})

    steps = get(app).steps

    assert [(step.placed[0].policy.name, step.verdict) for step in steps] == [("limit", "allowed"), ("slow", "allowed")]
    assert steps[1].added == [("X-Slow", "yes")]
    assert [name for name, _ in steps[0].added] == ["RateLimit-Policy", "RateLimit"]
    assert (steps[1].enter_us or 0) >= 2000
    assert steps[0].leave_us is not None


def test_what_was_not_reached_is_told(app: Flask) -> None:
    app.add_url_rule("/", "view", require_api_key(limit("1/hour", by="api_key")(fine)))
    Guard(app, keys={"k": "a long secret key"})

    seen = get(app)

    assert [step.verdict for step in seen.steps] == ["denied", "not reached"]
    assert seen.view is None


def test_hooks_are_watched_wherever_they_stand(app: Flask) -> None:
    app.before_request(fine_hook)
    Guard(app)
    app.before_request(refusing_hook)
    app.add_url_rule("/", "view", fine)

    seen = get(app)

    assert [(hook.name.rpartition(".")[2], passage.answered) for hook, passage in seen.hooks] == [
        ("fine_hook", False),
        ("refusing_hook", True),
    ]
    assert seen.status == 403


def refusing_hook() -> tuple[str, int]:
    return "no", 403


def test_an_endless_body_is_not_read(app: Flask) -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "more"

    app.add_url_rule("/", "view", lambda: Response(endless()))
    Guard(app)

    assert get(app).status == 200


@pytest.mark.parametrize("debug", [True, False])
def test_an_unhandled_exception_is_a_500(app: Flask, debug: bool) -> None:
    app.debug = debug
    app.add_url_rule("/", "view", lambda: str(1 / 0))
    Guard(app)

    seen = get(app)

    assert seen.status == 500
    assert seen.view is not None
    assert isinstance(seen.view.error, ZeroDivisionError)


def test_the_view_is_left_out_if_that_is_wanted(app: Flask) -> None:
    app.add_url_rule("/", "view", limit("1/hour")(lambda: abort(418)))
    Guard(app)

    seen = get(app, run_view=False)

    assert (seen.status, seen.left_out, seen.view) == (200, True, None)
    assert "r=0" in field(seen.headers, "RateLimit")


def test_an_app_without_a_guard_is_rehearsed_too(app: Flask) -> None:
    app.before_request(fine_hook)
    app.add_url_rule("/", "view", lambda: str(g.seen))

    seen = get(app)

    assert (seen.status, seen.steps) == (200, ())
    assert [hook.name.rpartition(".")[2] for hook, _ in seen.hooks] == ["fine_hook"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Impossible(Policy):
    """A policy that cannot be compiled."""

    kind: ClassVar[str] = "impossible"

    def compile(self, target: Target) -> Step:
        raise ConfigError("write something else")


def test_a_mistake_that_keeps_the_app_from_serving_is_raised(app: Flask) -> None:
    Guard(app)
    app.add_url_rule("/", "view", Impossible()(fine))

    with pytest.raises(ConfigError, match="write something else"):
        get(app)


def test_guard_disabled_holds_in_a_rehearsal(app: Flask) -> None:
    app.add_url_rule("/", "view", require_api_key(fine))
    guard = Guard(app, keys={"k": "a long secret key"})

    with guard.disabled(require_api_key):
        assert get(app).status == 200
    assert get(app).status == 401


def test_the_current_app_is_the_app(app: Flask) -> None:
    app.add_url_rule("/", "view", lambda: str(current_app.name == app.name))
    Guard(app)

    assert get(app).status == 200
