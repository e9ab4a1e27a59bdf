"""How often Redis is asked, as it counts itself: once for each request, whatever limits reach that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_guard import Guard, Policy, limit, protect

from ...conftest import MakeApp
from .conftest import RedisServer

pytestmark = pytest.mark.slow

REQUESTS = 20
SCRIPTS = ("evalsha", "eval", "fcall")


def three(rate: str, algorithm: Any) -> list[Policy]:
    """Return three limits, which act next to each other."""
    return [
        limit(rate, algorithm=algorithm),
        limit("1000/hour", algorithm=algorithm),
        limit("10000/day", shared="all", algorithm=algorithm),
    ]


@pytest.fixture
def client_with(make_app: MakeApp, server: RedisServer) -> Callable[[list[Policy]], FlaskClient]:
    """Return a function that makes a client, which has sent a request and so has set everything up."""

    def make(policies: list[Policy]) -> FlaskClient:
        app: Flask = make_app(RATELIMIT_STORAGE_URI=server.storage_uri)
        Guard(app)
        app.add_url_rule("/", "view", protect(lambda: "served", *policies))
        client = app.test_client()
        assert client.get("/").status_code == 200
        server.command("CONFIG", "RESETSTAT")
        return client

    return make


@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"])
@pytest.mark.parametrize(("rate", "status"), [("100/minute", 200), ("1/minute", 429)], ids=["let through", "refused"])
def test_three_limits_with_headers_take_one_script_call_a_request(
    client_with: Callable[[list[Policy]], FlaskClient], server: RedisServer, rate: str, status: int, algorithm: str
) -> None:
    client = client_with(three(rate, algorithm))

    answers = [client.get("/") for _ in range(REQUESTS)]

    calls = server.calls()
    assert {each.status_code for each in answers} == {status}
    assert all(each.headers["RateLimit"].count(";r=") == 3 for each in answers)
    assert {name: calls[name] for name in SCRIPTS if name in calls} == {"evalsha": REQUESTS}


def test_nothing_else_is_sent(client_with: Callable[[list[Policy]], FlaskClient], server: RedisServer) -> None:
    """What a script calls is counted like what a client sends, so this one is watched."""
    import redis

    client = client_with(three("100/minute", "fixed-window"))
    with redis.Redis.from_url(server.uri) as watching, watching.monitor() as monitor:
        for _ in range(3):
            client.get("/")
        server.command("ECHO", "the end")
        seen = []
        for each in monitor.listen():
            if each["command"].startswith("ECHO"):
                break
            if each["client_type"] != "lua":
                seen.append(each["command"].split()[0])

    of_the_test = {"CLIENT", "HELLO"}
    assert [name for name in seen if name not in of_the_test] == ["EVALSHA"] * 3


def test_a_server_that_has_forgotten_the_script_is_told_it_once(
    client_with: Callable[[list[Policy]], FlaskClient], server: RedisServer
) -> None:
    client = client_with(three("100/minute", "fixed-window"))
    server.command("SCRIPT", "FLUSH")
    server.command("CONFIG", "RESETSTAT")

    answers = [client.get("/").status_code for _ in range(REQUESTS)]

    calls = server.calls()
    assert answers == [200] * REQUESTS
    assert calls["eval"] == 1
    assert calls["evalsha"] in (REQUESTS - 1, REQUESTS)
