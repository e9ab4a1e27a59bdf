"""`limit`: cost, methods, when, algorithm, shadow mode, and what is refused where it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from inspect import signature
from time import process_time
from typing import Any

import pytest
from flask import Blueprint, Flask, request
from flask.testing import FlaskClient
from flask_limiter import Limiter
from limits import RateLimitItem, parse_many

from flask_guard import ConfigError, Denied, Guard, Limit, limit, protect, request_would_be_denied
from flask_guard.rate_limits import rates
from tests.cases import together
from tests.ids import shown

from ..conftest import MakeApp
from ..storage_clock import Clock

ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]


def limited(app: Flask, *policies: Limit) -> FlaskClient:
    """Guard `app` with one view that has `policies`, and return a client."""
    Guard(app)
    app.add_url_rule("/", "view", protect(lambda: "", *policies), methods=["GET", "POST", "DELETE"])
    return app.test_client()


def statuses(client: FlaskClient, *paths: str, method: str = "GET") -> list[int]:
    """Return the status codes of requests to `paths`, one after the other."""
    return [client.open(path, method=method).status_code for path in paths]


def asked_cost() -> int:
    """Return the cost that the request names."""
    return int(request.args["cost"])


# Cost ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_request_counts_as_many_as_its_cost(app: Flask, algorithm: Any) -> None:
    client = limited(app, limit("10/day", cost=4, algorithm=algorithm))

    assert statuses(client, "/", "/", "/") == [200, 200, 429]


@pytest.mark.parametrize("cost", [asked_cost, lambda request: int(request.args["cost"])], ids=["()", "(request)"])
def test_a_callable_says_what_a_request_costs(app: Flask, cost: Callable[..., int]) -> None:
    client = limited(app, limit("10/day", cost=cost))

    assert statuses(client, "/?cost=3", "/?cost=7", "/?cost=1") == [200, 200, 429]


@pytest.mark.slow
@together("rates", ["10/day", "10/day; 100/day"])
@together("algorithm", ALGORITHMS)
@together("cost", [0, -1, -10, -(10**9)])
def test_no_cost_gives_anything_back(app: Flask, cost: int, algorithm: Any, rates: str) -> None:
    client = limited(app, limit(rates, cost=asked_cost, algorithm=algorithm))

    assert statuses(client, "/?cost=9", f"/?cost={cost}", "/?cost=1", f"/?cost={cost}", "/?cost=1")[-1] == 429


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("cost", [0, -1, -(10**9)])
def test_no_cost_opens_a_budget_that_is_used_up(
    app: Flask, cost: int, algorithm: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = limited(app, limit("2/day", cost=asked_cost, algorithm=algorithm))

    assert statuses(client, "/?cost=2", f"/?cost={cost}", f"/?cost={cost}") == [200, 429, 429]
    assert [str(cost) in each for each in caplog.messages if "gives anything back" in each] == [True] * (cost < 0)


def test_a_free_request_whose_charge_depends_on_the_response_is_not_charged(app: Flask) -> None:
    client = limited(app, limit("2/day", cost=asked_cost, deduct_when=lambda response: True))

    assert statuses(client, "/?cost=0", "/?cost=0", "/?cost=0", "/?cost=2", "/?cost=0") == [200] * 4 + [429]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_request_that_costs_more_than_there_is_is_refused_and_uses_nothing_up(app: Flask, algorithm: Any) -> None:
    client = limited(app, limit("10/day", cost=asked_cost, algorithm=algorithm))

    assert statuses(client, "/?cost=8", "/?cost=5", "/?cost=11", "/?cost=2", "/?cost=1") == [200, 429, 429, 200, 429]


@pytest.mark.parametrize("value", [None, "1", 1.5, True, float("nan")], ids=shown)
def test_a_callable_that_returns_no_whole_number_lets_nobody_through(app: Flask, value: Any) -> None:
    assert statuses(limited(app, limit("10/day", cost=lambda: value)), "/", "/") == [500, 500]


# Methods, when, algorithm ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("methods", [["POST", "DELETE"], {"post", "delete"}, ("Post", "Delete")], ids=shown)
def test_methods_says_which_requests_count(app: Flask, methods: Any) -> None:
    client = limited(app, limit("2/day", methods=methods))

    assert statuses(client, "/", "/", "/") == [200] * 3
    assert statuses(client, "/", method="POST") + statuses(client, "/", "/", method="DELETE") == [200, 200, 429]
    assert statuses(client, "/") == [200]


@pytest.mark.parametrize("when", [lambda: "free" not in request.args, lambda request: "free" not in request.args])
def test_when_says_which_requests_count(app: Flask, when: Callable[..., object]) -> None:
    client = limited(app, limit("1/day", when=when))

    assert statuses(client, "/?free", "/?free", "/", "/", "/?free") == [200, 200, 200, 429, 200]


def test_a_when_that_raises_lets_nobody_through(app: Flask) -> None:
    def when() -> bool:
        raise LookupError("no such plan")

    assert statuses(limited(app, limit("1/day", when=when)), "/", "/") == [500, 500]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_lets_through_what_the_rate_says(app: Flask, algorithm: Any) -> None:
    client = limited(app, limit("3/day", algorithm=algorithm))

    assert statuses(client, *["/"] * 5) == [200] * 3 + [429] * 2


@pytest.mark.parametrize(("config", "option"), [({"RATELIMIT_STRATEGY": "moving-window"}, None), ({}, "moving-window")])
def test_a_moving_window_frees_a_place_when_its_own_request_is_a_window_old(
    make_app: MakeApp, clock: Clock, config: dict[str, Any], option: Any
) -> None:
    client = limited(make_app(**config), limit("2/minute", algorithm=option))

    first = statuses(client, "/")
    clock.advance(40)
    second = statuses(client, "/", "/")
    clock.advance(21)  # a fixed window would have begun anew, with two places

    assert (first, second) == ([200], [200, 429])
    assert statuses(client, "/", "/") == [200, 429]


# Shadow mode -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "config"), [("report", {}), (None, {"GUARD_MODES": {"limit": "report"}})])
def test_in_shadow_every_request_passes_and_what_would_be_denied_is_told(
    make_app: MakeApp, mode: Any, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(**config)
    client = limited(app, limit("1/day", mode=mode))
    told: list[tuple[str, str, int | None]] = []

    def listen(_sender: object, denial: Denied, **_: object) -> None:
        told.append((denial.policy, denial.reason, denial.code))

    with request_would_be_denied.connected_to(listen, app):
        answers = [client.get("/") for _ in range(3)]

    assert [each.status_code for each in answers] == [200] * 3
    assert told == [("limit", "exceeded", 429)] * 2
    assert "Retry-After" not in answers[-1].headers
    assert "GET / would be denied by limit (exceeded)" in caplog.messages


# What is refused where it is written -----------------------------------------------------------------------------


@together(
    "rate",
    ["", "  ", "10", "ten/minute", "10/fortnight", "0/minute", "10/0 minutes", "-1/minute", "1.5/minute", "10/minute;",
     "10/minute; 0/hour", "10//minute", "10/minute\r\nX: y", b"10/minute", 10, None, ["10/minute"]],
)  # fmt: skip
def test_a_rate_that_cannot_be_meant_is_refused(rate: Any) -> None:
    with pytest.raises(ConfigError, match="rate") as caught:
        limit(rate)

    assert "10/minute" in str(caught.value), "the message shows how to write one"


def a_function_of_two(first: object, second: object) -> str:
    return f"{first}{second}"


async def an_async_function() -> int:
    return 1


@together(
    ("options", "error"),
    [
        ({"rate": "1/day"}, TypeError),
        ({"per_method": True}, TypeError),
        ({"cost": 0}, ConfigError),
        ({"cost": -1}, ConfigError),
        ({"cost": True}, ConfigError),
        ({"cost": 1.5}, ConfigError),
        ({"cost": 11}, ConfigError),
        ({"cost": a_function_of_two}, ConfigError),
        ({"cost": an_async_function}, ConfigError),
        ({"by": "adress"}, ConfigError),
        ({"by": 5}, ConfigError),
        ({"by": None}, ConfigError),
        ({"by": a_function_of_two}, ConfigError),
        ({"by": an_async_function}, ConfigError),
        ({"shared": ""}, ConfigError),
        ({"shared": "two words"}, ConfigError),
        ({"shared": 'quo"ted'}, ConfigError),
        ({"shared": "line\nbreak"}, ConfigError),
        ({"shared": "größe"}, ConfigError),
        ({"shared": True}, ConfigError),
        ({"methods": []}, ConfigError),
        ({"methods": ["GET POST"]}, ConfigError),
        ({"methods": [5]}, ConfigError),
        ({"methods": ["PSOT"]}, ConfigError),
        ({"when": True}, ConfigError),
        ({"when": a_function_of_two}, ConfigError),
        ({"when": an_async_function}, ConfigError),
        ({"algorithm": "leaky-bucket"}, ConfigError),
        ({"headers": "no"}, ConfigError),
        ({"partition_key": "me"}, ConfigError),
        ({"on_store_error": "open"}, ConfigError),
        ({"deduct_when": 401}, ConfigError),
        ({"mode": "shadow"}, ConfigError),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_by_name(options: dict[str, Any], error: type[Exception]) -> None:
    (option,) = options
    for policy in (limit, limit("10/day")):
        with pytest.raises(error, match=rf"^limit\({option}=|^limit\(\) has no option '{option}'"):
            policy("10/day", **options)


@together(
    ("option", "hint"),
    [
        ("key_func", "Write by="),
        ("exempt_when", "Write when=, which says the opposite"),
        ("per_method", "on each method of a MethodView"),
        ("error_message", "errorhandler(429)"),
        ("on_breach", "errorhandler(429)"),
        ("scope", "Write shared="),
        ("scope_func", "Write shared="),
        ("override_defaults", "the nearest limit replaces outer ones"),
        ("strategy", "Write algorithm="),
        ("limit_value", "limit('10/minute')"),
        ("key_prefix", "RATELIMIT_KEY_PREFIX"),
        ("storage_uri", "RATELIMIT_STORAGE_URI"),
        ("algoritm", "did you mean 'algorithm'?"),
    ],
)
def test_an_option_that_flask_limiter_has_gets_a_hint(option: str, hint: str) -> None:
    with pytest.raises(TypeError, match=rf"no option '{option}'.*{re.escape(hint)}"):
        limit("10/day", **{option: "x"})  # type: ignore[call-overload]


def test_every_option_of_flask_limiter_is_known_or_hinted_at() -> None:
    theirs = {*signature(Limiter.limit).parameters, *signature(Limiter.shared_limit).parameters} - {"self"}
    ours = {each.name for each in fields(limit)}

    assert {name for name in theirs - ours if not limit.hint(name)} == set()


def test_a_rate_is_parsed_once_where_it_is_written(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []

    def noting(text: str) -> list[RateLimitItem]:
        parsed.append(text)
        return parse_many(text)

    monkeypatch.setattr(rates, "parse_many", noting)
    policy = limit("2/second; 10/day")(by="api_key")
    client = limited(app, policy(headers=False))

    assert statuses(client, "/", "/") == [200, 200]
    assert parsed == ["2/second; 10/day"]


@pytest.mark.parametrize(
    "rate", ["1/minute" + " " * 800 + "!", "1 per" + " " * 5000 + "x", "9" * 5000 + "/day", "1/day;" * 500 + "1/day"]
)
def test_a_long_rate_is_refused_at_once(rate: str) -> None:
    before = process_time()

    with pytest.raises(ConfigError, match="rate"):
        limit(rate)

    assert process_time() - before < 0.5  # of the processor's time: it took seconds


def test_blanks_in_a_rate_do_not_matter() -> None:
    assert limit("  10   per  2 \t minutes ;  5/hour ").items() == limit("10 per 2 minutes; 5/hour").items()


@pytest.mark.parametrize("policy", [limit, limit(), limit(by="api_key")], ids=["bare", "called", "with options"])
def test_a_limit_without_a_rate_is_refused_wherever_it_is_applied(app: Flask, policy: Limit) -> None:
    targets: list[Callable[[], object]] = [
        lambda: policy(lambda: ""),
        lambda: protect(Blueprint("api", "api"), policy),
        lambda: protect(app, policy),
        lambda: Guard(app, policies=[policy]),
    ]
    for apply in targets:
        with pytest.raises(ConfigError, match="needs a rate"):
            apply()


@pytest.mark.parametrize("rates", [["4/minute; 4/minute"], ["4/minute", "4/minute"], ["4/minute", "4 per 1 minute"]])
def test_the_same_rate_twice_in_one_limit_is_refused(rates: list[str]) -> None:
    with pytest.raises(ConfigError, match="has one rate twice"):
        limit(*rates)


def test_the_same_limit_twice_on_one_target_is_refused_with_both_places() -> None:
    with pytest.raises(ConfigError, match=r"(?s)test_limit_options\.py:\d+.*test_limit_options\.py:\d+"):
        limit("1/day")(limit("1/day")(lambda: ""))
