"""``flask guard limits`` and ``bans`` as a program: beside the processes that serve, and on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Flask

from ..conftest import MakeApp
from ..forked import Forks
from .conftest import ask, held, limited_app
from .process import Command

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("programs")]

on_sqlite = pytest.mark.parametrize("storage_uri", ["sqlite"], indirect=True)

APP = """
from flask import Flask
from flask_guard import Guard

app = Flask(__name__)
app.config["RATELIMIT_STORAGE_URI"] = {uri!r}
Guard(app)
"""


@pytest.fixture
def app(make_app: MakeApp, storage_uri: str) -> Flask:
    """Return the app that serves, in this process."""
    return limited_app(make_app(RATELIMIT_STORAGE_URI=storage_uri))


@pytest.fixture
def command(app: Flask, forks: Forks, tmp_path: Path) -> Command:
    """Return the ``flask guard`` for an app that counts where `app` does."""
    return Command(forks, APP.format(uri=app.config["RATELIMIT_STORAGE_URI"]), tmp_path)


@pytest.mark.slow
def test_support_sees_and_clears_what_another_process_counts(app: Flask, command: Command) -> None:
    ask(app, "/search", times=8)
    ask(app, "/banned?bad", times=2)

    seen = command.run("limits", "status", "--key", "192.0.2.1", "--json")
    assert (seen.returncode, seen.stderr) == (0, "")
    assert [(each["kind"], each["remaining"]) for each in json.loads(seen.stdout)] == [
        ("ban", 0),
        ("limit", 0),
    ]

    assert command.run("limits", "reset", "--key", "192.0.2.1", "--yes").returncode == 0
    assert [ask(app, path) for path in ("/search", "/banned")] == [200, 429]
    assert command.run("bans", "lift", "--key", "192.0.2.1", "--yes").returncode == 0
    assert ask(app, "/banned") == 200

    again = command.run("bans", "lift", "--key", "192.0.2.1", "--yes")
    assert (again.returncode, again.stdout, len(again.stderr.splitlines())) == (3, "", 1)


@pytest.mark.parametrize("storage_uri", ["memory://", "redis://127.0.0.1:1/0"])
def test_a_process_ends_with_the_exit_code_and_one_line(command: Command, storage_uri: str) -> None:
    result = command.run("bans", "list")

    assert (result.returncode, result.stdout) == (5 if storage_uri == "memory://" else 4, "")
    assert len(result.stderr.splitlines()) == 1


@on_sqlite
@pytest.mark.parametrize(("answer", "exit_code", "left"), [("y", 0, 0), ("n", 1, 1), ("", 1, 1)])
def test_reset_shows_what_it_is_about_and_asks_on_a_terminal(
    app: Flask, command: Command, answer: str, exit_code: int, left: int
) -> None:
    ask(app, "/search")

    code, output, shown = command.on_terminal(
        "limits", "reset", "--key", "192.0.2.1", "--json", wait="[y/N]", type=answer
    )

    assert (code, len(held(app, "192.0.2.1"))) == (exit_code, left)
    assert "shared:search" in shown
    assert [each["scope"] for each in json.loads(output.strip() or "[]")] == ["shared:search"] * (1 - left)


@on_sqlite
@pytest.mark.parametrize(("answer", "exit_code", "status"), [("y", 0, 200), ("n", 1, 429)])
def test_lift_asks_on_a_terminal(app: Flask, command: Command, answer: str, exit_code: int, status: int) -> None:
    ask(app, "/banned?bad", times=2)

    code, _, shown = command.on_terminal("bans", "lift", "--key", "192.0.2.1", wait="[y/N]", type=answer)

    assert (code, ask(app, "/banned")) == (exit_code, status)
    assert "ban:view:banned" in shown
