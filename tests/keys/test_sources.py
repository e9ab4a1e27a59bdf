"""`Guard(keys=...)`: callables and stores of the app's own, and which source wins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from flask import Flask, current_app, request

from flask_guard import ApiKey, ConfigError, Guard, current_api_key, require_api_key
from flask_guard.keys import KeyStore, SignedKeys
from tests.cases import together

from ..conftest import MakeApp

SECRET = "s3cret-of-the-shop"


def answer_of(app: Flask, secret: str | None = SECRET, **guard: Any) -> tuple[int, str]:
    """Guard `app` as `guard` says and return how it answers to `secret`: the status, and the key id if it got in."""
    Guard(app, policies=[require_api_key], **guard)
    app.add_url_rule("/", "view", lambda: f"in as {current_api_key.id}")
    response = app.test_client().get("/", headers={"X-API-Key": secret} if secret is not None else {})
    return response.status_code, response.text if response.status_code == 200 else ""


def find(presented: str) -> ApiKey | None:
    return ApiKey("shop") if presented == SECRET else None


async def find_async(presented: str) -> ApiKey | None:
    return find(presented)


class Finder:
    """A callable that is an object."""

    def __call__(self, presented: str) -> ApiKey | None:
        return find(presented)


class AsyncFinder:
    """An ``async`` callable that is an object."""

    async def __call__(self, presented: str) -> ApiKey | None:
        return find(presented)


class Store:
    """A store of the app's own."""

    def lookup(self, presented: str) -> ApiKey | None:
        return find(presented)


SOURCES = [find, find_async, Finder(), AsyncFinder(), Store(), {"shop": SECRET}]
NAMES = ["function", "async function", "object", "async object", "store", "mapping"]


@pytest.mark.parametrize("keys", SOURCES, ids=NAMES)
def test_a_source_of_keys_lets_in_whom_it_knows_and_nobody_else(make_app: MakeApp, keys: Any) -> None:
    assert answer_of(make_app(), keys=keys) == (200, "in as shop")
    assert answer_of(make_app(), "unknown", keys=keys) == (401, "")
    assert answer_of(make_app(), None, keys=keys) == (401, "")


@pytest.mark.slow
@together(
    "garbage",
    [True, 1, "shop", {"id": "shop"}, ("shop",), object(), False, 0, "", [], ApiKey],
)
@together("how", ["function", "async function", "store"])
def test_a_source_that_returns_something_else_than_a_key_lets_nobody_in(
    make_app: MakeApp, garbage: Any, how: str
) -> None:
    async def returns_async(_presented: str) -> Any:
        return garbage

    class Returns:
        def lookup(self, _presented: str) -> Any:
            return garbage

    source: Any = {"function": lambda _presented: garbage, "async function": returns_async, "store": Returns()}[how]

    status, text = answer_of(make_app(), keys=source)

    assert status in (401, 500)
    assert text == ""


def test_a_source_that_returns_true_is_reported_to_its_author(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    status, _ = answer_of(app, keys=lambda _presented: True)

    assert status == 500
    assert "must return an ApiKey or None, not a bool" in caplog.text
    assert SECRET not in caplog.text


def test_a_source_that_raises_lets_nobody_in(app: Flask) -> None:
    def fails(_presented: str) -> ApiKey:
        raise ConnectionError("the database is away")

    assert answer_of(app, keys=fails) == (500, "")


def test_a_source_that_cannot_be_called_with_a_key_lets_nobody_in(app: Flask) -> None:
    keys: Callable[[], ApiKey] = lambda: ApiKey("shop")  # noqa: E731

    try:
        status, _ = answer_of(app, keys=keys)
    except ConfigError:
        return  # said at init_app: better still
    assert status == 500


def test_an_expired_key_from_a_callable_is_refused(app: Flask) -> None:
    expired = ApiKey("shop", expires=datetime(2020, 1, 31, tzinfo=timezone.utc))

    assert answer_of(app, keys=lambda _presented: expired) == (401, "")


class _Suspended(ApiKey):
    @property
    def status(self) -> Any:
        return "suspended"


class _Elsewhere(ApiKey):
    def allows(self, address: str | None) -> bool:
        return address != "127.0.0.1"


class _Ended(ApiKey):
    @property
    def expired(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [_Suspended, _Elsewhere, _Ended])
def test_a_key_of_a_class_that_decides_in_its_own_way_is_refused_as_it_says(app: Flask, kind: type[ApiKey]) -> None:
    assert answer_of(app, keys=lambda _presented: kind("shop")) == (401, "")


def test_a_callable_runs_within_the_request_and_gets_the_key_as_text(app: Flask) -> None:
    seen: list[tuple[str, str, str]] = []

    def look(presented: str) -> ApiKey:
        seen.append((presented, request.path, current_app.name))
        return ApiKey("shop")

    answer_of(app, "ключ".encode().decode("latin-1"), keys=look)

    assert seen == [("ключ", "/", "tests")]


@pytest.mark.parametrize("keys", SOURCES, ids=NAMES)
def test_the_keyword_wins_over_the_config(make_app: MakeApp, keys: Any) -> None:
    def app() -> Flask:
        return make_app(GUARD_API_KEYS={"config": "secret of the config"})

    assert answer_of(app(), keys=keys) == (200, "in as shop")
    assert answer_of(app(), "secret of the config", keys=keys) == (401, "")
    assert answer_of(app(), "secret of the config") == (200, "in as config")


def test_an_empty_mapping_as_keyword_wins_too_and_denies_everybody(make_app: MakeApp) -> None:
    assert answer_of(make_app(GUARD_API_KEYS={"config": SECRET}), keys={}) == (401, "")


@pytest.mark.parametrize("keys", [5, [SECRET], SECRET, ["shop", SECRET]], ids=["number", "list", "text", "pair"])
def test_what_is_no_source_of_keys_is_refused_at_init_app_without_showing_it(app: Flask, keys: Any) -> None:
    with pytest.raises(ConfigError, match="keys") as caught:
        Guard(app, keys=keys)

    assert SECRET not in str(caught.value)


def test_two_apps_each_have_their_own_keys(make_app: MakeApp) -> None:
    first, second = make_app(GUARD_API_KEYS={"a": "of a"}), make_app(GUARD_API_KEYS={"b": "of b"})

    assert answer_of(first, "of a") == (200, "in as a")
    assert answer_of(second, "of a") == (401, "")


def test_signed_keys_are_a_store_as_any_other(app: Flask) -> None:
    signed = SignedKeys.of(app)

    assert isinstance(signed, KeyStore)
    assert answer_of(app, signed.issue("ci"), keys=signed) == (200, "in as ci")
