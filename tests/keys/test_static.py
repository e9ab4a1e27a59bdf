"""`StaticKeys`, as `GUARD_API_KEYS` and `Guard(keys={...})` read them."""

from __future__ import annotations

import traceback
from datetime import date, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest
from flask import Flask

from flask_guard import ApiKey, ConfigError, Guard, current_api_key, require_api_key
from flask_guard.keys import KeyStore, StaticKeys
from tests.cases import together
from tests.ids import shown

from ..conftest import MakeApp

SECRET = "s3cret-of-the-shop"
HASH = f"sha256:{sha256(SECRET.encode()).hexdigest()}"
NOW = datetime.now(timezone.utc)


def status_with(app: Flask, secret: str) -> int:
    """Return what `app`, its every view guarded, answers to `secret`."""
    Guard(app, policies=[require_api_key])
    app.add_url_rule("/", "view", lambda: current_api_key.id)
    return app.test_client().get("/", headers={"X-API-Key": secret}).status_code


@pytest.mark.parametrize(
    "entry",
    [
        SECRET,
        HASH,
        f"sha256:{sha256(SECRET.encode()).hexdigest().upper()}",
        {"hash": HASH},
        {"hash": HASH, "scopes": [], "expires": None, "name": ""},
    ],
    ids=["secret", "hash", "hash in capitals", "dict", "dict with defaults"],
)
def test_a_key_is_written_as_a_secret_a_hash_or_a_dict(make_app: MakeApp, entry: Any) -> None:
    app = make_app(GUARD_API_KEYS={"shop": entry})

    assert status_with(app, SECRET) == 200
    assert StaticKeys({"shop": entry}).lookup(SECRET) == ApiKey("shop")


@together("entry", [SECRET, HASH, {"hash": HASH}])
@together("presented", [HASH, HASH.partition(":")[2], "shop", SECRET.upper(), SECRET + " ", "", "\udcff"])
def test_only_the_secret_opens_the_door(entry: Any, presented: str) -> None:
    assert StaticKeys({"shop": entry}).lookup(presented) is None


def test_a_key_has_the_scopes_expiry_and_name_that_its_dict_says() -> None:
    entry = {"hash": HASH, "scopes": ["orders:read", "orders:write"], "expires": "2031-01-31", "name": "The shop"}

    key = StaticKeys({"shop": entry}).lookup(SECRET)

    end_of_day = datetime(2031, 1, 31, 23, 59, 59, 999999, tzinfo=timezone.utc)
    assert key == ApiKey("shop", "The shop", frozenset({"orders:read", "orders:write"}), end_of_day)


def test_one_scope_may_be_written_as_a_string() -> None:
    key = StaticKeys({"shop": {"hash": HASH, "scopes": "orders:read"}}).lookup(SECRET)

    assert key is not None
    assert key.scopes == {"orders:read"}


@together(
    ("expires", "status"),
    [
        (NOW - timedelta(seconds=1), 401),
        (NOW + timedelta(hours=1), 200),
        ((NOW - timedelta(hours=1)).astimezone(timezone(timedelta(hours=5))), 401),
        ((NOW + timedelta(hours=1)).astimezone(timezone(timedelta(hours=-5))), 200),
        ((NOW + timedelta(hours=1)).isoformat(), 200),
        ((NOW - timedelta(hours=1)).isoformat(), 401),
        ((NOW + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"), 200),
        (date(2020, 1, 31), 401),
        ("2020-01-31", 401),
        (NOW.timestamp() + 3600, 200),
        (int(NOW.timestamp()) - 3600, 401),
    ],
)
def test_a_key_works_until_it_expires(make_app: MakeApp, expires: object, status: int) -> None:
    app = make_app(GUARD_API_KEYS={"shop": {"hash": HASH, "expires": expires}})

    assert status_with(app, SECRET) == status


BAD_ENTRIES = {
    "empty secret": "",
    "blank secret": "  \n",
    "short hash": "sha256:" + SECRET,
    "hash in another case": "SHA256:" + HASH.partition(":")[2],
    "hash after a space": " " + HASH,
    "hash with a dash": "sha-256:" + HASH.partition(":")[2],
    "other hash": "md5:" + SECRET,
    "werkzeug's hash": "scrypt:32768:8:1$" + SECRET,
    "bcrypt": "$2b$12$" + SECRET,
    "bytes": SECRET.encode(),
    "number": 12345,
    "none": None,
    "list": [SECRET],
    "secret that is not text": SECRET + "\udc80",
    "empty dict": {},
    "dict with the secret for a hash": {"hash": SECRET},
    "dict with a secret": {"secret": SECRET},
    "misspelt field": {"hash": HASH, "scope": ["orders:read"]},
    "malformed scope": {"hash": HASH, "scopes": ["orders read"]},
    "scopes that are no list": {"hash": HASH, "scopes": 5},
    "scopes with a number": {"hash": HASH, "scopes": [5]},
    "name that is no text": {"hash": HASH, "name": 5},
    "unparsable expiry": {"hash": HASH, "expires": "next year"},
    "impossible expiry": {"hash": HASH, "expires": "2031-02-30"},
    "expiry without a time zone": {"hash": HASH, "expires": datetime(2031, 1, 31)},  # noqa: DTZ001  # the point
    "endless expiry": {"hash": HASH, "expires": float("inf")},
    "expiry of another type": {"hash": HASH, "expires": True},
}


@together("how", ["config", "keyword"])
@together("entry", BAD_ENTRIES.values())
def test_a_bad_entry_is_refused_at_init_app_by_its_id_and_without_its_secret(
    make_app: MakeApp, entry: Any, how: str
) -> None:
    keys = {"good": "another secret", "the-shop": entry}
    config, keyword = ({"GUARD_API_KEYS": keys}, None) if how == "config" else ({}, keys)

    with pytest.raises(ConfigError, match="the-shop") as caught:
        Guard(make_app(**config), keys=keyword)

    shown = "".join(traceback.format_exception_only(caught.value))
    assert SECRET not in shown
    assert HASH.partition(":")[2] not in shown


@pytest.mark.parametrize("key_id", ["", 5, None, "two\nlines"], ids=shown)
def test_a_key_id_must_be_printable_text(make_app: MakeApp, key_id: Any) -> None:
    with pytest.raises(ConfigError, match="key id") as caught:
        Guard(make_app(GUARD_API_KEYS={key_id: SECRET}))

    assert SECRET not in str(caught.value)


def test_two_ids_with_one_secret_are_refused_as_nobody_could_tell_them_apart(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError, match=r"'a' and 'b'") as caught:
        Guard(make_app(GUARD_API_KEYS={"a": SECRET, "b": {"hash": HASH}}))

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("keys", [[SECRET], SECRET, 5], ids=["list", "text", "number"])
def test_keys_that_are_no_mapping_are_refused_at_init_app_without_showing_them(make_app: MakeApp, keys: Any) -> None:
    with pytest.raises(ConfigError, match="GUARD_API_KEYS") as caught:
        Guard(make_app(GUARD_API_KEYS=keys))

    assert SECRET not in str(caught.value)


def test_a_secret_beyond_ascii_is_compared_as_utf_8() -> None:
    keys = StaticKeys({"plain": "ключ-鍵", "hashed": f"sha256:{sha256('clé'.encode()).hexdigest()}"})

    assert keys.lookup("ключ-鍵") == ApiKey("plain")
    assert keys.lookup("clé") == ApiKey("hashed")


def test_its_repr_shows_ids_and_nothing_else() -> None:
    keys = StaticKeys({"shop": SECRET, "ci": "another"})

    assert repr(keys) == "StaticKeys(shop, ci)"
    assert isinstance(keys, KeyStore)
    assert len(keys) == 2
    assert "secret" not in repr(keys.lookup(SECRET)).lower()
