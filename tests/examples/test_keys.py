"""`examples/keys.py` keeps its promises: its commands and a real server, from a key's making to its end."""

from __future__ import annotations

import ast
import http.client
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest

from ..conftest import free_port, is_listening, stop, wait_for
from ..forked import Forks
from ..keys.reports import PUBLIC_KEYS, report_of, signed
from ..readme import ROOT

EXAMPLE = ROOT / "examples" / "keys.py"
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("programs")]  # which share one server

BOUND = 0.5
"""Seconds within which a revocation reaches the running server. The example itself has five."""


class Example:
    """A copy of the example in a folder of its own, where its instance folder is too, and a server that runs it."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self._forks = forks
        (folder / "examples").mkdir()
        shutil.copy(EXAMPLE.parent / "__init__.py", folder / "examples")
        text = EXAMPLE.read_text(encoding="utf-8")
        assert "SQLKeys()" in text
        (folder / "examples" / "keys.py").write_text(text.replace("SQLKeys()", f"SQLKeys(cache={BOUND})"), "utf-8")
        self.folder = folder
        self.port = free_port()
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("FLASK_", "WERKZEUG_"))}
        self.environ = {**environ, "FLASK_SCANNER_KEYS": json.dumps(PUBLIC_KEYS)}

    def start(self) -> subprocess.Popen[bytes]:
        """Return the running server."""
        command = [sys.executable, "-m", "flask", "--app", "examples.keys", "run", "--port", str(self.port)]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: is_listening(self.port), process)
        return process

    def run(self, command: str, **variables: str) -> tuple[int, Any]:
        """Run the line of the docstring that has `command`. Return its exit code and what it printed as JSON."""
        line = next(each for each in documented() if f"guard keys {command}" in each)
        yes = ["--yes"] if command == "revoke" else []
        piped, _, flask = line.rpartition(" | ")
        assert piped in ("", 'printf %s "$KEY"')
        words = [Template(word).substitute(variables) for word in shlex.split(flask)]
        text = variables["KEY"] if piped else ""
        done = self._forks.run(["-m", *words, *yes, "--json"], self.folder, text, self.environ)
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Send a request; return the status and the body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def status_with(self, secret: str) -> int:
        """Return how the server answers to a key."""
        return self.request("GET", "/orders", Authorization=f"Bearer {secret}")[0]

    def wait_until_refused(self, *secrets: str) -> None:
        """Return once the server refuses all `secrets`: when the bound is over, whatever it does until then."""
        time.sleep(BOUND)
        assert [self.status_with(each) for each in secrets] == [401] * len(secrets)


def documented() -> list[str]:
    """Return the commands of the example's docstring."""
    text = ast.get_docstring(ast.parse(EXAMPLE.read_text(encoding="utf-8"))) or ""
    return [line.partition("  #")[0].strip() for line in text.splitlines() if line.startswith("    ")]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Iterator[Example]:
    """Return the running example."""
    example = Example(tmp_path_factory.mktemp("example"), forks)
    process = example.start()
    try:
        yield example
    finally:
        stop(process)


def test_a_key_lives_as_the_docstring_tells(example: Example) -> None:
    _, made = example.run("create")
    key_id, secret = made["id"], made["secret"]
    order = {"Authorization": f"Bearer {secret}", "Content_Type": "application/json"}

    assert example.request("GET", "/orders")[0] == 401
    status, answer = example.request("GET", "/orders", Authorization=f"Bearer {secret}")
    assert (status, json.loads(answer)["for"]) == (200, "shop")
    assert example.request("POST", "/orders", b'{"item": "tea"}', **order)[0] == 403

    _, rotated = example.run("rotate", ID=key_id)
    assert rotated["secret"] != secret
    assert [example.status_with(each) for each in (secret, rotated["secret"])] == [200, 200]
    assert example.run("verify", KEY=secret)[0] == 0

    assert example.run("revoke", ID=key_id)[0] == 0
    assert example.run("verify", KEY=secret)[0] == 1
    example.wait_until_refused(secret, rotated["secret"])
    assert [(each["id"], each["status"]) for each in example.run("list")[1] if each["id"] == key_id] == [
        (key_id, "revoked")
    ]


def test_a_key_that_a_scanner_reports_is_refused_at_once(example: Example) -> None:
    secret = example.run("create")[1]["secret"]
    report = report_of(secret)
    before = example.status_with(secret)

    answer = example.request("POST", "/leaked-keys", report, **signed(report))

    assert (before, answer, example.status_with(secret)) == (200, (204, b""), 401)


def test_its_database_is_in_the_instance_folder_and_holds_no_secret(example: Example) -> None:
    secret = example.run("create")[1]["secret"]

    files = list((example.folder / "instance").iterdir())

    assert "api_keys.sqlite" in [file.name for file in files]
    assert not any(secret[-20:].encode() in file.read_bytes() for file in files)
