"""What tools that administer limits see: which of the store's clients is meant, in which scope, and what is held."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from flask import Flask, request

from flask_guard import ConfigError, Guard, Policy, ban, limit, protect
from flask_guard.core.app_state import AppState
from flask_guard.rate_limits.admin import (
    check_visible,
    forget,
    holdings,
    identities_of,
    is_client,
    is_in_scope,
    lift,
)
from flask_guard.rate_limits.storage import Backend, Held, StoreDown
from flask_guard.rate_limits.storage.memory import ExactMemoryStorage
from tests.cases import together

from ..conftest import MakeApp
from ..storage_clock import Clock


class Broken(ExactMemoryStorage):
    """A storage whose errors say more than they should."""

    STORAGE_SCHEME = ["broken"]  # noqa: RUF012

    def find(self, unit: str | None = None) -> Iterable[Held]:
        raise OSError("no route to redis://user:pass/w@rd@db.example:6379/0, try later")


def served(app: Flask, *policies: Policy) -> Backend:
    """Guard `app` with one view that has `policies`, and return where it counts."""
    Guard(app)
    app.add_url_rule("/", "view", protect(lambda: ("", 403 if "bad" in request.args else 200), *policies))
    return AppState.of(app).service(Backend)


def ask(app: Flask, times: int = 1, path: str = "/") -> tuple[Backend, int]:
    """Make equal requests; return where they were counted, and the status of the last."""
    client = app.test_client()
    status = [client.get(path).status_code for _ in range(times)][-1]
    return AppState.of(app).service(Backend), status


# Who is meant -----------------------------------------------------------------------------------------------------


@together(
    ("client", "identity"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0::/64", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", "unknown"),
        ("ci", "key:ci"),
        ("ci", "principal:ci"),
        ("ci", "by:ci"),
        ("a+b", "by:a%2Bb"),
        ("key:ci", "key:ci"),
        ("key:ci+192.0.2.1", "key:ci+192.0.2.1"),
        ("ci", "key:ci+192.0.2.1"),
        ("192.0.2.1", "key:ci+192.0.2.1"),
        ("2001:db8::1", "key:ci+2001:db8::/64"),
        ("unknown", "key:ci+unknown"),
        ("acme", "192.0.2.1+by:acme+key:ci"),
        ("a+b", "192.0.2.1+by:a%2Bb+key:ci"),
    ],
)
def test_a_client_has_all_the_names_that_a_store_may_have_for_it(client: str, identity: str) -> None:
    assert is_client(identity, identities_of(client))


@pytest.mark.parametrize(
    ("client", "identity"),
    [
        ("192.0.2.1", "192.0.2.10"),
        ("2001:db8::1", "2001:db8:0:1::/64"),
        ("ci", "key:ci2"),
        ("ci", "key:my-ci"),
        ("b", "by:a%2Bb"),
        ("a", "by:a%2Bb"),
        ("b", "192.0.2.1+by:a%2Bb"),
        ("key", "key:ci"),
        ("", "by:a%2B"),
    ],
)
def test_a_client_has_no_other_name(client: str, identity: str) -> None:
    assert not is_client(identity, identities_of(client))


@together(
    ("scope", "name", "meant"),
    [
        ("view:api.orders", "view:api.orders", True),
        ("view:api.orders", "api.orders", True),
        ("view:api.orders#1", "api.orders", True),
        ("view:api.orders#1", "view:api.orders", True),
        ("view:api.orders#1", "view:api.orders#1", True),
        ("view:api.orders#1", "view:api.orders#2", False),
        ("view:api.orders", "orders", False),
        ("view:api.orders", "view", False),
        ("view:items:POST", "items:POST", True),
        ("shared:search", "search", True),
    ],
)
def test_a_scope_is_meant_with_or_without_its_kind(scope: str, name: str, meant: bool) -> None:
    assert is_in_scope(scope, frozenset((name,))) is meant


# What is held -----------------------------------------------------------------------------------------------------


def test_a_process_sees_what_it_counts_itself(app: Flask) -> None:
    served(app, limit("5/minute"))
    backend, _ = ask(app, times=2)

    (held,) = holdings(backend, "127.0.0.1")

    assert (held.identity, held.scope, held.kind, held.remaining) == ("127.0.0.1", "view:view", "limit", 3)
    forget(backend, [held])
    assert holdings(backend) == []


def test_what_counts_no_more_is_not_shown_although_it_is_still_stored(app: Flask, clock: Clock) -> None:
    served(app, limit("5/minute", algorithm="sliding-window-counter"))
    backend, _ = ask(app)
    before = len(holdings(backend))
    clock.advance(78)  # in the next window less than a whole request of the previous one weighs

    assert len(list(backend.counter.find())) == 1
    assert (before, holdings(backend)) == (1, [])


def test_no_more_are_returned_than_wanted(app: Flask) -> None:
    served(app, limit("5/minute; 6/hour; 7/day"))
    backend, _ = ask(app)

    assert [len(holdings(backend, most=most)) for most in (None, 0, 1, 2, 9)] == [3, 0, 1, 2, 3]


def test_lifting_a_ban_forgets_the_strikes_of_that_ban_only(app: Flask) -> None:
    served(app, ban(after="2/hour", on=403, shared="one"), ban(after="3/hour", on=403, shared="two"), limit("9/hour"))
    backend, _ = ask(app, times=2, path="/?bad")

    lift(backend, [each for each in holdings(backend) if each.kind == "ban"])

    assert [(each.scope, each.remaining) for each in holdings(backend)] == [("ban:two", 1), ("view:view", 7)]


def test_a_ban_is_described_without_a_rate(app: Flask) -> None:
    served(app, ban(after="1/hour", on=403, lasting="2h"))
    backend, _ = ask(app, path="/?bad")

    (banned,) = holdings(backend, unit="ban")

    facts = banned.describe()
    assert 7190 <= facts.pop("available_in") <= 7200
    assert facts == {
        "client": "127.0.0.1",
        "scope": "ban:view:view",
        "kind": "ban",
        "rate": None,
        "algorithm": None,
        "remaining": 0,
        "seconds": 7200,
    }


# What cannot be seen ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"), [({}, "memory"), ({"RATELIMIT_ENABLED": False}, "RATELIMIT_ENABLED")], ids=["memory", "off"]
)
def test_what_other_processes_cannot_see_is_refused(make_app: MakeApp, config: dict[str, Any], words: str) -> None:
    backend = served(make_app(**config), limit("5/minute"))

    with pytest.raises(ConfigError, match=words):
        check_visible(backend)


@pytest.mark.parametrize("what", ["look", "lift"])
def test_an_error_of_the_store_shows_no_password(make_app: MakeApp, app: Flask, what: str) -> None:
    served(app, ban(after="1/hour", on=403))
    bans = holdings(ask(app, path="/?bad")[0], unit="ban")
    backend = served(make_app(RATELIMIT_STORAGE_URI="broken://"), limit("5/minute"))

    with pytest.raises(StoreDown) as raised:
        holdings(backend) if what == "look" else lift(backend, bans)

    assert str(raised.value) == "OSError: no route to redis://…@db.example:6379/0, try later"
