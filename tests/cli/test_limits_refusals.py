"""``flask guard limits`` and ``bans``: their exit codes, and what they say when they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from flask_guard import ApiKey, Guard, limit
from flask_guard.keys import SignedKeys, SQLKeys, chain
from tests.cases import together

from ..conftest import MakeApp, free_port
from ..rate_limits.unlistable import Unlistable
from .conftest import KEYS, ask, assert_refused, guard_command, held, limited_app, sqlite_uri

pytestmark = pytest.mark.slow

OF_CLIENT = [["limits", "status"], ["limits", "reset", "--yes"], ["bans", "show"], ["bans", "lift", "--yes"]]
ALL = [[*command, "--key", "192.0.2.1"] for command in OF_CLIENT] + [["limits", "status", "--all"], ["bans", "list"]]


@pytest.fixture
def on_file(make_app: MakeApp, tmp_path: Path) -> Flask:
    return limited_app(make_app(RATELIMIT_STORAGE_URI=sqlite_uri(tmp_path)))


# 2: the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["limits", "status"], ["--key", "--all"]),
        (["limits", "status", "--key", "192.0.2.1", "--all"], ["--key", "--all"]),
        (["limits", "status", "--key", ""], ["--key", "empty"]),
        (["limits", "status", "--key", " "], ["--key", "empty"]),
        (["limits", "status", "--key", "\udcff"], ["--key", "UTF-8"]),
        (["limits", "reset", "--yes"], ["--key"]),
        (["limits", "reset", "--key", "192.0.2.1"], ["--yes"]),
        (["bans", "show"], ["--key"]),
        (["bans", "lift", "--yes"], ["--key"]),
        (["bans", "lift", "--key", "192.0.2.1"], ["--yes"]),
    ],
    ids=" ".join,
)
def test_exit_code_2_says_what_cannot_be_meant(on_file: Flask, command: list[str], words: list[str]) -> None:
    ask(on_file, "/address")

    result = guard_command(on_file, *command)

    assert (result.exit_code, result.stdout) == (2, "")
    assert all(word in result.stderr for word in words), result.stderr
    assert held(on_file, "192.0.2.1") != []


def assert_not_repeated(result: Result, secret: str, *words: str) -> None:
    assert (result.exit_code, result.stdout) == (2, "")
    assert secret not in result.output
    assert all(word in result.stderr for word in words), result.stderr


@pytest.mark.parametrize("command", OF_CLIENT, ids=" ".join)
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(
    make_app: MakeApp, tmp_path: Path, command: list[str]
) -> None:
    stored, signed = SQLKeys(f"sqlite:///{tmp_path / 'keys.sqlite'}"), SignedKeys("a signing secret")
    app = limited_app(make_app(RATELIMIT_STORAGE_URI=sqlite_uri(tmp_path)), chain(stored, signed, KEYS))
    new = stored.create()

    for secret, key_id in ((new.secret, new.key.id), (signed.issue("partner"), "partner"), (KEYS["ci"], "ci")):
        assert_not_repeated(guard_command(app, *command, "--key", secret), secret, "whole key", repr(key_id))
        assert_not_repeated(guard_command(app, *command, secret), secret, "--key")
        assert_not_repeated(guard_command(app, *command, "--key", "x", secret), secret, "--key CLIENT")
    stored.close()


def test_what_is_given_as_the_client_is_never_repeated(make_app: MakeApp, tmp_path: Path) -> None:
    def find(presented: str) -> ApiKey | None:
        raise KeyError(presented)

    app = limited_app(make_app(RATELIMIT_STORAGE_URI=sqlite_uri(tmp_path)), find)

    for command in OF_CLIENT:
        result = guard_command(app, *command, "--key", "a-secret-of-an-unknown-form")
        assert_refused(result, 3)
        assert "a-secret" not in result.output


# 3: nothing is held -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", OF_CLIENT, ids=" ".join)
@pytest.mark.parametrize("json", [[], ["--json"]], ids=["text", "json"])
def test_exit_code_3_nothing_is_held(limited: Flask, command: list[str], json: list[str]) -> None:
    ask(limited, "/address", address="192.0.2.2")

    words = ["not banned"] if command[0] == "bans" else ["nothing is counted"]
    assert_refused(guard_command(limited, *command, "--key", "192.0.2.1", *json), 3, *words)


# 4: the store cannot be reached -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_exit_code_4_there_is_no_server(make_app: MakeApp, command: list[str]) -> None:
    port = free_port()
    app = limited_app(make_app(RATELIMIT_STORAGE_URI=f"redis://user:pa%2Fss%3Aw%40rd@127.0.0.1:{port}/0"))

    result = guard_command(app, *command)

    assert_refused(result, 4, "ConnectionError", str(port))
    assert not [each for each in ("pa/ss", "w@rd", "pa%2Fss", "w%40rd") if each in result.output]


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_exit_code_4_the_server_refuses_the_password(make_app: MakeApp, redis_url: str, command: list[str]) -> None:
    app = limited_app(make_app(RATELIMIT_STORAGE_URI=redis_url.replace("//", "//user:s3cret@")))

    result = guard_command(app, *command)

    assert_refused(result, 4)
    assert "s3cret" not in result.output


@pytest.mark.parametrize("command", ALL, ids=" ".join)
@pytest.mark.parametrize("what", ["no folder", "no database"])
def test_exit_code_4_the_file_cannot_be_used(make_app: MakeApp, tmp_path: Path, command: list[str], what: str) -> None:
    if what == "no database":
        (tmp_path / "limits.db").write_text("this is no database, and long enough to be seen as none" * 200)
    folder = tmp_path if what == "no database" else tmp_path / "no" / "such"

    assert_refused(guard_command(limited_app(make_app(RATELIMIT_STORAGE_URI=sqlite_uri(folder))), *command), 4)


# 5: nobody else can see it ----------------------------------------------------------------------------------------

UNSEEN: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["memory", "each worker has its own", "sqlite:///", "redis://"]),
    ({"RATELIMIT_STORAGE_URI": "memory://"}, ["memory"]),
    ({"RATELIMIT_STORAGE_URI": f"{Unlistable.STORAGE_SCHEME[0]}://"}, ["cannot list", "SQLite", "Redis"]),
    ({"RATELIMIT_ENABLED": False}, ["RATELIMIT_ENABLED"]),
]


@together(("config", "words"), UNSEEN)
@together("command", ALL)
def test_exit_code_5_other_processes_cannot_see_it(
    make_app: MakeApp, config: dict[str, Any], words: list[str], command: list[str]
) -> None:
    app = make_app(**config)
    Guard(app)
    app.add_url_rule("/", "view", limit("5/minute")(lambda: ""))

    assert_refused(guard_command(app, *command), 5, *words)


# What is printed --------------------------------------------------------------------------------------------------


def test_a_hostile_client_cannot_write_on_the_terminal(on_file: Flask) -> None:
    hostile = "x\n\x1b[2J\u202ey"
    ask(on_file, "/address", address=hostile)

    for command in (["status", "--all"], ["status", "--key", hostile], ["reset", "--key", hostile, "--yes"]):
        result = guard_command(on_file, "limits", *command)
        assert all(line.isprintable() for line in result.stdout.splitlines()), result.stdout
        assert "x\\n\\x1b[2J\\u202ey" in result.stdout


@pytest.mark.parametrize("group", ["limits", "bans"])
def test_the_help_has_the_exit_codes_and_says_what_a_client_is(on_file: Flask, group: str) -> None:
    text = guard_command(on_file, group, "--help").stdout

    assert [code for code in range(6) if f"\n    {code}  " in text] == list(range(6))
    assert all(word in " ".join(text.split()) for word in ("address", "API key", "principal", "by="))
