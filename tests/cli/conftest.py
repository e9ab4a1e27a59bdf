"""What the tests of ``flask guard`` share: apps with stored keys and with limits, and how to run the commands."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import Result
from flask import Flask, request

from flask_guard import Guard, Policy, ban, current_api_key, limit, protect, require_api_key, require_auth
from flask_guard.keys import SQLKeys

from ..conftest import MakeApp, patient

Keys = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLKeys]:
    """Return keys in a SQLite file of this test's own, which every change reaches at once."""
    keys = SQLKeys(f"sqlite:///{tmp_path / 'keys.sqlite'}", cache=0)
    yield keys
    keys.close()


@pytest.fixture
def app(make_app: MakeApp, store: SQLKeys) -> Flask:
    return guarded(make_app(), store)


@pytest.fixture
def keys(app: Flask) -> Keys:
    return runner(app)


def guarded(app: Flask, keys: Any) -> Flask:
    """Guard `app`; its one view answers with the id of the key."""
    Guard(app, keys=keys)
    app.add_url_rule("/", "view", require_api_key(lambda: current_api_key.id))
    return app


def runner(app: Flask) -> Keys:
    """Return a function that runs ``flask guard keys …``; what is said and what is asked stay apart."""

    def run(*arguments: str, input: str | bytes | None = None) -> Result:
        return app.test_cli_runner().invoke(args=["guard", "keys", *arguments], input=input)

    return run


def made(result: Result) -> dict[str, Any]:
    """Return the JSON document on standard output of a command that went well."""
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def status_of(app: Flask, secret: str) -> int:
    return app.test_client().get("/", headers={"X-API-Key": secret}).status_code


def lines_of(result: Result) -> dict[str, str]:
    """Return the facts that were printed for a person, by their labels."""
    assert result.exit_code == 0, result.output
    return {line[:12].rstrip(): line[12:] for line in result.stdout.splitlines()}


def one_of_each(store: SQLKeys) -> dict[str, str]:
    """Make a key in each state that a list can be limited to, and return their ids."""
    active = store.create(name="The shop", scopes=["b", "a"]).key.id
    expired = store.create(expires=time.time() - 1).key.id
    revoked = store.revoke(store.create().key.id).id
    late = store.create(not_before=time.time() + 3600).key.id
    return {"active": active, "expired": expired, "revoked": revoked, "not yet valid": late}


# Limits and bans --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "redis"])
def storage_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URI of a limit storage that many processes see, with nothing in it: each kind of it in turn."""
    return sqlite_uri(tmp_path) if request.param == "sqlite" else emptied(request.getfixturevalue("redis_url"))


def sqlite_uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'limits.db'}"


def emptied(redis_url: str) -> str:
    """Return the URL of a database that no other tests use, without what earlier ones left in it."""
    url = f"{redis_url.rpartition('/')[0]}/9"
    with redis.Redis.from_url(url) as server:
        server.flushdb()
    return patient(url)


KEYS = {"ci": "a long static secret", "shop": "another long static secret"}
CI: dict[str, Any] = {"headers": {"X-API-Key": KEYS["ci"]}}
SHOP: dict[str, Any] = {"headers": {"X-API-Key": KEYS["shop"]}}


@pytest.fixture
def limited(make_app: MakeApp, storage_uri: str) -> Flask:
    return limited_app(make_app(RATELIMIT_STORAGE_URI=storage_uri))


def limited_app(app: Flask, keys: Any = KEYS) -> Flask:
    """Guard `app`, with a view for each way in which a limit can be held."""
    app.config["GUARD_LIMIT_SLOW_MS"] = None
    Guard(app, keys=keys)
    views: dict[str, list[Policy]] = {
        "address": [limit("5/minute; 50/day")],
        "key": [require_api_key, limit("3/hour", by="api_key")],
        "tuple": [require_api_key, limit("4/hour", by=("address", "api_key"))],
        "tenant": [limit("6/hour", by=tenant, algorithm="moving-window")],
        "dynamic": [limit(lambda: "7/hour", by="address", algorithm="sliding-window-counter")],
        "search": [limit("8/hour", shared="search")],
        "person": [require_auth(basic=lambda name, _password: name), limit("9/hour", by="principal")],
        "places": [limit.concurrent(2)],
        "banned": [ban(after="2/hour", on=[403], lasting="1h")],
    }
    for name, policies in views.items():
        app.add_url_rule(
            f"/{name}", name, protect(lambda: endless() if "endless" in request.args else fine(), *policies)
        )
    return app


def tenant() -> str:
    return request.args["tenant"]


def endless() -> Iterator[str]:
    while True:
        yield "more"


def fine() -> tuple[str, int]:
    return "", 403 if "bad" in request.args else 200


def ask(app: Flask, path: str, times: int = 1, address: str = "192.0.2.1", **arguments: Any) -> int:
    """Make equal requests, and return the status of the last."""
    client = app.test_client()
    overrides = {"REMOTE_ADDR": address}
    return [client.get(path, environ_overrides=overrides, **arguments).status_code for _ in range(times)][-1]


def guard_command(app: Flask, *arguments: str, input: str | None = None) -> Result:
    """Run ``flask guard …``."""
    return app.test_cli_runner().invoke(args=["guard", *arguments], input=input)


def listed(result: Result) -> list[dict[str, Any]]:
    """Return the JSON list on standard output of a command that went well."""
    assert result.exit_code == 0, result.output
    documents: list[dict[str, Any]] = json.loads(result.stdout)
    return documents


def held(app: Flask, client: str, *options: str) -> list[tuple[str, str | None, int]]:
    """Return the scope, the rate and what remains, of all that is held for `client`."""
    result = guard_command(app, "limits", "status", "--key", client, "--json", *options)
    if result.exit_code == 3:
        return []
    return [(each["scope"], each["rate"], each["remaining"]) for each in listed(result)]


def assert_refused(result: Result, exit_code: int, *words: str) -> None:
    """Assert that a command ended with one line on standard error, and nothing else."""
    assert (result.exit_code, result.stdout) == (exit_code, ""), result.output
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert isinstance(result.exception, SystemExit)
    assert all(word in result.stderr for word in words), result.stderr
