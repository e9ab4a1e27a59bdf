"""Where nobody has configured logging, each request gets one line on stderr; where somebody has, nothing is added."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import free_port, is_listening, stop, wait_for
from tests.forked import Forks
from tests.readme import blocks
from tests.serving import ROOT, Serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("programs")]

ESCAPE = re.compile(r"\x1b\[[\d;]*m")
APP = """
import time
from flask import Flask
from flask_guard import Guard, exempt, limit, log_timing, require_api_key

app = Flask("shop")
app.config["GUARD_API_KEYS"] = {"ci": "a long random secret"}
Guard(app, policies=[log_timing])


@app.get("/")
def index():
    return "hello"


@app.get("/stream")
def stream():
    return iter(["a", "b"])


@app.get("/quiet")
@exempt(log_timing)
def quiet():
    return "quiet"


@app.get("/orders")
@require_api_key(scopes="orders:read", in_="bearer")
def orders():
    return []


@app.get("/api/orders")
@require_api_key
def api_orders():
    return []


@app.post("/api/orders")
@require_api_key(scopes="orders:write")
def create():
    return {}, 201


@app.get("/search")
@limit("1/minute")
def search():
    return "found"


@app.get("/once")
@limit("1/hour")
def once():
    return "once"


@app.get("/report")
@log_timing(slow_ms=200)
def report():
    time.sleep(0.3)
    return "report"


@app.get("/broken")
def broken():
    raise ZeroDivisionError
"""
KEY = {"Authorization": "Bearer a long random secret"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "served.py").write_text(APP, encoding="utf-8")
    return folder


class Terminal:
    """A terminal in which `flask run` runs."""

    def __init__(self, folder: Path, *options: str, columns: int = 100) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        port = free_port()
        command = ["flask", "--app", "served", *options, "run", "--no-reload", "--port", str(port)]
        environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env={**environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self._written = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.server = Serving(port, process)
        wait_for(lambda: is_listening(port), process, 60)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # the last process that had it has ended
                return
            self._written += data

    def close(self) -> list[str]:
        """End the server, and return the lines that were written."""
        self.server.process.send_signal(signal.SIGINT)
        stop(self.server.process)
        self._reader.join(10)
        os.close(self._master)
        return self._written.decode().replace("\r\n", "\n").splitlines()


def requests(server: Serving) -> None:
    """Send requests of each sort."""
    for path in ("/", "/stream", "/orders", "/once", "/once", "/quiet", "/nowhere"):
        server.get(path)
    server.get("/orders", headers=KEY)
    server.get("/quiet")


def test_terminal_shows_one_coloured_line_for_each_request(folder: Path) -> None:
    terminal = Terminal(folder)
    requests(terminal.server)

    written = terminal.close()

    lines = [ESCAPE.sub("", line) for line in written]
    assert " * Serving Flask app 'served'" in lines
    assert any(line.startswith(" * Running on http://127.0.0.1:") for line in lines)
    assert any(ESCAPE.match(line) and "Press CTRL+C to quit" in line for line in written)
    shown = [re.sub(r"^[\d:]{8} |\d+\.\d ms", "", line) for line in lines if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert [re.sub(r" {2,}", "  ", line).rstrip() for line in shown] == [
        "200 GET  /",
        "200 GET  /stream",
        "401 GET  /orders  denied by require_api_key (missing)",
        "200 GET  /once",
        "429 GET  /once  denied by limit (exceeded)",
        "404 GET  /nowhere",
        "403 GET  /orders  api_key=ci  denied by require_api_key (insufficient_scope)",
    ]
    access = [line for line in written if "GET" in line and " ms" in line]
    assert all(ESCAPE.search(line) for line in access)
    assert [line for line in lines if "HTTP/1.1" in line and "/quiet" not in line] == []
    assert len([line for line in lines if "GET /quiet HTTP/1.1" in line]) == 2


def test_refused_request_says_in_debug_mode_what_would_have_let_it_through(folder: Path) -> None:
    terminal = Terminal(folder, "--debug")
    for headers in ({}, {"Authorization": "Bearer nonsense"}, KEY):
        terminal.server.get("/orders", headers=headers)
    for _ in range(2):
        terminal.server.get("/once")
    terminal.server.get("/broken")

    written = terminal.close()

    refused = [ESCAPE.sub("", line).partition(" ms  ")[2] for line in written if "denied" in line]
    assert [re.sub(r"\d{4}", "3600", line) for line in refused] == [
        "denied by require_api_key (missing): Send a key with the scope orders:read: …",
        "denied by require_api_key (unknown): Send a key that the app knows: those of…",
        "api_key=ci  denied by require_api_key (insufficient_scope): Send a key with the scope orders:read.",
        "denied by limit (exceeded): Wait 3600 s, raise the limit, or clear …",
    ]
    assert not any("nonsense" in line or "a long random secret" in line for line in written)
    assert len([line for line in written if "/broken" in line]) == 1


def test_terminal_shows_what_the_readme_shows(folder: Path) -> None:
    def comparable(line: str) -> str:
        return re.sub(r" +\d+\.\d ms", " … ms", re.sub(r"^[\d:]{8}|\d+(?= s\b)", "…", line.rstrip()))

    terminal = Terminal(folder, "--debug", columns=130)
    server = terminal.server
    for path in ("/", "/api/orders", "/search", "/search", "/report", "/broken"):
        server.get(path)
    server.get("/api/orders", headers=KEY)
    server.get("/api/orders", "POST", KEY)

    written = [comparable(ESCAPE.sub("", line)) for line in terminal.close()]

    (shown,) = [block for block in blocks("text") if "denied by" in block]
    assert sorted(map(comparable, shown.splitlines())) == sorted(line for line in written if " ms" in line)


@pytest.fixture
def stderr_of(folder: Path, forks: Forks) -> Callable[..., list[str]]:
    """Return a function that runs a program, with the app, and returns the lines on its stderr."""

    def run(program: str) -> list[str]:
        ended = forks.run(["-c", textwrap.dedent(program)], folder)
        assert ended.returncode == 0, ended.stderr
        return ended.stderr.splitlines()

    return run


SEND = """
from served import app
client = app.test_client()
for path in ("/", "/orders", "/broken"):
    client.get(path, headers={"X-Request-ID": "0123456789"}, buffered=True)
"""
PLAIN = [
    r"[\d:.]{12} INFO  GET / 200 \d+\.\d ms 5 B \[01234567\]",
    r"[\d:.]{12} INFO  GET /orders 401 \d+\.\d ms \d+ B \[01234567\] denied by require_api_key \(missing\)",
    r"[\d:.]{12} WARNING GET /broken 500 \d+\.\d ms 265 B \[01234567\] ZeroDivisionError",
]


def matches(lines: list[str], patterns: list[str]) -> bool:
    return len(lines) == len(patterns) and all(map(re.fullmatch, patterns, lines))


@pytest.mark.parametrize(
    "before",
    [
        "",
        "import logging; logging.getLogger('shop').addHandler(logging.StreamHandler())",  # another branch
        "import logging; logging.getLogger('flask_guard.access').setLevel(logging.INFO)",
    ],
)
def test_line_is_plain_where_stderr_is_no_terminal(stderr_of: Callable[[str], list[str]], before: str) -> None:
    lines = [line for line in stderr_of(f"{before}\n{SEND}") if " ms " in line]

    assert matches(lines, PLAIN)


@pytest.mark.parametrize(
    ("before", "lines"),
    [
        ("logging.basicConfig(level=logging.INFO, format='mine %(message)s')", 3),
        ("logging.basicConfig(format='mine %(message)s')", 1),  # warnings
        ("logging.getLogger('flask_guard').addHandler(logging.NullHandler())", 0),
        ("logging.getLogger('flask_guard').setLevel(logging.CRITICAL)", 0),
        ("logging.getLogger('flask_guard.access').disabled = True", 0),
        ("logging.disable(logging.CRITICAL)", 0),
    ],
)
def test_configured_logging_is_all_there_is(stderr_of: Callable[[str], list[str]], before: str, lines: int) -> None:
    written = [line for line in stderr_of(f"import logging, served\n{before}\n{SEND}") if " ms" in line]

    assert len(written) == lines
    assert all(line.startswith("mine ") for line in written)


def test_logging_that_is_configured_later_takes_over(stderr_of: Callable[[str], list[str]]) -> None:
    later = "import logging; logging.basicConfig(level=logging.INFO, format='mine %(message)s')"

    lines = [line for line in stderr_of(f"{SEND}\n{later}\n{SEND}") if " ms" in line]

    assert matches(lines[:3], PLAIN)
    assert all(line.startswith("mine ") for line in lines[3:])
    assert len(lines) == 6


def test_layer_below_flask_writes_its_line_too(stderr_of: Callable[[str], list[str]]) -> None:
    program = """
        from wsgiref.util import setup_testing_defaults
        from flask_guard.wsgi import Timing
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"hello"]
        environ = {}
        setup_testing_defaults(environ)
        list(Timing(app, logger="flask_guard.access")(environ, lambda *_: lambda data: None))
    """

    assert matches(stderr_of(program), [r"[\d:.]{12} INFO  GET / 200 \d+\.\d ms 5 B"])
