"""`with_key`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from flask import Flask

from flask_guard import Guard, current_api_key, require_api_key
from flask_guard.testing import assert_denied, with_key
from tests.conftest import MakeApp


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = make_app(GUARD_API_KEYS={"ci": "a long random secret"})
    Guard(app)
    app.add_url_rule("/orders", "orders", require_api_key(scopes=["orders"])(lambda: current_api_key.id))
    app.add_url_rule("/own", "own", require_api_key(in_="header:X-Token")(lambda: current_api_key.id))
    return app


def test_client_presents_a_valid_key_in_the_block_only(app: Flask) -> None:
    client = app.test_client()

    before = client.get("/orders")
    with with_key(client, scopes=["orders"]) as same:
        inside = client.get("/orders")
    after = client.get("/orders")

    assert same is client
    assert (before.status_code, inside.text, after.status_code) == (401, "test", 401)


def test_scopes_are_those_that_were_asked_for(app: Flask) -> None:
    with with_key(app.test_client(), scopes="users") as client:
        assert_denied(client.get("/orders"), by=require_api_key, reason="insufficient_scope")


def test_key_goes_where_a_policy_looks_for_it(app: Flask) -> None:
    with with_key(app.test_client(), in_="header:X-Token", id="shop") as client:
        assert client.get("/own").text == "shop"


def test_facts_of_the_key_hold(app: Flask) -> None:
    over = datetime.now(timezone.utc) - timedelta(days=1)
    with with_key(app.test_client(), scopes="orders", expires=over) as client:
        assert_denied(client.get("/orders"), reason="expired")


def test_keys_of_the_app_stay_valid_and_blocks_nest(app: Flask) -> None:
    client, other = app.test_client(), app.test_client()

    with with_key(client, scopes="orders", id="outer"), with_key(other, scopes="orders", id="inner"):
        answers = [each.get("/orders").text for each in (client, other)]
        own = app.test_client().get("/own", headers={"X-Token": "a long random secret"}).text

    assert (answers, own) == (["outer", "inner"], "ci")


def test_app_without_keys_gets_one(make_app: MakeApp) -> None:
    app = make_app()
    Guard(app)
    app.add_url_rule("/", "index", require_api_key(lambda: "in"))
    client = app.test_client()

    with with_key(client):
        assert client.get("/").text == "in"
    assert client.get("/").status_code == 401


def test_a_place_that_is_no_header_is_refused(app: Flask) -> None:
    with pytest.raises(ValueError, match="in a header"), with_key(app.test_client(), in_="query:key"):
        pass
