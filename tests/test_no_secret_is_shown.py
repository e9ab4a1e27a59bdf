"""What the package holds shows no secret: not in a repr, nor in what is logged and sent when something fails."""

from __future__ import annotations

import base64
import functools
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app

from flask_guard import (
    ApiKey,
    Guard,
    JSONFormatter,
    Policy,
    Principal,
    current_api_key,
    limit,
    log_timing,
    middleware,
    require_api_key,
    require_auth,
)
from flask_guard.audit.inventory import take_inventory
from flask_guard.audit.lock import as_text, make_lock
from flask_guard.audit.routes import describe_routes
from flask_guard.authentication.jwt import JWT
from flask_guard.errors import ConfigError
from flask_guard.keys import RedisKeys, SignedKeys, SQLKeys, StaticKeys, chain
from flask_guard.keys.concern import key_store_of
from tests.conftest import MakeApp, free_port

SECRET = "sesame-" + "x" * 40
URL = f"redis://ada:{SECRET}@127.0.0.1:{{port}}/0"


def everything(app: Flask, guard: Guard) -> dict[str, Any]:
    """Return what an app's Guard is made of, by what it is called."""
    state = app.extensions["guard"]
    plan = guard.plan_for("index", "GET")
    return {
        "guard": guard,
        "state": state,
        "config": state.config,
        "key store": key_store_of(state),
        "services": state.services,
        "plans": state.plans,
        "plan": plan,
        "policies": plan.policies,
        "steps": [vars(each) for each in state.services.values() if hasattr(each, "__dict__")],
    }


def test_no_repr_of_what_serves_an_app_shows_a_secret(make_app: MakeApp) -> None:
    app = make_app(SECRET_KEY=SECRET, GUARD_API_KEYS={"ci": SECRET}, RATELIMIT_STORAGE_URI=URL.format(port=free_port()))
    token = require_auth(bearer=JWT(SECRET), optional=True)
    app.add_url_rule("/", "index", token(lambda: "hello"))
    guard = Guard(app, policies=[log_timing, limit("9/minute", by="api_key"), require_api_key])
    assert app.test_client().get("/", headers={"X-API-Key": SECRET}).status_code == 200

    for name, thing in everything(app, guard).items():
        assert SECRET not in f"{thing!r} {thing}", name


@pytest.mark.parametrize(
    "make",
    [
        lambda: StaticKeys({"ci": SECRET}),
        lambda: SignedKeys(SECRET),
        lambda: SignedKeys(SECRET, revocations=RedisKeys(URL.format(port=1))),
        lambda: SQLKeys(f"postgresql+psycopg://ada:{SECRET}@127.0.0.1/keys"),
        lambda: RedisKeys(URL.format(port=1)),
        lambda: chain({"ci": SECRET}, SignedKeys(SECRET), RedisKeys(URL.format(port=1))),
        lambda: JWT(SECRET),
        lambda: require_auth(bearer=JWT(SECRET)),
        lambda: require_api_key,
    ],
)
def test_no_repr_of_a_store_or_policy_shows_a_secret(make: Callable[[], object]) -> None:
    thing = make()

    assert SECRET not in f"{thing!r} {thing}"


@pytest.mark.parametrize(
    "make",
    [
        lambda: require_auth(basic={"ada": SECRET}),  # type: ignore[call-overload]
        lambda: require_auth(bearer=SECRET),  # type: ignore[call-overload]
        lambda: require_auth(bearer=functools.partial(called, SECRET)),
        lambda: require_auth(session=SECRET),  # type: ignore[call-overload]
    ],
    ids=["passwords", "token", "partial", "session"],
)
def test_no_refusal_of_an_option_shows_a_secret(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError) as refusal:
        make()

    assert SECRET not in str(refusal.value)


def called(secret: str) -> None:
    raise AssertionError(secret)


@middleware
def forward(_request: object, *, url: str = "", headers: Mapping[str, str] | None = None, send: Any = None) -> None:
    """Take options in which a secret may stand."""


@pytest.mark.parametrize(
    "policy",
    [
        forward(url=f"https://ada:{SECRET}@site.example/"),
        forward(url=f"redis://:{SECRET}@@127.0.0.1/0"),
        forward(headers={"api_key": SECRET}),
        forward(send=functools.partial(called, SECRET)),
        limit("9/minute", by=functools.partial(called, SECRET)),
    ],
    ids=["URL", "URL with @", "mapping", "partial", "limit"],
)
def test_no_option_of_a_policy_shows_a_secret(make_app: MakeApp, policy: Policy) -> None:
    app = make_app()
    Guard(app)
    app.add_url_rule("/", "index", policy(lambda: "hello"))
    inventory = take_inventory(app)

    assert SECRET not in repr(policy)
    assert SECRET not in as_text(make_lock(inventory))
    assert SECRET not in json.dumps(describe_routes(inventory))


def test_a_new_key_is_shown_without_its_secret(tmp_path: Path) -> None:
    keys = SQLKeys(f"sqlite:///{tmp_path / 'keys'}")

    new = keys.create(name="shop")

    assert new.secret not in f"{new!r} {new} {new.key!r} {keys!r}"


# What fails ------------------------------------------------------------------------------------------------------


def basic() -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"ada:{SECRET}".encode()).decode()}


def fail(*_: object) -> Any:
    raise ZeroDivisionError


def view_that_fails() -> str:
    assert (current_api_key.id, current_app.config["SECRET_KEY"]) == ("ci", SECRET)
    return fail()  # type: ignore[no-any-return]


def by_key_in_hand(app: Flask, _folder: Path) -> dict[str, str]:
    app.config["GUARD_API_KEYS"] = {"ci": SECRET}
    app.add_url_rule("/", "index", require_api_key(view_that_fails))
    Guard(app, policies=[log_timing])
    return {"X-API-Key": SECRET}


def by_failing_store(app: Flask, _folder: Path) -> dict[str, str]:
    def find(presented: str) -> ApiKey | None:
        return fail(presented)  # type: ignore[no-any-return]

    app.add_url_rule("/", "index", require_api_key(lambda: "hello"))
    Guard(app, keys=find, policies=[log_timing])
    return {"X-API-Key": SECRET}


def by_dead_redis(app: Flask, _folder: Path) -> dict[str, str]:
    app.config["RATELIMIT_STORAGE_URI"] = URL.format(port=free_port())
    app.add_url_rule("/", "index", require_api_key(lambda: "hello"))
    limited = limit("9/minute", on_store_error="deny")
    Guard(app, keys=RedisKeys(URL.format(port=free_port())), policies=[log_timing, limited])
    return {"X-API-Key": SECRET}


def by_dead_database(app: Flask, folder: Path) -> dict[str, str]:
    secret = SQLKeys(f"sqlite:///{folder / 'alive'}").create().secret
    keys = SQLKeys(f"sqlite:///{folder / 'nowhere' / 'dead'}")
    app.add_url_rule("/", "index", require_api_key(lambda: "hello"))
    Guard(app, keys=keys, policies=[log_timing])
    return {"X-API-Key": secret}


def by_failing_password_check(app: Flask, _folder: Path) -> dict[str, str]:
    def check(name: str, password: str) -> Principal | None:
        return fail(name, password)  # type: ignore[no-any-return]

    app.add_url_rule("/", "index", require_auth(basic=check)(lambda: "hello"))
    Guard(app, policies=[log_timing])
    return basic()


@pytest.mark.parametrize(
    "prepare", [by_key_in_hand, by_failing_store, by_dead_redis, by_dead_database, by_failing_password_check]
)
def test_no_traceback_or_error_page_shows_a_secret(
    make_app: MakeApp,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    prepare: Callable[[Flask, Path], dict[str, str]],
) -> None:
    caplog.set_level(logging.DEBUG)
    app = make_app(SECRET_KEY=SECRET)
    headers = prepare(app, tmp_path)

    response = app.test_client().get("/", headers=headers)

    assert response.status_code >= 500
    written = [f"{JSONFormatter().format(each)} {vars(each)}" for each in caplog.records]
    assert written
    for value in (SECRET, *headers.values()):
        assert value not in "".join(written) + response.text + str(response.headers)
