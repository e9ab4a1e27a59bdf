"""What is particular about keys in SQL: the file that is there by default, and what is refused when it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_guard import ConfigError, Guard, require_api_key
from flask_guard.keys import KeySource, SignedKeys, SQLKeys, StoredKeys


@pytest.fixture
def instance_app(tmp_path: Path) -> Flask:
    return Flask("tests", instance_path=str(tmp_path / "instance"))


def test_without_a_url_the_keys_are_in_the_instance_folder(instance_app: Flask, tmp_path: Path) -> None:
    source = SQLKeys()
    assert isinstance(source, KeySource)
    keys = source.for_app(instance_app)

    new = keys.create(name="shop")
    keys.close()

    again = SQLKeys(f"sqlite:///{tmp_path / 'instance' / 'api_keys.sqlite'}")
    assert again.get(new.key.id).name == "shop"
    again.close()


def test_guard_binds_them_to_its_app(instance_app: Flask) -> None:
    Guard(instance_app, keys=SQLKeys(), policies=[require_api_key])

    assert instance_app.test_client().get("/").status_code == 401


def test_revocations_of_signed_keys_are_bound_to_the_app_too(instance_app: Flask) -> None:
    signed = SignedKeys("a signing secret", revocations=SQLKeys()).for_app(instance_app)
    secret = signed.issue("partner")
    assert signed.lookup(secret) is not None

    signed.revoke("partner")

    assert signed.lookup(secret) is None


def test_keys_without_an_app_say_what_they_lack() -> None:
    with pytest.raises(ConfigError, match="no database yet"):
        SQLKeys().lookup(StoredKeys(SQLKeys()._table).format.new("0123456789"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "sqlite://"}, "in memory"),
        ({"url": "sqlite:///:memory:"}, "in memory"),
        ({"url": "nonsense"}, "cannot be meant"),
        ({"url": "nonsense://localhost/keys"}, "cannot be meant"),
        ({"table": "keys; drop table users"}, "must be a name"),
        ({"timeout": 0}, "must be seconds"),
        ({"timeout": True}, "must be seconds"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SQLKeys(**options)


def test_no_password_of_a_database_shows_in_a_message() -> None:
    with pytest.raises(ConfigError) as caught:
        SQLKeys("nonsense://shop:hunter2@localhost/keys")

    assert "hunter2" not in str(caught.value)
