"""`guard.reset()`: what the app has counted and remembered is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from flask_guard import Guard, ban, limit, require_api_key
from flask_guard.keys import SQLKeys
from tests.conftest import MakeApp


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, make_app: MakeApp, tmp_path: Path) -> Flask:
    uri = f"sqlite:///{tmp_path / 'limits.db'}" if request.param == "sqlite" else "memory://"
    return make_app(RATELIMIT_STORAGE_URI=uri)


def test_limits_begin_anew(app: Flask) -> None:
    guard = Guard(app)
    app.add_url_rule("/", "index", limit("1/hour")(lambda: "in"))
    client = app.test_client()
    before = [client.get("/").status_code for _ in range(2)]

    guard.reset()

    assert (before, client.get("/").status_code) == ([200, 429], 200)


def test_bans_and_failures_are_forgotten(app: Flask) -> None:
    guard = Guard(app, policies=[ban(after="1/hour")])
    app.add_url_rule("/", "index", require_api_key(failures="2/hour")(lambda: "in"))
    client = app.test_client()
    before = [client.get("/", headers={"X-API-Key": "wrong"}).status_code for _ in range(3)]

    guard.reset()

    assert (before[0], before[-1], client.get("/").status_code) == (401, 429, 401)


def test_keys_are_looked_up_again(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()
    url = f"sqlite:///{tmp_path / 'keys.db'}"
    here, elsewhere = SQLKeys(url, cache=3600), SQLKeys(url)
    guard = Guard(app, keys=here)
    app.add_url_rule("/", "index", require_api_key(lambda: "in"))
    client = app.test_client()
    created = here.create(name="ci")
    headers = {"X-API-Key": created.secret}
    first = client.get("/", headers=headers).status_code
    elsewhere.revoke(created.key.id)
    remembered = client.get("/", headers=headers).status_code

    guard.reset()

    assert (first, remembered, client.get("/", headers=headers).status_code) == (200, 200, 401)
