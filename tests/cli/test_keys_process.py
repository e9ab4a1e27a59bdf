"""``flask guard keys`` as a program: in a process of its own, with a real database, pipes and a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Flask

from flask_guard.keys import NewKey, SQLKeys

from ..forked import Forks
from .conftest import status_of
from .process import Command

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("programs")]

APP = """
from flask import Flask
from flask_guard import Guard
from flask_guard.keys import SQLKeys

app = Flask(__name__)
Guard(app, keys=SQLKeys("sqlite:///keys.sqlite"))
"""


@pytest.fixture
def command(forks: Forks, tmp_path: Path) -> Command:
    """Return the ``flask guard keys`` for an app whose keys are those of `store`."""
    return Command(forks, APP, tmp_path, "keys")


def test_a_key_lives_from_create_to_revoke_across_processes(app: Flask, command: Command) -> None:
    created = command.run("create", "--scope", "orders:read", "--json")
    first = json.loads(created.stdout)
    assert (created.returncode, created.stdout.count(first["secret"])) == (0, 1)
    assert first["secret"] not in created.stderr
    assert command.run("verify", input=first["secret"]).returncode == 0
    assert status_of(app, first["secret"]) == 200

    second = json.loads(command.run("rotate", first["id"], "--overlap", "24h", "--json").stdout)
    assert [status_of(app, each["secret"]) for each in (first, second)] == [200, 200]

    asked = command.run("revoke", first["id"])
    assert (asked.returncode, asked.stdout, "--yes" in asked.stderr) == (2, "", True)
    assert command.run("revoke", first["id"], "--yes").returncode == 0
    assert [status_of(app, each["secret"]) for each in (first, second)] == [401, 401]
    refused = command.run("verify", input=second["secret"])
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "not valid\n", "")


@pytest.mark.parametrize(("arguments", "exit_code"), [(["show", "x"], 3), (["list"], 4)], ids=["3", "4"])
def test_a_process_ends_with_the_exit_code_and_one_line(
    command: Command, tmp_path: Path, arguments: list[str], exit_code: int
) -> None:
    if exit_code == 4:
        (tmp_path / "keys.sqlite").write_text("this is no database, and long enough to be seen as none" * 20)

    result = command.run(*arguments)

    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (exit_code, "", 1)


@pytest.fixture
def new(app: Flask, store: SQLKeys) -> NewKey:
    return store.create(name="The shop")


@pytest.mark.parametrize(
    ("answer", "exit_code", "status"), [("y", 0, "revoked"), ("n", 1, "active"), ("", 1, "active")]
)
def test_revoke_asks_on_a_terminal(
    command: Command, store: SQLKeys, new: NewKey, answer: str, exit_code: int, status: str
) -> None:
    code, output, shown = command.on_terminal("revoke", new.key.id, "--json", wait="[y/N]", type=answer)

    assert (code, store.get(new.key.id).status) == (exit_code, status)
    assert f"Revoke key {new.key.id} (The shop)?" in shown
    assert (json.loads(output)["status"] if output else "active") == status


def test_verify_asks_for_the_key_on_a_terminal_and_does_not_show_it(command: Command, new: NewKey) -> None:
    code, output, shown = command.on_terminal("verify", "--json", wait="Key", type=new.secret)

    assert (code, json.loads(output)["id"]) == (0, new.key.id)
    assert new.secret not in shown + output
