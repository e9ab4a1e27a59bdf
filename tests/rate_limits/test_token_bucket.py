"""`limit(algorithm="token-bucket")`: a steady rate with bursts, in each storage, alone and beside other policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient
from flask_limiter import Limiter

from flask_guard import ConfigError, Guard, Limit, Policy, ban, current_api_key, limit, protect, require_api_key

from ..cli.conftest import guard_command, listed
from ..conftest import MakeApp, free_port
from ..storage_clock import Clock
from .structured_fields import fields, is_jittered
from .unlistable import Unlistable

BUCKET = limit("1/hour", burst=5, algorithm="token-bucket")
KEY = {"X-API-Key": "secret"}
RATES = {"ci": "1/hour", "shop": "4/day"}


@pytest.fixture(params=["memory", "sqlite", "redis"])
def app(request: pytest.FixtureRequest, make_app: MakeApp, tmp_path: Path) -> Flask:
    """Return an app that counts in each of the storages."""
    config: dict[str, Any] = {"RATELIMIT_KEY_PREFIX": uuid4().hex}
    if request.param == "sqlite":
        config["RATELIMIT_STORAGE_URI"] = f"sqlite:///{tmp_path}/limits.db?timeout=20"
    if request.param == "redis":
        config["RATELIMIT_STORAGE_URI"] = request.getfixturevalue("redis_url")
    return make_app(**config, GUARD_API_KEYS={"ci": "secret", "shop": "another"})


def limited(app: Flask, *policies: Policy, view: Any = lambda: "served", **guard: Any) -> FlaskClient:
    """Guard `app` with one view that has `policies`, and return a client."""
    Guard(app, **guard)
    app.add_url_rule("/", "view", protect(view, *policies) if policies else view)
    return app.test_client()


def statuses(client: FlaskClient, times: int, path: str = "/", **request: Any) -> list[int]:
    return [client.get(path, **request).status_code for _ in range(times)]


def test_a_burst_passes_and_the_fields_and_retry_after_are_those_of_the_rate(app: Flask) -> None:
    client = limited(app, BUCKET)

    answers = [client.get("/") for _ in range(6)]

    assert [each.status_code for each in answers] == [200] * 5 + [429]
    for remaining, each in zip([4, 3, 2, 1, 0, 0], answers, strict=True):
        policy, standing = fields(each)
        assert policy == [("1-per-hour-burst-5", {"q": 5, "w": 5 * 3600})]
        ((_, parameters),) = standing
        assert parameters["r"] == remaining
        assert 3590 <= int(parameters["t"]) <= 3600
    problem = json.loads(answers[-1].text)
    assert is_jittered(answers[-1].headers["Retry-After"], int(fields(answers[-1])[1][0][1]["t"]))
    assert problem["violated-policies"] == ["1-per-hour-burst-5"]
    assert "1 per 1 hour in bursts of 5" in problem["detail"]


def test_without_a_burst_it_is_the_number_of_the_rate(app: Flask) -> None:
    client = limited(app, limit("3/hour", algorithm="token-bucket"))

    answers = [client.get("/") for _ in range(4)]

    assert [each.status_code for each in answers] == [200] * 3 + [429]
    assert fields(answers[-1])[0] == [("3-per-hour", {"q": 3, "w": 3600})]
    assert 1190 <= int(answers[-1].headers["Retry-After"]) <= 1200 + 30 + 90


@pytest.mark.parametrize("uri", ["memory://", "sqlite:///{}/limits.db"])
def test_after_a_pause_so_many_pass_as_the_rate_says_and_a_burst_at_most(
    make_app: MakeApp, tmp_path: Path, clock: Clock, uri: str
) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=uri.format(tmp_path))
    client = limited(app, limit("1/minute", burst=3, algorithm="token-bucket"))
    seen = [statuses(client, 4)]

    for seconds in (60, 125, 3600):
        clock.advance(seconds)
        seen.append(statuses(client, 4))

    assert [each.count(200) for each in seen] == [3, 1, 2, 3]


def test_a_request_takes_as_much_as_it_costs(app: Flask) -> None:
    client = limited(app, BUCKET(cost=lambda: int(request.args["cost"])))

    assert [client.get(f"/?cost={cost}").status_code for cost in (3, 3, 2, 1)] == [200, 429, 200, 429]


def test_a_view_asks_and_counts_inside(app: Flask) -> None:
    def view() -> str:
        before = BUCKET.peek()
        after = BUCKET.hit(cost=2)
        return f"{before.remaining} {after.remaining} {after.rate}"

    client = limited(app, view=view)

    assert [client.get("/").text for _ in range(2)] == [
        "5 3 1 per 1 hour in bursts of 5",
        "3 1 1 per 1 hour in bursts of 5",
    ]
    assert client.get("/").status_code == 429


def test_only_what_deserves_it_is_charged(app: Flask) -> None:
    def view() -> Response:
        return Response(status=int(request.args["status"]))

    client = limited(app, BUCKET(burst=2, deduct_when=lambda response: response.status_code == 401), view=view)

    assert statuses(client, 4, "/?status=200") == [200] * 4
    assert statuses(client, 3, "/?status=401") == [401, 401, 429]
    assert statuses(client, 1, "/?status=200") == [429]


def test_beside_others_all_are_charged_or_none(app: Flask) -> None:
    narrow = limit("3/hour", algorithm="moving-window")
    client = limited(app, BUCKET, narrow, limit("2/hour", burst=9, algorithm="token-bucket"), limit.concurrent(9))

    answers = [client.get("/") for _ in range(5)]

    assert [each.status_code for each in answers] == [200] * 3 + [429] * 2
    left = {name: parameters["r"] for name, parameters in fields(answers[-1])[1]}
    assert left == {"1-per-hour-burst-5": 2, "3-per-hour": 0, "2-per-hour-burst-9": 6, "9-at-once": 9}


def test_a_ban_follows_refusals(app: Flask) -> None:
    client = limited(app, BUCKET(burst=1), policies=[ban(after="2/hour", on=429)])

    answers = [client.get("/") for _ in range(4)]

    assert [each.status_code for each in answers] == [200, 429, 429, 429]
    assert json.loads(answers[-1].text)["type"].endswith("#abnormal-usage-detected")


def test_a_shared_bucket_is_one_for_all_that_is_under_it(app: Flask) -> None:
    client = limited(app, policies=[BUCKET(shared="api")])

    assert [*statuses(client, 3), *statuses(client, 3, "/nowhere")] == [200, 200, 200, 404, 404, 429]
    assert fields(client.get("/"))[0][0][0] == "api-1-per-hour-burst-5"


def test_a_key_has_its_own_rate_with_the_burst_of_the_limit(app: Flask) -> None:
    by_key = limit(lambda: RATES[current_api_key.id], by="api_key", burst=2, algorithm="token-bucket")
    client = limited(app, require_api_key, by_key)

    answers = [client.get("/", headers=KEY) for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert fields(answers[0])[0] == [("1-per-hour-burst-2", {"q": 2, "w": 7200})]
    assert fields(client.get("/", headers={"X-API-Key": "another"}))[0] == [
        ("4-per-day-burst-2", {"q": 2, "w": 43_200})
    ]


def test_a_callable_that_returns_two_rates_lets_nobody_through(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    client = limited(app, limit(lambda: "1/hour; 5/day", by="address", burst=2, algorithm="token-bucket"))

    assert client.get("/").status_code == 500
    assert "limit(burst=…) is for one rate" in caplog.text


def test_in_report_mode_nobody_is_denied(app: Flask) -> None:
    client = limited(app, BUCKET(burst=1, mode="report"))

    assert statuses(client, 3) == [200] * 3


def test_the_older_fields_tell_of_the_burst(app: Flask) -> None:
    app.config["GUARD_RATELIMIT_HEADERS"] = "legacy"
    answer = limited(app, BUCKET).get("/")

    assert [answer.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining")] == ["5", "4"]


def test_support_sees_and_clears_it(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"sqlite:///{tmp_path}/limits.db?timeout=20")
    client = limited(app, BUCKET)
    statuses(client, 3)

    (seen,) = listed(guard_command(app, "limits", "status", "--key", "127.0.0.1", "--json"))
    guard_command(app, "limits", "reset", "--key", "127.0.0.1", "--yes")

    assert 3590 <= seen.pop("available_in") <= 3600
    assert seen == {
        "client": "127.0.0.1",
        "scope": "view:view",
        "kind": "limit",
        "rate": "1 per 1 hour in bursts of 5",
        "algorithm": "token-bucket",
        "remaining": 2,
        "seconds": 5 * 3600,
    }
    assert statuses(client, 6) == [200] * 5 + [429]


def test_while_its_storage_is_down_it_is_counted_in_this_process(make_app: MakeApp) -> None:
    client = limited(make_app(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{free_port()}/0"), BUCKET)

    assert statuses(client, 6) == [200] * 5 + [429]


# Refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"burst": 5}, r"limit\(burst=5\) is for a token bucket: write algorithm='token-bucket' beside it"),
        ({"burst": 5, "algorithm": "moving-window"}, "is for a token bucket"),
        ({"burst": 0, "algorithm": "token-bucket"}, r"burst.* must be a whole number of at least 1, not 0"),
        ({"burst": -1, "algorithm": "token-bucket"}, "whole number"),
        ({"burst": True, "algorithm": "token-bucket"}, "whole number"),
        ({"burst": 1.5, "algorithm": "token-bucket"}, "whole number"),
        ({"burst": 10**15, "algorithm": "token-bucket"}, "a token bucket of 2 per 1 second holds at most"),
        ({"burst": 5, "algorithm": "token-bucket", "cost": 6}, r"limit\(cost=6\) never fits into a limit of 5"),
        ({"algorithm": "token-buckets"}, "did you mean 'token-bucket'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        limit("2/second", **options)


SEVERAL: list[list[Any]] = [["2/second; 9/day"], ["2/second", "9/day"], ["2/second", lambda: "9/day"]]


@pytest.mark.parametrize("rates", SEVERAL, ids=["in one text", "in two", "with a callable"])
def test_a_burst_is_for_one_rate(rates: list[Any]) -> None:
    with pytest.raises(ConfigError, match=r"limit\(burst=5\) is for one rate.*write a limit for each"):
        limit(*rates, by="address", burst=5, algorithm="token-bucket")


def test_a_cost_may_exceed_the_rate_where_the_burst_has_room() -> None:
    assert limit("2/second", burst=50, cost=20, algorithm="token-bucket").cost == 20


def test_several_rates_without_a_burst_are_a_bucket_each(make_app: MakeApp) -> None:
    client = limited(make_app(), limit("9/hour; 3/day", algorithm="token-bucket"))

    assert statuses(client, 4) == [200, 200, 200, 429]


@pytest.mark.parametrize("other", [{}, {"algorithm": "moving-window"}], ids=["the app's", "another"])
def test_one_shared_budget_is_not_counted_in_two_ways(make_app: MakeApp, other: Any) -> None:
    app = make_app()
    Guard(app)
    app.testing = True

    def build() -> None:
        app.add_url_rule("/a", "a", BUCKET(shared="all")(lambda: "served"))
        app.add_url_rule("/b", "b", limit("9/day", shared="all", **other)(lambda: "served"))
        app.test_client().get("/a")

    with pytest.raises(ConfigError, match=r"is counted by .*'token-bucket'"):
        build()


def test_the_memory_of_an_adopted_limiter_has_none_and_the_message_says_the_way_out(make_app: MakeApp) -> None:
    app = make_app()
    Limiter(lambda: "client", app=app, storage_uri="memory://")

    with pytest.raises(ConfigError, match=r"algorithm='token-bucket'\).*storage_uri='guard-memory://'"):
        Guard(app, policies=[BUCKET]).plan_for("static")


def test_a_storage_that_only_limits_can_call_has_none(make_app: MakeApp) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"{Unlistable.STORAGE_SCHEME[0]}://")

    with pytest.raises(ConfigError, match=r"algorithm='token-bucket'\) counts in memory, SQLite or Redis"):
        limited(app, BUCKET).get("/")


def test_as_the_strategy_of_the_app_it_is_refused(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError, match="RATELIMIT_STRATEGY must be one of"):
        Guard(make_app(RATELIMIT_STRATEGY="token-bucket"))


def test_its_options_show_in_its_repr() -> None:
    assert isinstance(BUCKET, Limit)
    assert "burst=5" in repr(BUCKET)
