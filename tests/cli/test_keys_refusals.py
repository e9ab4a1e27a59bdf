"""``flask guard keys``: its exit codes, and what it says when it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flask_guard import ApiKey
from flask_guard.keys import KeyFormat, KeyStoreUnavailable, SignedKeys, SQLKeys, chain
from tests.cases import together

from ..conftest import MakeApp
from .conftest import Keys, assert_refused, guarded, made, one_of_each, runner

pytestmark = pytest.mark.slow


def no_keys(_presented: str) -> ApiKey | None:
    return None


def down(_presented: str) -> ApiKey | None:
    raise KeyStoreUnavailable("the directory is away")


def broken(presented: str) -> ApiKey | None:
    raise KeyError(presented)


ALL = [["create"], ["list"], ["show", "x"], ["rotate", "x"], ["revoke", "x", "--yes"]]


@pytest.mark.parametrize("command", ALL[2:], ids=lambda command: command[0])
@pytest.mark.parametrize("json", [[], ["--json"]], ids=["text", "json"])
def test_exit_code_3_no_such_key(keys: Keys, command: list[str], json: list[str]) -> None:
    assert_refused(keys(*command, *json), 3, "no such key")


def test_exit_code_3_rotate_a_revoked_key(keys: Keys, store: SQLKeys) -> None:
    assert_refused(keys("rotate", one_of_each(store)["revoked"]), 3, "revoked")


@pytest.mark.parametrize("command", [*ALL, ["verify"]], ids=lambda command: command[0])
def test_exit_code_4_the_store_cannot_be_reached(make_app: MakeApp, tmp_path: Path, command: list[str]) -> None:
    keys = runner(guarded(make_app(), SQLKeys(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.sqlite'}")))

    assert_refused(keys(*command, input=KeyFormat().new("0123456789")), 4, "database")


@pytest.mark.parametrize("find", [down, broken], ids=["down", "broken"])
def test_exit_code_4_a_callable_that_fails_does_not_show_the_key(make_app: MakeApp, find: Any) -> None:
    result = runner(guarded(make_app(), find))("verify", input="the-secret")

    assert_refused(result, 4)
    assert "the-secret" not in result.output


SOURCES: list[Any] = [None, {"ci": "a long static secret"}, no_keys, SignedKeys(), chain(SignedKeys(), no_keys)]


@together("source", SOURCES)
@together("command", ALL)
def test_exit_code_5_the_keys_cannot_be_changed(make_app: MakeApp, source: Any, command: list[str]) -> None:
    result = runner(guarded(make_app(), source))(*command)

    assert_refused(result, 5, "Guard(app, keys=SQLKeys())", "chain(SQLKeys(), …)")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["create", "--expires", "tomorrow"], ["--expires", "'tomorrow'", "2031-01-31T12:00:00+00:00", "90d"]),
        (["create", "--expires", "2031-01-31T12:00:00"], ["--expires", "time zone", "+00:00"]),
        (["create", "--expires", "999999999d"], ["--expires", "too far"]),
        (["create", "--expires", "999999999w"], ["--expires", "too long"]),
        (["create", "--expires", "2020-01-31"], ["--expires", "'2020-01-31'", "past"]),
        (["create", "--expires", "2020-01-31T12:00:00Z"], ["--expires", "past"]),
        (["create", "--expires", "0s"], ["--expires", "past"]),
        (["create", "--expires", "1d", "--not-before", "2d"], ["--expires", "--not-before", "write a later"]),
        (["create", "--not-before", "90"], ["--not-before", "'90'"]),
        (["create", "--not-before", ""], ["--not-before"]),
        (["create", "--scope", "a b"], ["--scope", "repeat --scope"]),
        (["create", "--rate", "fast"], ["--rate", "'fast'", "10/minute"]),
        (["create", "--address", "10.0.0.1/8"], ["--address", "192.0.2.0/24"]),
        (["create", "--claim", "plan"], ["--claim", "NAME=VALUE"]),
        (["create", "--claim", "=pro"], ["--claim", "NAME=VALUE"]),
        (["create", "--claim", "a=1", "--claim", "a=2"], ["--claim", "twice"]),
        (["create", "--name", "\udcff"], ["--name", "UTF-8"]),
        (["show", "\udcff"], ["ID", "UTF-8"]),
        (["list", "--status", "lost"], ["--status", "revoked"]),
        (["rotate", "x", "--overlap", "-5"], ["--overlap"]),
        (["rotate", "x", "--overlap", "91d"], ["--overlap", "90 days"]),
        (["rotate", "x", "--overlap", "nan"], ["--overlap", "24h"]),
        (["rotate", "x", "--overlap", "٣"], ["--overlap", "24h"]),
        (["revoke", "x"], ["--yes"]),
        (["verify"], ["standard input"]),
        (["show"], ["ID"]),
    ],
    ids=" ".join,
)
def test_exit_code_2_says_what_is_invalid(keys: Keys, store: SQLKeys, command: list[str], words: list[str]) -> None:
    result = keys(*command)

    assert (result.exit_code, result.stdout) == (2, "")
    assert all(word in result.stderr for word in words), result.stderr
    assert store.list() == []


def test_revoke_that_cannot_ask_changes_nothing(keys: Keys, store: SQLKeys) -> None:
    key_id = store.create().key.id

    assert keys("revoke", key_id, input="y\n").exit_code == 2
    assert store.get(key_id).status == "active"


def test_revoking_twice_is_no_error(keys: Keys, store: SQLKeys) -> None:
    key_id = store.create().key.id

    assert [made(keys("revoke", key_id, "--yes", "--json"))["status"] for _ in range(2)] == ["revoked", "revoked"]


@pytest.mark.parametrize("command", ["show", "rotate", "revoke", "verify"])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(keys: Keys, store: SQLKeys, command: str) -> None:
    new = store.create()

    result = keys(command, new.secret, *(["--yes"] if command == "revoke" else []), input=new.secret)

    assert result.exit_code == 2
    assert new.secret not in result.output
    assert store.get(new.key.id).status == "active"


def test_the_help_has_the_exit_codes(keys: Keys) -> None:
    text = keys("--help").stdout

    assert [code for code in range(6) if f"\n    {code}  " in text] == list(range(6))
