"""Where Flask's extra for ``async`` is missing, the message names the function that needs it, and the command."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from flask import Flask, Request

from flask_guard import ApiKey, ConfigError, Guard, defer, limit, middleware, protect, require_auth
from tests.conftest import MakeApp

COMMAND = r"Flask needs an extra for that: pip install 'flask\[async\]'"


@pytest.fixture(autouse=True)
def without_asgiref(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asgiref.sync", None)


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app(TESTING=True)


async def orders() -> str:
    return "orders"


async def find_key(_presented: str) -> ApiKey | None:
    return None


@middleware
async def tenant(_request: Request) -> None: ...


@middleware
async def around(_request: Request) -> AsyncGenerator[None, Any]:
    yield


async def find_user(_token: str) -> None: ...


class FindUser:
    """A callable of which Flask does not see that it is async."""

    async def __call__(self, _token: str) -> None: ...


def defer_it() -> str:
    defer(orders)
    return "deferred"


def guarded_by(policy: Any) -> Callable[[Flask], None]:
    return lambda app: app.add_url_rule("/", "index", policy(lambda: "hello"))


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (guarded_by(tenant), "tenant at .*: middleware tenant"),
        (guarded_by(around), "around at .*: middleware around"),
        (guarded_by(require_auth(bearer=find_user)), "require_auth at .*: a function of require_auth"),
        (guarded_by(require_auth(bearer=FindUser())), "require_auth at .*: a function of require_auth"),
        (lambda app: app.add_url_rule("/", "index", protect(orders, limit("9/minute"))), "view orders"),
        (lambda app: app.add_url_rule("/", "index", defer_it), "the deferred tests.core.test_async_extra.orders"),
    ],
    ids=["middleware", "middleware that yields", "require_auth", "require_auth, an object", "view", "defer"],
)
def test_message_names_what_is_async_and_the_command(app: Flask, write: Callable[[Flask], None], named: str) -> None:
    Guard(app)
    write(app)

    with pytest.raises(ConfigError, match=f"{named} is async, and {COMMAND}"):
        app.test_client().get("/")


def test_async_function_for_keys_is_named(app: Flask) -> None:
    with pytest.raises(ConfigError, match=f"the function for keys is async, and {COMMAND}"):
        Guard(app, keys=find_key)  # type: ignore[arg-type]  # works, and no type says so


def test_async_middleware_keeps_the_app_from_serving_and_says_so_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(PROPAGATE_EXCEPTIONS=False)
    guarded_by(tenant)(app)
    app.add_url_rule("/other", "other", lambda: "other")
    Guard(app)
    caplog.set_level(logging.ERROR)

    assert [app.test_client().get(path).status_code for path in ("/", "/other", "/")] == [500] * 3

    assert len([message for message in caplog.messages if "serves nothing" in message and "tenant" in message]) == 1
