"""`examples/custom_middleware.py` does, under real servers, what its docstring says."""

from __future__ import annotations

import ast
import http.client
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ..conftest import free_port, is_listening, stop, wait_for
from ..readme import ROOT

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "examples" / "custom_middleware.py"
SERVERS = {
    "flask": ["flask", "--app", "examples.custom_middleware", "run", "--port", "{port}"],
    "gunicorn": ["gunicorn", "--bind", "127.0.0.1:{port}", "examples.custom_middleware:app"],
    "gunicorn gthread": ["gunicorn", "--threads", "2", "--bind", "127.0.0.1:{port}", "examples.custom_middleware:app"],
}
OF_SERVERS = {"server", "date", "connection"}
TIME = re.compile(r"(?<=dur=)\d+\.\d$", re.MULTILINE)


def documented() -> list[tuple[str, str]]:
    """Return each command of the docstring, and what it prints."""
    text = ast.get_docstring(ast.parse(EXAMPLE.read_text(encoding="utf-8"))) or ""
    _, *shown = text.split("\n    $ ")
    blocks = [re.split(r"\n+(?=\S)", block)[0] for block in shown]
    commands = [block.partition("\n") for block in blocks]
    return [(command, re.sub(r"^    ", "", printed, flags=re.MULTILINE).rstrip()) for command, _, printed in commands]


class Server:
    """A server that runs a copy of the example in a folder of its own, where its instance folder is too."""

    def __init__(self, command: list[str], folder: Path) -> None:
        (folder / "examples").mkdir()
        for name in ("__init__.py", EXAMPLE.name):
            shutil.copy(EXAMPLE.parent / name, folder / "examples")
        self.folder = folder
        self.port = free_port()
        self._log = folder / "log"
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("FLASK_", "WERKZEUG_"))}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(word.format(port=self.port) for word in command)],
                cwd=folder,
                env={**environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def run(self, command: str) -> str:
        """Run a command of the docstring; return what it prints."""
        if command.startswith("curl -i "):
            return self._curl(command)
        subprocess.run(command, shell=True, cwd=self.folder, check=True)  # noqa: S602
        return ""

    def _curl(self, command: str) -> str:
        """Send what `command` would send; return what it would print, without what servers say of themselves."""
        _, _, url, *options = shlex.split(command)
        headers = dict(value.split(": ") for option, value in zip(options[::2], options[1::2], strict=True))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", urlsplit(url).path, headers=headers)
            answer = connection.getresponse()
            fields = [f"{name}: {value}" for name, value in answer.getheaders() if name.lower() not in OF_SERVERS]
            first = f"HTTP/1.1 {answer.status} {answer.reason}"
            return "\n".join([first, *fields, "", answer.read().decode().rstrip()])
        finally:
            connection.close()

    def logged(self, count: int) -> list[str]:
        """Wait for `count` access records, and a moment longer; return those that there are."""
        deadline = time.monotonic() + 10
        while len(self._logged()) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        return self._logged()

    def _logged(self) -> list[str]:
        return re.findall(
            r"^flask_guard\.access: (.*) \d+\.\d ms$", self._log.read_text(encoding="utf-8"), re.MULTILINE
        )


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Return a running server."""
    server = Server(SERVERS[request.param], tmp_path)
    try:
        wait_for(lambda: is_listening(server.port), server.process)
        yield server
    finally:
        stop(server.process)


def test_commands_print_what_the_docstring_shows(server: Server) -> None:
    shown = documented()

    printed = [(command, server.run(command)) for command, _ in shown]

    assert [(command, TIME.sub("…", text)) for command, text in printed] == [
        (command, TIME.sub("…", text)) for command, text in shown
    ]
    assert len(shown) == 7
    expected = ["GET / 200", "GET / 503", "GET /health 200", "GET /prices 200", "GET /prices 400"]
    assert sorted(server.logged(5)) == expected  # threads may log in another order than they answer in


def test_what_is_refused_becomes_possible_again(server: Server) -> None:
    named, unnamed = (
        "curl -i http://127.0.0.1:5000/prices -H 'X-Tenant: globex'",
        "curl -i http://127.0.0.1:5000/prices",
    )
    statuses = {}

    for state in ("touch", "rm"):
        server.run(f"mkdir -p instance && {state} instance/maintenance")
        statuses[state] = [server.run(command).split()[1] for command in (named, unnamed)]

    assert statuses == {"touch": ["503", "503"], "rm": ["200", "400"]}


def test_layers_see_what_no_policy_does(server: Server) -> None:
    answer = server.run("curl -i http://127.0.0.1:5000/nowhere")

    assert answer.startswith("HTTP/1.1 404 NOT FOUND\n")
    assert "\nX-Frame-Options: DENY\nServer-Timing: app;dur=" in answer
    assert server.logged(1) == ["GET /nowhere 404"]
