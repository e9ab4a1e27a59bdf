"""What is particular about keys in SQL: the file that is there by default, and what is refused when it is written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_guard import ConfigError, Guard, require_api_key
from flask_guard.keys import KeyFormat, KeySource, KeyStoreUnavailable, SignedKeys, SQLKeys


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
        SQLKeys().lookup(KeyFormat().new("0123456789"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "sqlite://"}, "in memory"),
        ({"url": "sqlite:///:memory:"}, "in memory"),
        ({"url": "nonsense"}, "is not a database URL"),
        ({"url": "nonsense://localhost/keys"}, "is not a database URL"),
        ({"table": "keys; drop table users"}, "must be a name"),
        ({"timeout": 0}, "must be seconds"),
        ({"timeout": True}, "must be seconds"),
    ],
)
def test_an_invalid_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SQLKeys(**options)


def test_no_password_of_a_database_shows_in_a_message() -> None:
    with pytest.raises(ConfigError) as caught:
        SQLKeys("nonsense://shop:hunter2@localhost/keys")

    assert "hunter2" not in str(caught.value)


# The file is for its owner only -----------------------------------------------------------------------------------


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of the files in `folder`."""
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Let new files be readable and writable by everybody, as far as the umask is concerned."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_a_new_file_and_those_beside_it_are_for_its_owner_only(instance_app: Flask, tmp_path: Path) -> None:
    keys = SQLKeys().for_app(instance_app)
    keys.create()

    found = modes(tmp_path / "instance")

    assert "api_keys.sqlite" in found
    assert set(found.values()) == {0o600}
    keys.close()


def test_a_file_that_everybody_may_read_is_closed_to_others_and_keeps_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys.sqlite"
    before = SQLKeys(f"sqlite:///{file}")
    new = before.create()
    for each in tmp_path.iterdir():
        each.chmod(0o666)
    before.close()

    after = SQLKeys(f"sqlite:///{file}")

    assert after.lookup(new.secret) == new.key
    assert set(modes(tmp_path).values()) == {0o600}
    after.close()


@pytest.mark.parametrize("exists", [True, False], ids=["link", "dangling link"])
@pytest.mark.parametrize("name", ["keys.sqlite", "keys.sqlite-wal"])
def test_a_symbolic_link_is_refused_and_not_followed(tmp_path: Path, exists: bool, name: str) -> None:
    elsewhere, file = tmp_path / "elsewhere", tmp_path / "keys.sqlite"
    if exists:
        elsewhere.write_bytes(b"")
    (tmp_path / name).symlink_to(elsewhere)

    with pytest.raises(ConfigError, match="symbolic link"):
        SQLKeys(f"sqlite:///{file}")

    assert elsewhere.exists() is exists


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(instance_app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "instance" / "api_keys.sqlite"
    file.parent.mkdir()
    file.write_bytes(b"")
    os.chown(file, 65534, 65534)

    with pytest.raises(ConfigError, match="belongs to the user with the id 65534"):
        Guard(instance_app, keys=SQLKeys())


def test_a_link_that_comes_later_lets_nobody_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys.sqlite"
    keys = SQLKeys(f"sqlite:///{file}")
    file.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(KeyStoreUnavailable, match="symbolic link"):
        keys.lookup(keys.format.new("0123456789"))

    assert not (tmp_path / "elsewhere").exists()
    assert "symbolic link" in caplog.text
