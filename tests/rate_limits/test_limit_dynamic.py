"""Rates that a callable gives for each request."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import uuid4

import pytest
from flask import Flask, Request, request
from flask.testing import FlaskClient

from flask_guard import ApiKey, ConfigError, Guard, current_api_key, limit, require_api_key

from ..conftest import MakeApp

KEYS = {
    "small-secret": ApiKey("small", rate="1/minute"),
    "large-secret": ApiKey("large", rate="3/minute; 100/hour"),
    "plain-secret": ApiKey("plain"),
}


def limited(app: Flask, rate: Any, **options: Any) -> FlaskClient:
    """Return a client of an app whose one view needs a key, and has the limit."""
    Guard(app, keys=KEYS.get)
    app.add_url_rule("/", "view", require_api_key(limit(rate, **{"by": "api_key", **options})(lambda: "")))
    return app.test_client()


def let_through(client: FlaskClient, key: str, tries: int = 5) -> int:
    """Return how many of some requests with `key` are answered."""
    return [client.get("/", headers={"X-API-Key": key}).status_code for _ in range(tries)].count(200)


def test_each_key_has_the_rate_of_its_own(app: Flask) -> None:
    client = limited(app, lambda: current_api_key.rate or "2/minute")

    assert [let_through(client, key) for key in KEYS] == [1, 3, 2]


def test_callable_may_take_the_request(app: Flask) -> None:
    def rate(request: Request) -> str:
        return request.args.get("rate", "1/minute")

    client = limited(app, rate, by="address")

    assert let_through(client, "plain-secret") == 1
    statuses = [client.get("/?rate=2/minute", headers={"X-API-Key": "plain-secret"}).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_fields_name_the_rate_of_the_request(app: Flask) -> None:
    client = limited(app, lambda: current_api_key.rate, shared="exports")

    answer = client.get("/", headers={"X-API-Key": "large-secret"})

    assert answer.headers["RateLimit-Policy"] == (
        '"exports-3-per-minute";q=3;w=60, "exports-100-per-hour";q=100;w=3600'
    )


@pytest.mark.parametrize("returned", [None, "", "often", 5, "0/minute", ["1/minute"], b"1/minute"])
def test_callable_that_returns_no_rate_lets_nobody_through(app: Flask, returned: Any) -> None:
    client = limited(app, lambda: returned)

    assert client.get("/", headers={"X-API-Key": "plain-secret"}).status_code == 500


class Rate(str):
    """A rate that counts how often it is parsed."""

    __slots__ = ()
    parsed: ClassVar[int] = 0

    def strip(self, chars: str | None = None) -> str:
        Rate.parsed += 1
        return super().strip(chars)


def test_each_distinct_text_is_parsed_once(app: Flask) -> None:
    Rate.parsed = 0
    client = limited(app, lambda: Rate("50/minute" if "odd" in request.args else "60/minute"), by="address")

    for path in ("/", "/?odd", "/", "/?odd", "/"):
        assert client.get(path, headers={"X-API-Key": "plain-secret"}).status_code == 200

    assert Rate.parsed == 2


@pytest.mark.slow
def test_endless_inventions_of_rates_are_all_counted(app: Flask) -> None:
    client = limited(app, lambda: f"{request.args['n']}/minute", by="address")
    headers = {"X-API-Key": "plain-secret"}

    for n in range(1, 1102):
        assert client.get(f"/?n={n}", headers=headers).status_code == 200
    assert [client.get("/?n=1", headers=headers).status_code, client.get("/?n=2", headers=headers).status_code] == [
        429,
        200,
    ]


@pytest.mark.parametrize("rate", ["4/day; 4/day", "4/day, 4 per 1 day"])
def test_a_rate_that_is_returned_twice_counts_once(app: Flask, rate: str) -> None:
    client = limited(app, lambda: rate, by="address", algorithm="moving-window")

    assert let_through(client, "plain-secret") == 4


@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"])
@pytest.mark.parametrize("rates", [("4/day", lambda: "4/day"), (lambda: "4/day", lambda: "4 per 1 day")])
def test_a_rate_that_another_of_the_limit_has_too_counts_once(
    make_app: MakeApp, redis_url: str, rates: tuple[Any, ...], algorithm: Any
) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=redis_url, RATELIMIT_KEY_PREFIX=uuid4().hex)
    Guard(app)
    app.add_url_rule("/", "view", limit(*rates, by="address", algorithm=algorithm)(lambda: ""))
    client = app.test_client()

    answers = [client.get("/") for _ in range(6)]

    assert [each.status_code for each in answers].count(200) == 4
    assert answers[0].headers["RateLimit-Policy"] == '"4-per-day";q=4;w=86400'


def test_a_callable_that_raises_lets_nobody_through(app: Flask) -> None:
    client = limited(app, lambda: str(1 / 0), by="address")

    assert client.get("/", headers={"X-API-Key": "plain-secret"}).status_code == 500


def test_fixed_and_dynamic_rates_stand_side_by_side(app: Flask) -> None:
    Guard(app)
    app.add_url_rule("/", "view", limit("2/minute", lambda: "5/minute", by="address")(lambda: ""))
    client = app.test_client()

    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]


def test_callable_that_needs_more_than_the_request_is_refused() -> None:
    with pytest.raises(ConfigError, match="must take the request, or nothing"):
        limit(lambda one, two: "1/minute", by="address")
