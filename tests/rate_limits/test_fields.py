"""What `limit` tells a client: `RateLimit-Policy`, `RateLimit` and `Retry-After`, and the problem document of a 429."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient

from flask_guard import Guard, Limit, limit, protect, require_api_key
from tests.ids import shown

from ..conftest import MakeApp
from .structured_fields import fields, is_jittered, whole

ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]


def limited(app: Flask, *policies: Limit) -> FlaskClient:
    """Guard `app` with views that have `policies`, and return a client."""

    def crash() -> str:
        raise ZeroDivisionError

    Guard(app)
    app.add_url_rule("/", "view", protect(lambda: "", *policies))
    app.add_url_rule("/abort/<int:code>", "abort", protect(lambda code: abort(code), *policies))
    app.add_url_rule("/crash", "crash", protect(crash, *policies))
    return app.test_client()


@pytest.mark.parametrize(
    ("rates", "policy", "now"),
    [
        (["10/minute"], '"10-per-minute";q=10;w=60', '"10-per-minute";r=9;t=60'),
        (["2 per 5 minutes"], '"2-per-5-minutes";q=2;w=300', '"2-per-5-minutes";r=1;t=300'),
        (
            ["10/minute; 100/hour"],
            '"10-per-minute";q=10;w=60, "100-per-hour";q=100;w=3600',
            '"10-per-minute";r=9;t=60, "100-per-hour";r=99;t=3600',
        ),
    ],
)
def test_the_fields_are_written_as_the_draft_has_them(app: Flask, rates: list[str], policy: str, now: str) -> None:
    response = limited(app, limit(*rates)).get("/")

    assert response.headers.getlist("RateLimit-Policy") == [policy]
    assert response.headers.getlist("RateLimit") == [now]
    assert "Retry-After" not in response.headers


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_remaining_counts_down_to_nothing_and_stays_there(app: Flask, algorithm: Any) -> None:
    client = limited(app, limit("3/day", algorithm=algorithm))

    answers = [client.get("/") for _ in range(5)]

    assert [fields(each)[1][0][1]["r"] for each in answers] == [2, 1, 0, 0, 0]
    assert {each.headers["RateLimit-Policy"] for each in answers} == {'"3-per-day";q=3;w=86400'}


@pytest.mark.slow
@pytest.mark.parametrize("rate", ["1/second", "1/minute", "1/day"])
@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window"])
def test_nobody_is_told_to_wait_longer_than_the_window(app: Flask, rate: str, algorithm: Any) -> None:
    client = limited(app, limit(rate, algorithm=algorithm))

    for n in range(150):
        for _ in range(2):
            response = client.get("/", environ_overrides={"REMOTE_ADDR": f"203.0.113.{n}"})
            (policy,), (now,) = fields(response)
            assert 0 <= whole(now, "t") <= whole(policy, "w")
        assert is_jittered(response.headers["Retry-After"], whole(now, "t"))


@pytest.mark.parametrize(
    "policies",
    [
        [limit("5/minute; 100/hour")],
        [limit("5/minute"), limit("100/hour")],
        [limit("5/minute"), limit("100/hour", shared="everything")],
        [limit("5/minute"), limit("5/minute", by=lambda: "me")],
        [limit("5/minute", shared="one"), limit("5/minute", shared="two")],
    ],
    ids=shown,
)
def test_all_limits_of_a_request_are_in_one_field_each_under_names_that_tell_them_apart(
    app: Flask, policies: list[Limit]
) -> None:
    policy, now = fields(limited(app, *policies).get("/"))

    names = [name for name, _ in policy]
    assert len(set(names)) == len(names) == 2
    assert [name for name, _ in now] == names
    assert all(set(parameters) == {"q", "w"} for _, parameters in policy)
    assert all(set(parameters) == {"r", "t"} for _, parameters in now)


def test_a_shared_limit_is_named_after_its_budget(app: Flask) -> None:
    policy, _ = fields(limited(app, limit("5/minute", shared="exports")).get("/"))

    assert [name for name, _ in policy] == ["exports-5-per-minute"]


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/abort/404", 404), ("/abort/403", 403), ("/crash", 500)])
def test_the_fields_are_on_every_answer(app: Flask, path: str, status: int) -> None:
    response = limited(app, limit("5/minute")).get(path)

    assert response.status_code == status
    assert fields(response)[1][0][1]["r"] == 4


def test_the_fields_are_on_what_a_later_policy_denies(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    Guard(app, policies=[require_api_key])

    response = limited_below(app, limit("5/minute")).get("/")

    assert response.status_code == 401
    assert fields(response)[1][0][1]["r"] == 4


def limited_below(app: Flask, policy: Limit) -> FlaskClient:
    """Give `app`, which is guarded already, one view with `policy`, and return a client."""
    app.add_url_rule("/", "view", policy(lambda: ""))
    return app.test_client()


def test_a_429_is_a_problem_document_that_names_what_is_used_up(app: Flask) -> None:
    client = limited(app, limit("2/minute"))

    response = [client.get("/") for _ in range(3)][-1]

    problem = json.loads(response.text)
    (policy,), (now,) = fields(response)
    assert response.status_code == 429
    assert response.headers["Content-Type"] == "application/problem+json"
    assert problem.pop("detail") == f"The limit of 2 per 1 minute is used up. Try again in {whole(now, 't')} s."
    assert problem == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "violated-policies": ["2-per-minute"],
    }
    assert 59 <= whole(now, "t") <= 60
    assert is_jittered(response.headers["Retry-After"], whole(now, "t"))
    assert (policy, now[0], now[1]["r"]) == (("2-per-minute", {"q": 2, "w": 60}), "2-per-minute", 0)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "spread"), [("1/minute", 7), ("1/day", 31)])
def test_clients_are_not_all_told_to_come_back_at_once(app: Flask, rate: str, spread: int) -> None:
    client = limited(app, limit(rate))
    client.get("/")

    delays = set()
    random.seed(5)  # one run in 700 would meet no delay of 0
    for _ in range(200):
        refused = client.get("/")
        delays.add(int(refused.headers["Retry-After"]) - whole(fields(refused)[1][0], "t"))

    assert min(delays) == 0
    assert spread // 2 < len(delays) <= spread


@pytest.mark.parametrize(
    ("rates", "violated", "longest"), [("5/minute; 2/hour", ["2-per-hour"], 3600), ("2/minute; 5/hour", None, 60)]
)
def test_only_the_rates_without_room_are_named_and_waited_for(
    app: Flask, rates: str, violated: list[str] | None, longest: int
) -> None:
    client = limited(app, limit(rates))

    response = [client.get("/") for _ in range(3)][-1]

    assert json.loads(response.text)["violated-policies"] == (violated or ["2-per-minute"])
    waits = {item[0]: whole(item, "t") for item in fields(response)[1]}
    wait = max(waits[name] for name in json.loads(response.text)["violated-policies"])
    assert longest - 1 <= wait <= longest
    assert is_jittered(response.headers["Retry-After"], wait)
    assert len(waits) == 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_retry_after_is_never_earlier_than_the_reset_of_what_is_used_up(app: Flask, algorithm: Any) -> None:
    client = limited(app, limit("2/minute; 3/hour", cost=2, algorithm=algorithm))

    response = [client.get("/") for _ in range(2)][-1]

    violated = json.loads(response.text)["violated-policies"]
    resets = [whole(item, "t") for item in fields(response)[1] if item[0] in violated]
    assert violated == ["2-per-minute", "3-per-hour"]
    assert int(response.headers["Retry-After"]) >= max(resets)


def test_a_client_that_prefers_html_gets_html_with_the_same_fields(app: Flask) -> None:
    client = limited(app, limit("1/minute"))

    response = [client.get("/", headers={"Accept": "text/html"}) for _ in range(2)][-1]

    assert (response.status_code, response.mimetype) == (429, "text/html")
    assert fields(response)[1][0][1]["r"] == 0
    assert int(response.headers["Retry-After"]) >= 1


def test_an_error_handler_of_the_app_renders_and_the_fields_survive_it(app: Flask) -> None:
    client = limited(app, limit("1/minute"))
    app.register_error_handler(429, lambda error: (f"ours: {error.code}", 429))

    response = [client.get("/") for _ in range(2)][-1]

    assert response.text == "ours: 429"
    assert fields(response)[1][0][1]["r"] == 0
    assert int(response.headers["Retry-After"]) >= 1


def test_headers_false_sends_no_fields_but_retry_after(app: Flask) -> None:
    client = limited(app, limit("1/minute", headers=False))

    allowed, refused = client.get("/"), client.get("/")

    assert (allowed.status_code, refused.status_code) == (200, 429)
    assert not {"RateLimit", "RateLimit-Policy"} & {*allowed.headers.keys(), *refused.headers.keys()}
    assert int(refused.headers["Retry-After"]) >= 1


def test_a_limit_with_headers_false_is_left_out_of_the_fields_of_the_others(app: Flask) -> None:
    policy, now = fields(limited(app, limit("5/minute"), limit("7/hour", headers=False)).get("/"))

    assert [name for name, _ in policy] == [name for name, _ in now] == ["5-per-minute"]


def test_what_is_not_limited_has_no_fields(app: Flask) -> None:
    client = limited(app, limit("5/minute", when=lambda: False))
    app.view_functions["abort"] = lambda code: str(code)

    for response in (client.get("/"), client.options("/"), client.get("/nowhere")):
        assert "RateLimit" not in response.headers
        assert "RateLimit-Policy" not in response.headers
