"""`limit`: who is counted, in which budget, and what one budget is."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, abort, request
from flask.testing import FlaskClient
from flask.views import MethodView

from flask_guard import ConfigError, Guard, Limit, cors, current_api_key, limit, protect, require_api_key
from tests.cases import together
from tests.ids import shown

from ..conftest import MakeApp
from ..storage_clock import Clock

KEYS = {"one": "secret-one", "two": "secret-two"}


def limited(app: Flask, *policies: Limit, methods: tuple[str, ...] = ("GET", "POST")) -> FlaskClient:
    """Guard `app` with one view that has `policies`, and return a client."""
    Guard(app)
    app.add_url_rule("/", "view", protect(lambda: "", *policies), methods=methods)
    return app.test_client()


def statuses(client: FlaskClient, count: int, path: str = "/", method: str = "GET", **request: Any) -> list[int]:
    """Return the status codes of `count` equal requests."""
    return [client.open(path, method=method, **request).status_code for _ in range(count)]


def of(address: str | None) -> dict[str, Any]:
    """Return the arguments of a request from `address`."""
    return {"environ_overrides": {"REMOTE_ADDR": address}}


# Rates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "let_through"),
    [
        ([limit("2/minute")], 2),
        ([limit("2 per 5 minutes")], 2),
        ([limit("5/minute; 3/hour")], 3),
        ([limit("3/minute, 5/hour, 2/day")], 2),
        ([limit("5/minute", "3/hour")], 3),
        ([limit("5/minute"), limit("3/hour")], 3),
        ([limit("3/minute"), limit("5/hour")], 3),
    ],
    ids=shown,
)
def test_a_client_must_keep_within_every_rate(app: Flask, policies: list[Limit], let_through: int) -> None:
    client = limited(app, *policies)

    assert statuses(client, let_through + 2) == [200] * let_through + [429] * 2


@pytest.mark.parametrize(
    "policies",
    [[limit("5/minute; 2/hour")], [limit("5/minute"), limit("2/hour")], [limit("2/hour"), limit("5/minute")]],
    ids=["two rates", "two limits", "two limits the other way round"],
)
def test_a_request_that_one_rate_refuses_is_charged_to_no_other(app: Flask, policies: list[Limit]) -> None:
    client = limited(app, *policies)
    last_allowed = [client.get("/") for _ in range(2)][-1]

    for _ in range(4):
        client.get("/")

    refused = client.get("/")
    assert re.findall(r'"5-per-minute[^"]*";r=(\d)', last_allowed.headers["RateLimit"]) == ["3"]
    assert refused.status_code == 429
    assert set(re.findall(r'"5-per-minute[^"]*";r=(\d)', refused.headers["RateLimit"])) <= {"3"}


def test_a_moving_window_that_would_keep_too_much_is_refused_with_what_to_write(make_app: MakeApp) -> None:
    message = r"keeps 100000 at most: write algorithm='sliding-window-counter'"
    with pytest.raises(ConfigError, match=message):
        limit("1000000/day", algorithm="moving-window")
    app = make_app(RATELIMIT_STRATEGY="moving-window")
    Guard(app, policies=[limit("1000000/day")])
    app.add_url_rule("/", "view", lambda: "")

    with pytest.raises(ConfigError, match=message):
        app.extensions["guard"].guard.plan_for("view")


def test_a_budget_is_there_again_when_its_window_is_over(app: Flask, clock: Clock) -> None:
    client = limited(app, limit("1/minute"))
    before = statuses(client, 2)
    clock.advance(60)

    assert before == [200, 429]
    assert statuses(client, 1) == [200]


# Who is counted --------------------------------------------------------------------------------------------------


@together(
    ("first", "second", "same"),
    [
        ("203.0.113.1", "203.0.113.1", True),
        ("203.0.113.1", "203.0.113.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:DB8:1:2::1", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.1", "203.0.113.1", True),
        ("::ffff:203.0.113.1", "::ffff:203.0.113.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        (None, None, True),
        (None, "", True),
        (None, "203.0.113.1", False),
        ("203.0.113.1:40001", "203.0.113.1:40002", True),
        ("203.0.113.1:40001", "203.0.113.1", True),
        ("203.0.113.1:40001", "203.0.113.2:40001", False),
        ("[2001:db8:1:2::1]:4000", "[2001:db8:1:2::9]:4001", True),
        ("[2001:db8:1:2::1]:4000", "2001:db8:1:2::1", True),
        ("[2001:db8:1:2::1]", "2001:db8:1:3::1", False),
        ("[::ffff:203.0.113.1]:4000", "203.0.113.1", True),
        ("64:ff9b::203.0.113.1", "203.0.113.1", True),
        ("64:ff9b::203.0.113.1", "64:ff9b::203.0.113.2", False),
        ("[64:ff9b::cb00:7101]:4000", "203.0.113.1", True),
        ("::1", "::1", True),
        ("client.example:40001", "client.example:40002", True),
        ("not an address", "not an address", True),
        ("not: an address", "not: another", False),
    ],
)
def test_by_address_counts_one_client_for_each_ipv4_address_or_ipv6_64(
    app: Flask, first: str | None, second: str | None, same: bool
) -> None:
    client = limited(app, limit("1/minute"))
    client.get("/", **of(first))

    assert client.get("/", **of(second)).status_code == (429 if same else 200)


def test_by_address_ignores_what_a_client_can_write_itself(app: Flask) -> None:
    client = limited(app, limit("1/minute"))

    answers = [client.get("/", headers={"X-Forwarded-For": f"203.0.113.{n}", "Forwarded": f"for={n}"}) for n in (1, 2)]

    assert [each.status_code for each in answers] == [200, 429]


def test_by_api_key_counts_each_key_from_wherever_it_comes(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS=KEYS)
    Guard(app, policies=[require_api_key])
    app.add_url_rule("/", "view", limit("1/minute", by="api_key")(lambda: current_api_key.id))
    client = app.test_client()
    one, two = {"X-API-Key": "secret-one"}, {"Authorization": "Bearer secret-two"}

    assert client.get("/", headers=one, **of("203.0.113.1")).status_code == 200
    assert client.get("/", headers=one, **of("203.0.113.2")).status_code == 429
    assert client.get("/", headers=two, **of("203.0.113.1")).status_code == 200


def test_by_api_key_counts_the_address_of_callers_without_a_key(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS=KEYS)
    Guard(app, policies=[require_api_key(optional=True)])
    app.add_url_rule("/", "view", limit("1/minute", by="api_key")(lambda: ""))
    client = app.test_client()

    assert statuses(client, 2, **of("203.0.113.1")) == [200, 429]
    assert statuses(client, 1, **of("203.0.113.2")) == [200]
    assert statuses(client, 2, headers={"X-API-Key": "secret-one"}, **of("203.0.113.1")) == [200, 429]


def test_by_api_key_never_takes_an_unverified_key_for_a_client(app: Flask) -> None:
    client = limited(app, limit("1/minute", by="api_key"))

    answers = [client.get("/", headers={"X-API-Key": f"invented-{n}"}) for n in range(2)]

    assert [each.status_code for each in answers] == [200, 429]


def test_a_key_id_that_looks_like_an_address_has_a_budget_of_its_own(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"203.0.113.1": "secret"})
    Guard(app, policies=[require_api_key(optional=True)])
    app.add_url_rule("/", "view", limit("1/minute", by="api_key")(lambda: ""))
    client = app.test_client()

    assert statuses(client, 1, **of("203.0.113.1")) == [200]
    assert statuses(client, 1, headers={"X-API-Key": "secret"}) == [200]


@pytest.mark.parametrize("by", [lambda: request.args["who"], lambda request: request.args["who"]], ids=["()", "(r)"])
def test_by_a_callable_counts_whom_it_names(app: Flask, by: Callable[..., str]) -> None:
    client = limited(app, limit("1/minute", by=by))

    assert statuses(client, 2, "/?who=a") == [200, 429]
    assert statuses(client, 2, "/?who=b") == [200, 429]


@together("who", ["a/b", "a:b", "a\nb", "a b", "ключ", "\udcff", "x" * 10_000, "203.0.113.1", "key:one", "%s{}"])
def test_whatever_a_callable_names_is_counted(app: Flask, who: str) -> None:
    client = limited(app, limit("1/minute", by=lambda: who))

    assert statuses(client, 2) == [200, 429]


def test_long_names_that_differ_only_at_the_end_are_two_clients(app: Flask) -> None:
    client = limited(app, limit("1/minute", by=lambda: "x" * 5000 + request.args["who"]))

    assert statuses(client, 1, "/?who=a") + statuses(client, 1, "/?who=b") == [200, 200]


@pytest.mark.parametrize("nobody", [None, ""], ids=shown)
def test_where_a_callable_names_nobody_the_address_counts(app: Flask, nobody: str | None) -> None:
    client = limited(app, limit("1/minute", by=lambda: nobody))

    assert statuses(client, 2, **of("203.0.113.1")) == [200, 429]
    assert statuses(client, 1, **of("203.0.113.2")) == [200]


@pytest.mark.parametrize("falsy", [0, False], ids=shown)
def test_a_falsy_name_is_a_name(app: Flask, falsy: object) -> None:
    client = limited(app, limit("1/minute", by=lambda: falsy))

    assert [*statuses(client, 1, **of("203.0.113.1")), *statuses(client, 1, **of("203.0.113.2"))] == [200, 429]


class Unspeakable:
    def __str__(self) -> str:
        raise LookupError("no name")


def no_such_user() -> str:
    raise LookupError("no such user")


@pytest.mark.parametrize("by", [no_such_user, Unspeakable], ids=["raises", "has no text"])
def test_where_a_callable_fails_the_address_counts_and_the_log_says_why(
    app: Flask, by: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    client = limited(app, limit("1/minute", by=by))

    assert statuses(client, 2, **of("203.0.113.1")) == [200, 429]
    assert statuses(client, 1, **of("203.0.113.2")) == [200]
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 3
    assert all("limit(by=…) failed" in each.getMessage() and each.exc_info for each in errors)


def test_a_callable_may_refuse_the_request(app: Flask) -> None:
    assert statuses(limited(app, limit("1/minute", by=lambda: abort(400))), 3) == [400] * 3


# Preflights, OPTIONS, HEAD ---------------------------------------------------------------------------------------


PREFLIGHT = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}


@pytest.mark.parametrize("headers", [PREFLIGHT, {}], ids=["preflight", "plain OPTIONS"])
@pytest.mark.parametrize("with_cors", [True, False])
def test_what_flask_or_cors_answers_to_options_is_not_counted(
    app: Flask, headers: dict[str, str], with_cors: bool
) -> None:
    Guard(app, policies=[cors(origins="https://app.example.com"), limit("1/minute", shared="all")] if with_cors else [])
    app.add_url_rule("/", "view", limit("1/minute")(lambda: ""))
    client = app.test_client()

    before = statuses(client, 3, method="OPTIONS", headers=headers)
    counted = statuses(client, 2)
    after = statuses(client, 1, method="OPTIONS", headers=headers)

    assert {*before, *after} <= {200, 204}
    assert counted == [200, 429]


@pytest.mark.parametrize("headers", [PREFLIGHT, {}], ids=["preflight", "plain OPTIONS"])
def test_options_that_the_view_answers_itself_is_counted(app: Flask, headers: dict[str, str]) -> None:
    client = limited(app, limit("1/minute"), methods=("GET", "OPTIONS"))

    assert statuses(client, 2, method="OPTIONS", headers=headers) == [200, 429]


@pytest.mark.parametrize("policy", [limit("2/minute"), limit("2/minute", methods=["GET"])], ids=shown)
def test_head_is_counted_with_get(app: Flask, policy: Limit) -> None:
    client = limited(app, policy)

    assert [client.head("/").status_code, client.get("/").status_code] == [200, 200]
    assert [client.head("/").status_code, client.get("/").status_code] == [429, 429]


def test_head_is_counted_with_get_where_a_method_of_a_class_is_limited(app: Flask) -> None:
    class Orders(MethodView):
        @limit("2/minute")
        def get(self) -> str:
            return ""

        def post(self) -> str:
            return ""

    Guard(app)
    app.add_url_rule("/", view_func=Orders.as_view("orders"))
    client = app.test_client()

    assert [client.head("/").status_code, client.get("/").status_code] == [200, 200]
    assert [client.head("/").status_code, client.get("/").status_code] == [429, 429]
    assert statuses(client, 3, method="POST") == [200] * 3
