"""What the tests of ``flask guard keys`` share: an app with stored keys, and a function that runs the command."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from flask_guard import Guard, current_api_key, require_api_key
from flask_guard.keys import SQLKeys

from ..conftest import MakeApp

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


def three(store: SQLKeys) -> dict[str, str]:
    """Make a key in each state that a list can be limited to, and return their ids."""
    active = store.create(name="The shop", scopes=["b", "a"]).key.id
    expired = store.create(expires=time.time() - 1).key.id
    revoked = store.revoke(store.create().key.id).id
    return {"active": active, "expired": expired, "revoked": revoked}
