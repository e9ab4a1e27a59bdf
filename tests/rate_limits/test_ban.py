"""`ban`: who is denied often is denied everything for a while."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, Request, abort, request
from flask.testing import FlaskClient

from flask_guard import Banned, Guard, Policy, ban, client_banned, limit, protect, request_denied, require_api_key

from ..conftest import MakeApp, free_port
from ..storage_clock import Clock
from .structured_fields import fields, is_jittered

HOME, WORK = "203.0.113.1", "203.0.113.2"
ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter"]
THRICE = ban(after="3/minute", on=401, lasting="1h")


def answer() -> str:
    if status := request.args.get("status", type=int):
        abort(status)
    return "served"


def guarded(app: Flask, *policies: Policy, **guard: Any) -> FlaskClient:
    """Guard `app` by `policies`, with a view that answers as asked, and return a client."""
    Guard(app, policies=policies, **guard)
    app.add_url_rule("/", "view", answer, methods=["GET", "POST", "OPTIONS"])
    return app.test_client()


def statuses(client: FlaskClient, *paths: str, address: str = HOME, method: str = "GET", **request: Any) -> list[int]:
    """Return the statuses of requests from one address, one after the other."""
    environ = {"REMOTE_ADDR": address}
    return [client.open(path, method=method, environ_overrides=environ, **request).status_code for path in paths]


@contextmanager
def bans_told(app: Flask) -> Iterator[list[tuple[str, int, str]]]:
    """Yield what the signal says: the identity, the seconds, and the path."""
    told: list[tuple[str, int, str]] = []

    def listen(_sender: object, identity: str, seconds: int, request: Request) -> None:
        told.append((identity, seconds, request.path))

    with client_banned.connected_to(listen, app):
        yield told


# Who is banned, from what, for how long --------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ALGORITHMS)
def test_who_uses_the_rate_up_is_denied_everything_and_nobody_else(make_app: MakeApp, strategy: str) -> None:
    client = guarded(make_app(RATELIMIT_STRATEGY=strategy), THRICE)

    assert statuses(client, "/?status=401", "/", "/?status=401", "/", "/?status=401") == [401, 200, 401, 200, 401]
    assert statuses(client, "/", "/?status=401", "/nowhere", "/static/none") == [429] * 4
    assert statuses(client, "/", method="OPTIONS") + statuses(client, "/", method="DELETE") == [429, 429]
    assert statuses(client, "/", "/?status=401", address=WORK) == [200, 401]


def test_only_the_statuses_that_it_is_on_count(app: Flask) -> None:
    client = guarded(app, ban(after="2/minute", on=[403, 404], lasting="1h"))

    assert statuses(client, *["/?status=401"] * 5, *["/?status=500"] * 5)[-1] == 500
    assert statuses(client, "/nowhere", "/?status=403", "/") == [404, 403, 429]


def test_by_default_refusals_count(app: Flask) -> None:
    client = guarded(app, ban(after="3/minute"))

    assert statuses(client, "/?status=401", "/?status=403", "/?status=429", "/") == [401, 403, 429, 429]
    assert "banned" not in client.get("/", environ_overrides={"REMOTE_ADDR": WORK}).text


def test_an_unhandled_exception_counts_as_the_500_that_it_is(app: Flask) -> None:
    app.add_url_rule("/broken", "broken", lambda: str(1 / 0))
    client = guarded(app, ban(after="2/minute", on=500))

    assert statuses(client, "/broken", "/broken", "/broken") == [500, 500, 429]


def test_it_ends_when_it_has_lasted_and_what_it_denies_neither_extends_nor_repeats_it(app: Flask, clock: Clock) -> None:
    client = guarded(app, ban(after="2/minute", on=[401, 429], lasting="2m"))

    with bans_told(app) as told:
        banned = statuses(client, "/?status=401", "/?status=401", "/", "/", "/")
        clock.advance(72)
        still = statuses(client, "/", "/", "/")
        clock.advance(50)

    assert (banned, still) == ([401, 401, 429, 429, 429], [429] * 3)
    assert len(told) == 1
    assert statuses(client, "/", "/?status=401", "/") == [200, 401, 200]


def test_what_led_to_it_is_forgotten_once_it_is_in_force(app: Flask, clock: Clock) -> None:
    client = guarded(app, ban(after="3/day; 2/hour", on=401, lasting="1m"))
    banned = statuses(client, "/?status=401", "/?status=401", "/")

    clock.advance(61)

    assert banned == [401, 401, 429]
    assert statuses(client, "/?status=401", "/", "/?status=401", "/") == [401, 200, 401, 429]


@pytest.mark.parametrize(
    ("lasting", "seconds"), [(90, 90), ("90", 90), ("1h", 3600), ("1d12h", 129600), (timedelta(minutes=5), 300)]
)
def test_its_length_is_written_as_one_likes(app: Flask, lasting: Any, seconds: int) -> None:
    client = guarded(app, ban(after="1/minute", on=401, lasting=lasting))
    statuses(client, "/?status=401")

    response = client.get("/", environ_overrides={"REMOTE_ADDR": HOME})

    assert is_jittered(response.headers["Retry-After"], seconds)


def test_requests_at_once_that_all_fail_ban_once(app: Flask) -> None:
    together = threading.Barrier(8, timeout=10)

    def fail() -> str:
        together.wait()
        abort(401)

    app.add_url_rule("/fail", "fail", fail)
    guarded(app, THRICE)

    with bans_told(app) as told, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.test_client().get("/fail").status_code, range(8)))

    assert answers == [401] * 8
    assert 1 <= len(told) <= 2


# What the client, the log and the signals see --------------------------------------------------------------------


def test_the_answer_is_a_problem_document_with_retry_after_and_no_fields_of_limits(app: Flask) -> None:
    client = guarded(app, ban(after="1/minute", on=401, lasting="1h"))
    client.get("/?status=401")

    response = client.get("/")

    assert (response.status_code, response.mimetype) == (429, "application/problem+json")
    assert json.loads(response.text) == {
        "type": "https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "Too many requests of this client were refused.",
    }
    assert is_jittered(response.headers["Retry-After"], 3600)
    assert not {"RateLimit", "RateLimit-Policy"} & {*response.headers.keys()}


def test_a_ban_is_signalled_and_logged_once_with_whom_it_is_about(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    client = guarded(app, THRICE)

    with bans_told(app) as told:
        statuses(client, *["/?status=401"] * 6)

    assert told == [(HOME, 3600, "/")]
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert HOME in record.getMessage()
    assert "3600 s" in record.getMessage()


def test_what_it_denies_is_a_denial_of_its_own_kind(app: Flask) -> None:
    client, denials = guarded(app, THRICE), []

    def listen(_sender: object, denial: object, **_: object) -> None:
        denials.append(denial)

    with request_denied.connected_to(listen, app):
        statuses(client, *["/?status=401"] * 4)

    (denial,) = denials
    assert isinstance(denial, Banned)
    assert (denial.policy, denial.reason) == ("ban", "banned")


def test_error_handlers_of_the_app_render_it(app: Flask) -> None:
    client = guarded(app, ban(after="1/minute", on=401))
    app.register_error_handler(Banned, lambda error: ("go away", error.code))

    statuses(client, "/?status=401")

    response = client.get("/", environ_overrides={"REMOTE_ADDR": HOME})
    assert (response.status_code, response.text) == (429, "go away")
    assert response.headers["Retry-After"]


# With other policies ---------------------------------------------------------------------------------------------


def test_a_banned_client_is_not_counted_by_the_limits_beside_it(app: Flask) -> None:
    client = guarded(app, THRICE, limit("9/day", shared="all"))
    statuses(client, *["/?status=401"] * 6)

    ((name, now),) = fields(client.get("/", environ_overrides={"REMOTE_ADDR": HOME}))[1]

    assert (name, now["r"]) == ("all-9-per-day", 6)


def test_who_goes_on_past_a_limit_is_banned(app: Flask) -> None:
    app.add_url_rule("/limited", "limited", limit("1/minute")(lambda: ""))
    client = guarded(app, ban(after="2/minute", on=429))

    assert statuses(client, "/limited", "/limited", "/", "/limited", "/") == [200, 429, 200, 429, 429]


def test_who_tries_bad_keys_is_banned_from_everything(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    app.add_url_rule("/keyed", "keyed", require_api_key(lambda: "keyed"))
    client = guarded(app, THRICE)

    assert statuses(client, *["/keyed"] * 3, headers={"X-API-Key": "guess"}) == [401] * 3
    assert statuses(client, "/keyed", "/", headers={"X-API-Key": "secret"}) == [429, 429]


def test_by_api_key_the_key_is_banned_wherever_it_is_used(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"one": "secret-one", "two": "secret-two"})
    client = guarded(app, require_api_key, ban(after="2/minute", on=403, by="api_key"))
    one, two = {"X-API-Key": "secret-one"}, {"X-API-Key": "secret-two"}

    assert statuses(client, "/?status=403", "/?status=403", headers=one) == [403, 403]
    assert statuses(client, "/", headers=one, address=WORK) + statuses(client, "/", headers=two) == [429, 200]


def test_by_a_callable_whom_it_names_is_banned(app: Flask) -> None:
    client = guarded(app, ban(after="1/minute", on=401, by=lambda: request.args.get("who")))

    assert statuses(client, "/?who=a&status=401", "/?who=a", "/?who=b", "/") == [401, 429, 200, 200]
    assert statuses(client, "/?who=a", address=WORK) == [429]


def test_by_a_callable_that_refuses_nobody_is_banned(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    client = guarded(app, ban(after="1/minute", on=401, by=lambda: request.args.get("who") or abort(401)))

    assert statuses(client, "/", "/", "/") == [401] * 3
    assert statuses(client, "/?who=a") == [200]
    assert caplog.records == []


def test_a_when_that_raises_loses_no_response(app: Flask) -> None:
    @app.after_request
    def outermost(response: Any) -> Any:
        response.headers["X-Outermost"] = "reached"
        return response

    def broken() -> bool:
        raise ZeroDivisionError

    client = guarded(app, ban(after="1/minute", on=500, when=broken))

    response = client.get("/")
    assert (response.status_code, response.headers.get("X-Outermost")) == (500, "reached")


@pytest.mark.parametrize("on_error", ["local", "allow", "deny"])
def test_without_its_storage_it_does_what_on_store_error_says(make_app: MakeApp, on_error: Any) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{free_port()}/0")
    client = guarded(app, ban(after="2/minute", on=401, on_store_error=on_error))

    answers = statuses(client, "/?status=401", "/?status=401", "/", "/")

    assert answers == {"local": [401, 401, 429, 429], "allow": [401, 401, 200, 200], "deny": [503] * 4}[on_error]


def test_hooks_before_the_guard_count_too(app: Flask) -> None:
    app.before_request(lambda: ("closed", 401) if "closed" in request.args else None)
    client = guarded(app, ban(after="2/minute", on=401))

    assert statuses(client, "/?closed", "/?closed", "/") == [401, 401, 429]


def test_one_on_a_view_is_not_needed_for_one_on_the_app_to_ban_from_it(app: Flask) -> None:
    app.add_url_rule("/own", "own", protect(answer, ban(after="9/minute", on=500)))
    client = guarded(app, THRICE)

    assert statuses(client, *["/own?status=401"] * 3, "/own", "/") == [401] * 3 + [429, 429]
