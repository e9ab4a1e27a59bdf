"""A `flask_limiter.Limiter` of the app's own is adopted; without one, nothing of Flask-Limiter's is installed."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from flask_guard import ConfigError, Guard, Policy, ban, limit
from tests.cases import together
from tests.ids import shown

from ...conftest import MakeApp

ORDERS = ["before", "after"]


def guarded(app: Flask, limiter: Limiter, order: str, *policies: Policy) -> FlaskClient:
    """Install a Guard and `limiter`, made before or after it, with an own view each, and return a client."""
    if order == "before":
        limiter.init_app(app)
    Guard(app, policies=policies)
    if order == "after":
        limiter.init_app(app)

    @app.get("/ours")
    @limiter.exempt
    @limit("2/day")
    def ours() -> str:
        return ""

    @app.get("/theirs")
    @limiter.limit("1/day")
    def theirs() -> str:
        return ""

    @app.get("/default")
    def default() -> str:
        return ""

    return app.test_client()


def a_limiter(**options: Any) -> Limiter:
    return Limiter(get_remote_address, **{"storage_uri": "memory://", **options})


def statuses(client: FlaskClient, path: str, count: int) -> list[int]:
    return [client.get(path).status_code for _ in range(count)]


@pytest.mark.parametrize("order", ORDERS)
def test_its_own_limits_go_on_working_beside_ours(app: Flask, order: str) -> None:
    client = guarded(app, a_limiter(default_limits=["3/day"]), order)

    assert statuses(client, "/ours", 3) == [200, 200, 429]
    assert statuses(client, "/theirs", 2) == [200, 429]
    assert statuses(client, "/default", 4) == [200, 200, 200, 429]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_our_limits_are_counted_in_its_storage(app: Flask, strategy: str, order: str) -> None:
    limiter = a_limiter(strategy=strategy)
    client = guarded(app, limiter, order)
    used_up = statuses(client, "/ours", 3)

    limiter.reset()

    assert used_up == [200, 200, 429]
    assert statuses(client, "/ours", 1) == [200]


@pytest.mark.parametrize("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_a_storage_that_only_limits_can_call_keeps_bans_and_charges_all_or_none(app: Flask, strategy: str) -> None:
    Limiter(get_remote_address, app=app, storage_uri="memory://", strategy=strategy)
    Guard(app, policies=[ban(after="3/minute", on=[404])])
    app.add_url_rule("/", "view", limit("5/day; 2/hour")(lambda: ""))
    client = app.test_client()

    answers = [client.get("/") for _ in range(3)]
    refused = [client.get("/nowhere").status_code for _ in range(4)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert '"5-per-day";r=3;' in answers[-1].headers["RateLimit"]
    assert refused == [404, 404, 404, 429]
    assert client.get("/").get_json()["type"].endswith("#abnormal-usage-detected")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("policies", [[], [limit("90/day", shared="everything")]], ids=shown)
def test_its_storage_wins_even_if_a_limit_was_known_before_it(
    make_app: MakeApp, redis_url: str, order: str, policies: list[Policy]
) -> None:
    prefix = uuid4().hex  # our limits are those of a program with this prefix
    clients = [
        guarded(make_app(RATELIMIT_KEY_PREFIX=prefix), a_limiter(storage_uri=redis_url), order, *policies)
        for _ in range(2)
    ]

    assert statuses(clients[0], "/ours", 2) == [200, 200]
    assert statuses(clients[1], "/ours", 1) == [429]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("policies", [[], [limit("90/day", shared="everything")]], ids=shown)
def test_its_arguments_are_not_changed_by_a_guard(app: Flask, order: str, policies: list[Policy]) -> None:
    limiter = a_limiter(enabled=False, default_limits=["1/day"])
    client = guarded(app, limiter, order, *policies)

    assert limiter.enabled is False
    assert statuses(client, "/default", 3) == [200] * 3


def test_limits_from_the_config_of_a_limiter_made_before_go_on_working(make_app: MakeApp) -> None:
    client = guarded(make_app(RATELIMIT_DEFAULT="2/day"), a_limiter(), "before", limit("9/day", shared="everything"))

    assert statuses(client, "/default", 3) == [200, 200, 429]


@pytest.mark.parametrize("key", ["RATELIMIT_DEFAULT", "RATELIMIT_APPLICATION", "RATELIMIT_META"])
def test_limits_that_nobody_would_enforce_are_refused_at_init_app(make_app: MakeApp, key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}.*Limiter"):
        Guard(make_app(**{key: "2/day"}), policies=[limit("5/day")])


def test_two_apps_with_a_limiter_each_count_apart(make_app: MakeApp) -> None:
    clients = [guarded(make_app(), a_limiter(), "before") for _ in range(2)]

    assert [statuses(client, "/ours", 3) for client in clients] == [[200, 200, 429]] * 2


def test_without_one_nothing_of_flask_limiter_is_installed(make_app: MakeApp) -> None:
    app, bare = make_app(RATELIMIT_HEADERS_ENABLED=True), make_app(RATELIMIT_HEADERS_ENABLED=True)
    Guard(bare)
    Guard(app, policies=[limit("1/day")])
    app.add_url_rule("/", "view", lambda: "")
    client = app.test_client()

    allowed, refused = client.get("/"), client.get("/")
    bare.test_client().get("/")

    def hooks(of: Flask) -> list[int]:
        kinds = (of.before_request_funcs, of.after_request_funcs, of.teardown_request_funcs)
        return [sum(map(len, kind.values())) for kind in kinds]

    assert (allowed.status_code, refused.status_code) == (200, 429)
    assert hooks(app) == hooks(bare)
    assert "limiter" not in app.extensions
    assert not [name for name in (*allowed.headers.keys(), *refused.headers.keys()) if name.startswith("X-RateLimit")]


def test_a_guard_leaves_the_config_of_the_app_as_it_was(app: Flask) -> None:
    before = dict(app.config)
    Guard(app, policies=[limit("1/day")])
    app.add_url_rule("/", "view", lambda: "")

    app.test_client().get("/")

    assert dict(app.config) == before


# Names and fields that both have ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_its_key_prefix_keeps_our_limits_of_two_apps_apart(make_app: MakeApp, redis_url: str, order: str) -> None:
    prefixes = [uuid4().hex, uuid4().hex]
    clients = [
        guarded(make_app(), a_limiter(storage_uri=redis_url, key_prefix=prefix), order)
        for prefix in (*prefixes, prefixes[0])
    ]

    assert [statuses(client, "/ours", 2) for client in clients] == [[200, 200], [200, 200], [429, 429]]


@pytest.mark.parametrize("order", ORDERS)
def test_its_memory_has_no_places_and_the_message_says_the_way_out(app: Flask, order: str) -> None:
    guarded(app, a_limiter(), order)

    with pytest.raises(ConfigError, match="storage_uri='guard-memory://'"):
        app.add_url_rule("/places", "places", limit.concurrent(1)(lambda: ""))


@pytest.mark.parametrize("order", ORDERS)
def test_the_way_out_works(make_app: MakeApp, order: str) -> None:
    client = guarded(make_app(GUARD_LIMIT_CLIENTS=5), a_limiter(storage_uri="guard-memory://"), order)
    client.application.add_url_rule("/places", "places", limit.concurrent(1)(lambda: iter(["one", "two"])))

    under_way = client.get("/places")
    refused = statuses(client, "/places", 1)
    under_way.close()

    assert refused == [429]
    assert statuses(client, "/places", 1) == [200]
    assert statuses(client, "/ours", 3) == [200, 200, 429]
    assert statuses(client, "/theirs", 2) == [200, 429]


@pytest.mark.slow
@together("order", ORDERS)
@together("inside", [False, True])
@together(("theirs", "ours", "tightest"), [(9, 3, 3), (3, 9, 3), (5, 5, 5)])
@together("wanted", ["both", "legacy"])
def test_fields_that_both_write_are_there_once_and_tell_of_the_tightest(
    make_app: MakeApp, order: str, inside: bool, theirs: int, ours: int, tightest: int, wanted: str
) -> None:
    app, limiter = make_app(GUARD_RATELIMIT_HEADERS=wanted), a_limiter(headers_enabled=True)
    policy = limit(f"{ours}/day")
    client = guarded(app, limiter, order)
    view = (lambda: str(policy.hit().remaining)) if inside else policy(lambda: "")
    app.add_url_rule("/both", "both", limiter.limit(f"{theirs}/day")(view))

    for left in range(tightest - 1, -1, -1):
        response = client.get("/both")

        assert response.status_code == 200
        for name, value in (("Limit", tightest), ("Remaining", left)):
            assert response.headers.getlist(f"X-RateLimit-{name}") == [str(value)]
        assert len(response.headers.getlist("X-RateLimit-Reset")) == 1

    refused = client.get("/both")
    assert (refused.status_code, refused.headers.getlist("X-RateLimit-Remaining")) == (429, ["0"])
    assert len(refused.headers.getlist("Retry-After")) == 1
