"""Which fields limits write: `GUARD_RATELIMIT_HEADERS`, Flask-Limiter's names, and partition keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_guard import ConfigError, Guard, Limit, Policy, cors, limit, protect
from tests.cases import together

from ..conftest import MakeApp
from .structured_fields import fields, whole

DRAFT = {"RateLimit-Policy", "RateLimit"}
LEGACY = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
OURS = {
    "RATELIMIT_HEADER_LIMIT": "X-Most",
    "RATELIMIT_HEADER_REMAINING": "X-Left",
    "RATELIMIT_HEADER_RESET": "X-Again-At",
}


def limited(app: Flask, *policies: Policy) -> FlaskClient:
    Guard(app)
    app.add_url_rule("/", "view", protect(lambda: "", *policies))
    return app.test_client()


def names_in(response: TestResponse) -> set[str]:
    """Return the names of the fields that say where the client stands, each of which must be there once."""
    every = [name for name, _ in response.headers if "ratelimit" in name.lower() or name in OURS.values()]
    assert len(every) == len(set(every))
    return set(every)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, DRAFT),
        ({"GUARD_RATELIMIT_HEADERS": "draft"}, DRAFT),
        ({"GUARD_RATELIMIT_HEADERS": "legacy"}, LEGACY),
        ({"GUARD_RATELIMIT_HEADERS": "both"}, DRAFT | LEGACY),
        ({"GUARD_RATELIMIT_HEADERS": "draft", **OURS}, DRAFT),
        ({"GUARD_RATELIMIT_HEADERS": "legacy", **OURS}, set(OURS.values())),
        ({"GUARD_RATELIMIT_HEADERS": "both", **OURS}, DRAFT | set(OURS.values())),
        ({"GUARD_RATELIMIT_HEADERS": "legacy", "RATELIMIT_HEADER_LIMIT": None}, LEGACY),
    ],
    ids=lambda value: "+".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_the_config_says_which_fields_are_written(make_app: MakeApp, config: dict[str, Any], names: set[str]) -> None:
    app = make_app(**config)
    app.add_url_rule("/inside", "inside", lambda: str(limit("5/day").hit()))
    client = limited(app, limit("1/minute"))

    for response in (client.get("/"), client.get("/"), client.get("/inside")):
        assert names_in(response) == names


def test_the_older_fields_tell_of_the_limit_with_the_least_left_and_when_it_is_reset(make_app: MakeApp) -> None:
    client = limited(make_app(GUARD_RATELIMIT_HEADERS="legacy"), limit("50/minute"), limit("2/hour"))

    answers = [client.get("/") for _ in range(3)]

    assert [each.headers["X-RateLimit-Limit"] for each in answers] == ["2"] * 3
    assert [each.headers["X-RateLimit-Remaining"] for each in answers] == ["1", "0", "0"]
    assert all(3598 <= int(each.headers["X-RateLimit-Reset"]) - time.time() <= 3600 for each in answers)
    assert int(answers[-1].headers["Retry-After"]) >= 3599


@pytest.mark.parametrize("config", ["draft", "legacy", "both"])
def test_a_limit_with_headers_false_writes_none_of_them(make_app: MakeApp, config: str) -> None:
    client = limited(make_app(GUARD_RATELIMIT_HEADERS=config), limit("1/day", headers=False))

    assert [names_in(client.get("/")) for _ in range(2)] == [set(), set()]


@pytest.mark.parametrize("config", ["draft", "legacy", "both"])
def test_fields_that_the_view_wrote_give_way(make_app: MakeApp, config: str) -> None:
    app = make_app(GUARD_RATELIMIT_HEADERS=config)
    Guard(app)
    theirs = {"RateLimit": "theirs", "ratelimit-policy": "theirs", "x-ratelimit-limit": "theirs"}
    app.add_url_rule("/", "view", limit("7/day")(lambda: ("", theirs)))

    response = app.test_client().get("/")

    ours = {"draft": DRAFT, "legacy": LEGACY, "both": DRAFT | LEGACY}[config]
    assert all("theirs" not in response.headers.getlist(name) for name in ours)


@together("name", ["X Most", "X-Most:", "X-Most\r\nSet-Cookie", "größe", 5, ["X-Most"]])
@together("key", OURS)
def test_a_name_that_no_field_can_have_is_refused_at_init_app(make_app: MakeApp, key: str, name: Any) -> None:
    with pytest.raises(ConfigError, match=f"{key} must be the name of a header field"):
        Guard(make_app(**{key: name}))


@pytest.mark.parametrize("value", ["new", "", None, True])
def test_a_choice_that_there_is_not_is_refused_at_init_app(make_app: MakeApp, value: Any) -> None:
    with pytest.raises(ConfigError, match="GUARD_RATELIMIT_HEADERS must be one of 'draft', 'legacy', 'both'"):
        Guard(make_app(GUARD_RATELIMIT_HEADERS=value))


# Partition keys --------------------------------------------------------------------------------------------------


def partition(client: FlaskClient, address: str, **headers: str) -> bytes:
    """Return the partition key of a client at `address`, which must be that of both fields."""
    response = client.get("/", environ_overrides={"REMOTE_ADDR": address}, headers=headers)
    ((_, policy),), ((_, now),) = fields(response)
    key = now["pk"]
    assert isinstance(key, bytes)
    assert policy["pk"] == key
    return key


def test_a_partition_key_tells_clients_apart_and_does_not_name_them(app: Flask) -> None:
    client = limited(app, limit("9/day", partition_key=True, by=("address", lambda r: r.headers.get("X-User"))))

    keys = [partition(client, address) for address in ("203.0.113.1", "203.0.113.1", "203.0.113.2")]
    ada = partition(client, "203.0.113.1", **{"X-User": "ada"})

    assert keys[0] == keys[1]
    assert len({*keys, ada}) == 3
    assert not any(b"203" in key or b"ada" in key for key in (*keys, ada))


def test_without_being_asked_nobody_is_told_of_partitions(app: Flask) -> None:
    client = limited(app, limit("9/day", partition_key=True), limit("9/hour"))

    policy, now = fields(client.get("/"))

    assert [set(parameters) for _, parameters in policy] == [{"q", "w", "pk"}, {"q", "w"}]
    assert [set(parameters) for _, parameters in now] == [{"r", "t", "pk"}, {"r", "t"}]


@pytest.mark.parametrize("who", ["ключ", 'quo"ted\\', "a\r\nSet-Cookie: b=c", "x" * 10_000, "\udcff"], ids=ascii)
def test_whoever_is_counted_the_fields_stay_well_formed(app: Flask, who: str) -> None:
    response = limited(app, limit("9/day", partition_key=True, by=lambda: who)).get("/")

    ((_, policy),), ((name, now),) = fields(response)
    assert (name, now["r"], policy["q"]) == ("9-per-day", 8, 9)
    assert "Set-Cookie" not in response.headers


# The largest and the smallest ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["999999999999999/second", "1/second", "1 per 999999 year", "1/month"])
def test_numbers_stay_within_what_the_fields_can_carry(app: Flask, rate: str) -> None:
    client = limited(app, limit(rate))

    for response in (client.get("/"), client.get("/")):
        ((_, policy),), (now,) = fields(response)
        assert 1 <= whole(("", policy), "q") < 10**15
        assert 1 <= whole(("", policy), "w") < 10**15
        assert 0 <= whole(now, "r") < 10**15
        assert 0 <= whole(now, "t") <= whole(("", policy), "w")


@pytest.mark.parametrize("rate", ["1000000000000000/second", "1 per 99999999999 years"])
def test_a_rate_beyond_them_is_refused_where_it_is_written(rate: str) -> None:
    with pytest.raises(ConfigError, match="has a number beyond"):
        limit(rate)


def test_a_dynamic_rate_beside_a_fixed_one_is_another_item(app: Flask) -> None:
    policy: Limit = limit("9/day", lambda: "5/day", by="address")

    assert [name for name, _ in fields(limited(app, policy).get("/"))[0]] == ["9-per-day", "5-per-day"]


@pytest.mark.parametrize("limited_inside", [False, True], ids=["on the view", "inside the view"])
def test_pages_of_other_origins_may_read_them_wherever_the_limit_is_written(app: Flask, limited_inside: bool) -> None:
    Guard(app, policies=[cors(origins="https://app.example.com")])
    policy = limit("9/day")
    view: Callable[[], str] = (lambda: str(policy.hit().remaining)) if limited_inside else policy(lambda: "8")
    app.add_url_rule("/", "view", view)

    response = app.test_client().get("/", headers={"Origin": "https://app.example.com"})

    assert response.text == "8"
    exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    assert {*DRAFT, "Retry-After"} <= set(exposed)
