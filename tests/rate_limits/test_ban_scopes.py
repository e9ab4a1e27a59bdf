"""`ban`: scopes, exemption, allow-lists, shadow mode, and what is refused where it is written."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, abort, request
from flask.testing import FlaskClient
from flask.views import MethodView

from flask_guard import (
    Denied,
    Guard,
    ban,
    exempt,
    limit,
    protect,
    request_would_be_denied,
)

from ..conftest import MakeApp
from .test_ban import HOME, WORK, answer, bans_told, guarded, statuses

TWICE = ban(after="2/minute", on=401, lasting="1h")
PREFLIGHT = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}


# Scopes ----------------------------------------------------------------------------------------------------------


EVERYWHERE = ["/view", "/nowhere", "/api/view", "/api/nowhere", "/api/v1/view", "/api/v1/nowhere"]


@pytest.fixture
def shop(app: Flask) -> Flask:
    """Return an app with views at three scopes, which is not guarded yet."""
    outer, inner = Blueprint("api", __name__, url_prefix="/api"), Blueprint("v1", __name__, url_prefix="/v1")
    for each in (app, outer, inner):
        each.add_url_rule("/fail", "fail", lambda: abort(401))
        each.add_url_rule("/view", "view", lambda: "served")
    app.extensions["shop"] = (outer, inner)
    return app


def register(shop: Flask, scope: str) -> FlaskClient:
    """Put a ban at `scope`, and return a client."""
    outer, inner = shop.extensions.pop("shop")
    Guard(shop, policies=[TWICE] if scope == "app" else [])
    if scope in ("api", "api.v1"):
        protect(outer if scope == "api" else inner, TWICE)
    outer.register_blueprint(inner)
    shop.register_blueprint(outer)
    return shop.test_client()


@pytest.mark.parametrize(
    ("scope", "fails_at", "banned_from"),
    [
        ("app", "/api/v1/fail", EVERYWHERE),
        ("app", "/fail", EVERYWHERE),
        ("api", "/api/fail", EVERYWHERE[2:]),
        ("api", "/api/v1/fail", EVERYWHERE[2:]),
        ("api.v1", "/api/v1/fail", EVERYWHERE[4:]),
        ("api", "/fail", []),
        ("api.v1", "/api/fail", []),
    ],
)
def test_a_ban_is_from_all_that_is_under_its_scope(
    shop: Flask, scope: str, fails_at: str, banned_from: list[str]
) -> None:
    client = register(shop, scope)

    statuses(client, fails_at, fails_at)

    assert [path for path in EVERYWHERE if statuses(client, path) == [429]] == banned_from


def test_paths_that_do_not_exist_count_and_are_banned_from(app: Flask) -> None:
    client = guarded(app, ban(after="3/minute", on=404))

    assert statuses(client, "/a", "/b", "/wp-login.php", "/c", "/") == [404, 404, 404, 429, 429]


def test_on_one_method_of_a_class_it_is_a_ban_from_that(app: Flask) -> None:
    class Orders(MethodView):
        @TWICE
        def get(self) -> str:
            return answer()

        def post(self) -> str:
            return answer()

    Guard(app)
    app.add_url_rule("/", view_func=Orders.as_view("orders"))
    client = app.test_client()

    assert statuses(client, "/?status=401", "/") + statuses(client, "/?status=401", method="HEAD") == [401, 200, 401]
    assert statuses(client, "/") + statuses(client, "/", method="HEAD") == [429, 429]
    assert statuses(client, "/", method="POST") == [200]


def test_on_a_class_it_is_a_ban_from_all_its_methods(app: Flask) -> None:
    @TWICE
    class Orders(MethodView):
        def get(self) -> str:
            return answer()

        def post(self) -> str:
            return answer()

    Guard(app)
    app.add_url_rule("/", view_func=Orders.as_view("orders"))
    client = app.test_client()

    assert statuses(client, "/?status=401", "/?status=401") + statuses(client, "/", method="POST") == [401, 401, 429]


def test_two_views_have_two_bans_unless_they_share_one(make_app: MakeApp) -> None:
    def after_a_ban(policy: Any) -> list[int]:
        app = make_app()
        Guard(app)
        app.add_url_rule("/fail", "fail", policy(lambda: abort(401)))
        app.add_url_rule("/view", "view", policy(lambda: "served"))
        return statuses(app.test_client(), "/fail", "/fail", "/fail", "/view")

    assert after_a_ban(TWICE) == [401, 401, 429, 200]
    assert after_a_ban(TWICE(shared="trouble")) == [401, 401, 429, 429]


def test_two_bans_on_one_target_are_two_and_both_stay_in_force_under_nearer_ones(app: Flask) -> None:
    app.add_url_rule("/own", "own", protect(answer, ban(after="1/minute", on=409)))
    client = guarded(app, ban(after="2/minute", on=401), ban(after="3/minute", on=403))

    def banned_by(*paths: str, address: str) -> bool:
        statuses(client, *paths, address=address)
        return statuses(client, "/", address=address) == [429]

    assert not banned_by("/?status=401", "/?status=403", "/?status=403", address=HOME)
    assert banned_by("/own?status=403", address=HOME)
    assert banned_by("/own?status=401", "/?status=401", address=WORK)
    assert not banned_by("/own?status=409", address="203.0.113.3")
    assert statuses(client, "/own", address="203.0.113.3") == [429]


def test_two_apps_ban_apart(make_app: MakeApp) -> None:
    clients = [guarded(make_app(), TWICE) for _ in range(2)]

    statuses(clients[0], "/?status=401", "/?status=401")

    assert statuses(clients[0], "/") + statuses(clients[1], "/") == [429, 200]


def test_an_exempt_view_serves_who_is_banned_and_what_fails_there_does_not_count(app: Flask) -> None:
    app.add_url_rule("/help", "help", exempt(ban)(answer))
    client = guarded(app, TWICE)

    assert statuses(client, *["/help?status=401"] * 4, "/") == [401] * 4 + [200]
    statuses(client, "/?status=401", "/?status=401")
    assert statuses(client, "/", "/help") == [429, 200]


def test_an_exemption_from_limits_is_none_from_bans(app: Flask) -> None:
    app.add_url_rule("/open", "open", exempt(limit)(answer))
    client = guarded(app, TWICE, limit("50/minute"))

    assert statuses(client, "/open?status=401", "/open?status=401", "/open") == [401, 401, 429]


def test_preflights_are_answered_to_who_is_banned(app: Flask) -> None:
    client = guarded(app, TWICE)
    app.add_url_rule("/get", "get", lambda: "")
    statuses(client, "/?status=401", "/?status=401")

    assert statuses(client, "/get", method="OPTIONS", headers=PREFLIGHT) == [200]
    assert statuses(client, "/get", method="OPTIONS") == [429]


# Whom it concerns ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "allow",
    [HOME, [HOME, "2001:db8::/32"], ["203.0.113.0/31"], lambda request: request.remote_addr == HOME],
    ids=["address", "list", "network", "callable"],
)
def test_who_is_allowed_is_never_banned(app: Flask, allow: Any) -> None:
    client = guarded(app, TWICE(allow=allow))

    assert statuses(client, *["/?status=401"] * 5, "/")[-1] == 200
    assert statuses(client, *["/?status=401"] * 2, "/", address="203.0.113.2")[-1] == 429


@pytest.mark.parametrize("address", [f"::ffff:{HOME}", f"64:ff9b::{HOME}", f"{HOME}:40001", f"[::ffff:{HOME}]:40001"])
def test_an_allowed_address_may_come_inside_an_ipv6_one_and_with_a_port(app: Flask, address: str) -> None:
    client = guarded(app, TWICE(allow="203.0.113.0/24"))

    assert statuses(client, *["/?status=401"] * 3, address=address) == [401] * 3


def test_a_banned_client_stays_banned_whatever_port_it_comes_from(app: Flask) -> None:
    client = guarded(app, TWICE)

    for port in (40001, 40002):
        statuses(client, "/?status=401", address=f"{HOME}:{port}")

    assert statuses(client, "/", address=f"{HOME}:40003") == statuses(client, "/", address=HOME) == [429]


@pytest.mark.parametrize("address", ["", "not an address", "2001:db8::1%eth0"])
def test_who_has_no_proper_address_is_not_taken_for_allowed(app: Flask, address: str) -> None:
    client = guarded(app, TWICE(allow=HOME))

    assert statuses(client, *["/?status=401"] * 2, "/", address=address) == [401, 401, 429]


def test_an_ipv6_client_is_banned_with_its_network(app: Flask) -> None:
    client = guarded(app, TWICE)
    statuses(client, "/?status=401", address="2001:db8::1")
    statuses(client, "/?status=401", address="2001:db8::2")

    assert statuses(client, "/", address="2001:db8::3") + statuses(client, "/", address="2001:db8:0:1::3") == [429, 200]


def test_methods_says_for_which_requests_it_is(app: Flask) -> None:
    client = guarded(app, TWICE(methods=["GET"]))

    assert statuses(client, *["/?status=401"] * 3, method="POST") == [401] * 3
    assert statuses(client, "/?status=401", "/") + statuses(client, "/?status=401", method="HEAD") == [401, 200, 401]
    assert statuses(client, "/") + statuses(client, "/", method="HEAD") == [429, 429]
    assert statuses(client, "/", method="POST") == [200]


def test_when_says_for_which_requests_it_is(app: Flask) -> None:
    client = guarded(app, TWICE(when=lambda: "free" not in request.args))

    assert statuses(client, *["/?status=401&free"] * 3) == [401] * 3
    assert statuses(client, *["/?status=401"] * 2, "/", "/?free") == [401, 401, 429, 200]


@pytest.mark.parametrize(("mode", "config"), [("report", {}), (None, {"GUARD_MODES": {"ban": "report"}})])
def test_in_shadow_nobody_is_denied_and_whom_it_would_ban_is_told_once(
    make_app: MakeApp, mode: Any, config: dict[str, Any]
) -> None:
    app, would = make_app(**config), list[str]()
    client = guarded(app, TWICE(mode=mode))

    def listen(_sender: object, denial: Denied, **_: object) -> None:
        would.append(denial.reason)

    with bans_told(app) as told, request_would_be_denied.connected_to(listen, app):
        answers = statuses(client, *["/?status=401"] * 5)

    assert answers == [401] * 5
    assert [identity for identity, _, _ in told] == [HOME]
    assert would == ["banned"] * 3


def test_where_limits_are_switched_off_nobody_is_banned(make_app: MakeApp) -> None:
    assert statuses(guarded(make_app(RATELIMIT_ENABLED=False), TWICE), *["/?status=401"] * 4) == [401] * 4


def test_while_a_guard_is_disabled_nothing_counts(app: Flask) -> None:
    guard = Guard(app, policies=[TWICE])
    app.add_url_rule("/", "view", answer)
    with guard.disabled():
        statuses(app.test_client(), *["/?status=401"] * 4)

    assert statuses(app.test_client(), "/") == [200]
