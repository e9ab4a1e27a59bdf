"""`defer`: what a deferred function has, what it cannot have, and what becomes of its errors."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from flask import Flask, current_app, g, has_app_context, has_request_context, request, session
from werkzeug.local import LocalProxy

from flask_guard import (
    ApiKey,
    Guard,
    Policy,
    current_api_key,
    current_request_id,
    defer,
    log_timing,
    protect,
    require_api_key,
)
from tests.conftest import MakeApp

pytestmark = pytest.mark.usefixtures("hurried_threads")


tenant: ContextVar[str] = ContextVar("tenant")


@pytest.fixture(params=["on a thread", "in line"])
def app(request: pytest.FixtureRequest, make_app: MakeApp) -> Flask:
    """Return an app that runs what it defers on threads, and then one that is testing."""
    app = make_app(
        TESTING=request.param == "in line",
        GUARD_API_KEYS={"shop": "the key of the shop"},
        GUARD_DEFER_WORKERS=1,  # one after the other
    )
    Guard(app, policies=[log_timing])
    return app


def after(app: Flask, view: Callable[[], object], *policies: Policy, **options: Any) -> Any:
    """Serve one request with `view`, wait until what it deferred has run, and return the response."""
    done = threading.Event()

    def waited() -> str:
        view()
        defer(done.set)
        return "hello"

    app.add_url_rule("/", "index", protect(waited, *policies) if policies else waited)
    response = app.test_client().get("/", buffered=True, **options)
    assert done.wait(5)
    return response


def deferring(function: Callable[..., object]) -> Callable[[], None]:
    return lambda: defer(function)


# What it has -----------------------------------------------------------------------------------------------------


def test_it_has_its_arguments_and_an_app_context_of_its_own(app: Flask) -> None:
    seen: list[Any] = []

    def work(a: int, *, b: int) -> None:
        seen.append((a, b, current_app.name, "mine" in g))

    def view() -> None:
        g.mine = "the request's"
        defer(work, 1, b=2)

    after(app, view)

    assert seen == [(1, 2, "tests", False)]


def test_it_has_the_context_variables_of_where_it_was_deferred(app: Flask) -> None:
    seen: list[str] = []

    def view() -> None:
        token = tenant.set("acme")
        defer(lambda: seen.append(tenant.get()))
        tenant.reset(token)

    after(app, view)

    assert seen == ["acme"]


def test_context_variables_that_it_sets_are_its_own(app: Flask) -> None:
    seen: list[str] = []

    def view() -> None:
        defer(lambda: tenant.set("changed"))
        defer(lambda: seen.append(tenant.get("unset")))

    after(app, view)

    assert (seen, tenant.get("unset")) == (["unset"], "unset")


def test_it_has_the_id_of_the_request(app: Flask) -> None:
    seen: list[str | None] = []

    response = after(app, deferring(lambda: seen.append(current_request_id._get_current_object())))

    assert seen == [response.headers["X-Request-ID"]]


def test_it_may_be_async(app: Flask) -> None:
    seen: list[str] = []

    async def later(value: str) -> None:
        await asyncio.sleep(0)
        seen.append(f"{value} {current_app.name} {tenant.get()}")

    def view() -> None:
        token = tenant.set("acme")
        defer(later, "a")
        tenant.reset(token)

    after(app, view)

    assert seen == ["a tests acme"]


def test_an_async_view_may_defer(app: Flask) -> None:
    done = threading.Event()

    @app.get("/")
    async def index() -> str:
        await asyncio.sleep(0)
        defer(done.set)
        return "hello"

    app.test_client().get("/", buffered=True)

    assert done.wait(5)


def test_a_proxy_is_passed_as_what_it_stands_for(app: Flask) -> None:
    seen: list[Any] = []
    user: Any = LocalProxy(lambda: session["user"])

    def work(key: ApiKey, *, who: str) -> None:
        seen.append((key.id, type(key), who))

    def view() -> None:
        session["user"] = "ada"
        defer(work, current_api_key, who=user)

    after(app, view, require_api_key, headers={"X-API-Key": "the key of the shop"})

    assert seen == [("shop", ApiKey, "ada")]


# What it cannot have -----------------------------------------------------------------------------------------------


def test_it_has_no_request(app: Flask) -> None:
    seen: list[tuple[bool, bool]] = []

    after(app, deferring(lambda: seen.append((has_request_context(), has_app_context()))))

    assert seen == [(False, True)]


@pytest.mark.parametrize("use", [lambda: request.path, lambda: session["user"]], ids=["request", "session"])
def test_using_the_request_is_logged_with_what_to_do_instead(
    app: Flask, caplog: pytest.LogCaptureFixture, use: Callable[[], object]
) -> None:
    after(app, deferring(use))

    (record,) = [each for each in caplog.records if each.name == "flask_guard"]
    assert record.getMessage().endswith(
        "failed: a deferred function has no request: pass the values that it needs as arguments"
    )


@pytest.mark.parametrize("actual", [False, True], ids=["proxy", "object"])
def test_the_request_cannot_be_passed(app: Flask, actual: bool) -> None:
    def work(*args: object, **kwargs: object) -> None:
        raise AssertionError

    def view() -> None:
        passed = request._get_current_object() if actual else request  # type: ignore[attr-defined]
        with pytest.raises(TypeError, match="the request cannot be an argument of a deferred function"):
            defer(work, passed)
        with pytest.raises(TypeError, match="the request cannot be an argument"):
            defer(work, named=passed)

    assert after(app, view).status_code == 200


def test_without_an_app_context_it_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"defer\(\) needs an app context"):
        defer(print)


def test_without_a_guard_it_is_refused() -> None:
    app = Flask("unguarded")

    with app.app_context(), pytest.raises(RuntimeError, match="needs a Guard on the app 'unguarded'"):
        defer(print)


# Errors ----------------------------------------------------------------------------------------------------------


def broken(secret: str = "") -> None:
    raise ZeroDivisionError("broken on purpose")


async def broken_async() -> None:
    raise ZeroDivisionError("broken on purpose")


def leaves() -> None:
    raise SystemExit(1)


class Broken:
    """A callable without a name."""

    def __call__(self) -> None:
        raise ZeroDivisionError("broken on purpose")


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (broken, "tests.deferral.test_defer_context.broken"),
        (broken_async, "tests.deferral.test_defer_context.broken_async"),
        (leaves, "tests.deferral.test_defer_context.leaves"),
        (functools.partial(broken, "hunter2"), "tests.deferral.test_defer_context.broken"),
        (Broken(), "tests.deferral.test_defer_context.Broken"),
    ],
)
def test_an_error_is_logged_with_the_name_of_the_function(
    app: Flask, caplog: pytest.LogCaptureFixture, function: Callable[[], object], name: str
) -> None:
    assert after(app, deferring(function)).status_code == 200

    (record,) = [each for each in caplog.records if each.name == "flask_guard"]
    assert (record.levelno, record.getMessage()) == (logging.ERROR, f"deferred {name} failed")
    assert record.exc_info is not None


def test_arguments_are_not_logged(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    after(app, lambda: defer(broken, "hunter2"))

    assert "tests.deferral.test_defer_context.broken failed" in caplog.text
    assert "hunter2" not in caplog.text


def test_an_error_keeps_no_other_from_running(app: Flask) -> None:
    seen: list[str] = []

    def view() -> None:
        defer(broken)
        defer(seen.append, "a")

    after(app, view)

    assert seen == ["a"]
