"""A Redis that answers, and takes long for it: behind a proxy that holds up each answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from flask_guard import Guard, limit, protect, require_api_key

from ...conftest import MakeApp
from .conftest import RedisServer, Reports, seconds_until
from .slow_proxy import SlowProxy

KEY = {"X-API-Key": "a long random secret"}


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[SlowProxy]:
    with SlowProxy(server.port) as made:
        yield made


@pytest.fixture
def app(make_app: MakeApp, proxy: SlowProxy) -> Flask:
    """Return an app with a view whose requests ask four times, which has asked the store already."""
    app = make_app(
        RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{proxy.port}/0",
        GUARD_API_KEYS={"ci": "a long random secret"},
        GUARD_LIMIT_SLOW_MS=50,
    )
    Guard(app)
    by_address = limit("90/day", deduct_when=lambda response: True)
    policies = [by_address, require_api_key, limit("80/day", by="api_key")]
    app.add_url_rule("/", "view", protect(lambda: str(limit("70/day").hit().remaining), *policies))
    assert app.test_client().get("/", headers=KEY).status_code == 200
    return app


@pytest.mark.slow
def test_a_request_waits_for_one_slow_answer_and_after_three_none_waits_until_it_is_fast_again(
    app: Flask, proxy: SlowProxy, reports: Reports
) -> None:
    client = app.test_client()
    proxy.delay = 0.1

    waited = []
    for _ in range(5):
        before = proxy.answers
        assert client.get("/", headers=KEY).status_code == 200
        waited.append(proxy.answers - before)

    assert (max(waited), waited[3:]) == (1, [0, 0])
    assert reports.signals == ["down"]

    proxy.delay = 0.0
    seconds_until(lambda: client.get("/", headers=KEY).status_code == 200 and reports.ups == 1, 20)
    assert reports.signals == ["down", "up"]


@pytest.mark.slow
def test_an_answer_just_under_the_timeout_of_old_counts_as_none(app: Flask, proxy: SlowProxy, reports: Reports) -> None:
    client = app.test_client()
    proxy.delay = 0.24

    answers = [client.get("/", headers=KEY) for _ in range(5)]

    assert [each.status_code for each in answers] == [200] * 5
    assert (reports.downs, proxy.answers) == (1, 1)
