"""What a client sees while the limit store fails, and once it is back: under each `on_store_error`, never a 500."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_guard import Guard, limit

from ...conftest import MakeApp, free_port
from .conftest import FAULTS, RECOVERY, RedisServer, Reports, seconds_until, seconds_until_back

pytestmark = pytest.mark.slow

RATE = "3/day"
SEEN = {"local": [200, 200, 200, 429, 429], "allow": [200] * 5, "deny": [503] * 5}

in_any_fault = pytest.mark.parametrize("fault", FAULTS)
under_each = pytest.mark.parametrize("on_store_error", ["local", "allow", "deny"])


def limited(app: Flask, rate: str = RATE, on_store_error: Any = None) -> FlaskClient:
    """Return a client of `app`, whose one view has a limit."""
    Guard(app)
    app.add_url_rule("/", "view", limit(rate, on_store_error=on_store_error)(lambda: "served"))
    return app.test_client()


def statuses(client: FlaskClient, count: int) -> list[int]:
    """Return the statuses of the answers to requests."""
    return [client.get("/").status_code for _ in range(count)]


def remaining(response: TestResponse) -> int:
    """Return what the RateLimit field says that is left."""
    return int(response.headers["RateLimit"].partition(";r=")[2].partition(";")[0])


def counted(server: RedisServer) -> int:
    """Return how many requests are counted in the store."""
    names = server.command("KEYS", "*LIMITER/view:view/127.0.0.1/1000000/1/day*")
    return int(server.command("GET", names[0])) if names else 0


@in_any_fault
@under_each
@pytest.mark.parametrize("where", ["policy", "config"])
def test_what_a_client_sees_is_what_on_store_error_says(
    make_app: MakeApp, server: RedisServer, reports: Reports, fault: str, on_store_error: str, where: str
) -> None:
    if where == "policy":
        client = limited(make_app(RATELIMIT_STORAGE_URI=server.storage_uri), on_store_error=on_store_error)
    else:
        client = limited(make_app(RATELIMIT_STORAGE_URI=server.storage_uri, GUARD_ON_STORE_ERROR=on_store_error))
    assert statuses(client, 1) == [200]

    server.break_down(fault)
    answers = [client.get("/") for _ in range(5)]

    assert [each.status_code for each in answers] == SEEN[on_store_error]
    assert (reports.downs, reports.signals) == (1, ["down"])
    if on_store_error == "local":
        assert [remaining(each) for each in answers] == [2, 1, 0, 0, 0]
        assert int(answers[-1].headers["Retry-After"]) > 0
    for each in answers if on_store_error == "deny" else []:
        problem = json.loads(each.text)
        assert int(each.headers["Retry-After"]) > 0
        assert problem["type"].endswith("#temporary-reduced-capacity")
        assert "127.0.0.1" not in each.text


def test_by_default_limits_are_counted_locally(make_app: MakeApp, server: RedisServer) -> None:
    client = limited(make_app(RATELIMIT_STORAGE_URI=server.storage_uri))

    server.kill()

    assert statuses(client, 5) == SEEN["local"]


@in_any_fault
def test_a_store_that_is_back_counts_within_five_seconds_from_where_it_was(
    make_app: MakeApp, server: RedisServer, reports: Reports, fault: str
) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=server.storage_uri)
    client = limited(app, "1000000/day")
    statuses(client, 40)
    server.break_down(fault)
    statuses(client, 5)
    kept = 0 if fault in ("killed", "read-only replica") else 40  # a replica has what its main server has: nothing

    server.mend(fault)
    assert seconds_until_back(client, reports) < RECOVERY
    before = counted(server)
    response = client.get("/")

    assert counted(server) == before + 1
    assert remaining(response) == 1000000 - before - 1
    assert kept <= before <= kept + 2  # a command that had timed out reaches a server that hung, and is counted late
    assert reports.signals == ["down", "up"]
    assert reports.senders == {app}
    assert (reports.downs, reports.ups) == (1, 1)


def test_each_failure_is_told_once_however_many_meet_it(
    make_app: MakeApp, server: RedisServer, reports: Reports
) -> None:
    client = limited(make_app(RATELIMIT_STORAGE_URI=server.storage_uri), "1000000/day")
    statuses(client, 1)

    for number in range(1, 3):
        server.break_down("out of memory")
        statuses(client, 30)
        server.mend("out of memory")
        seconds_until_back(client, reports, number)
        assert (reports.downs, reports.ups) == (number, number)

    assert reports.signals == ["down", "up"] * 2


def test_a_store_restarted_empty_counts_anew_and_nobody_notices_more(
    make_app: MakeApp, server: RedisServer, reports: Reports
) -> None:
    client = limited(make_app(RATELIMIT_STORAGE_URI=server.storage_uri))
    assert statuses(client, 4) == [200, 200, 200, 429]

    def counted_by_the_store() -> bool:
        statuses(client, 1)  # which asks whether it is back
        return reports.downs == reports.ups and statuses(client, 1) == [429]

    server.restart_empty()
    seconds_until(counted_by_the_store)

    assert set(statuses(client, 3)) == {429}
    assert reports.downs == reports.ups <= 1


@under_each
def test_an_app_whose_store_is_down_from_the_start_serves_and_counts_there_later(
    make_app: MakeApp, server: RedisServer, reports: Reports, on_store_error: str
) -> None:
    server.kill()
    client = limited(make_app(RATELIMIT_STORAGE_URI=server.storage_uri), on_store_error=on_store_error)

    assert statuses(client, 5) == SEEN[on_store_error]
    server.start()
    seconds_until_back(client, reports)

    assert statuses(client, 4)[-1] == 429
    assert server.command("DBSIZE") > 0


def test_views_without_a_limit_are_served_as_ever(make_app: MakeApp) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{free_port()}/0")
    client = limited(app, on_store_error="deny")
    app.add_url_rule("/open", "open", lambda: "open")

    assert [client.get(path).status_code for path in ("/", "/open")] == [503, 200]


@pytest.mark.parametrize("password", ["hunter2", "p@ss/word"])
def test_no_password_of_the_store_is_logged(
    make_app: MakeApp, server: RedisServer, caplog: pytest.LogCaptureFixture, password: str
) -> None:
    server.command("CONFIG", "SET", "requirepass", "another")
    uri = server.storage_uri.replace("redis://", f"redis://:{quote(password, safe='')}@")
    client = limited(make_app(RATELIMIT_STORAGE_URI=uri))

    with caplog.at_level(logging.DEBUG):
        assert statuses(client, 5) == SEEN["local"]

    assert "the limit store is down" in caplog.text
    assert password not in caplog.text
