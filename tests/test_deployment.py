"""The README's chapter on deployment: its lines start servers behind nginx, and do what the checklist says."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port, is_listening, patient, required_program, stop, wait_for
from tests.readme import blocks
from tests.serving import ROOT, lines_in, uwsgi

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deployment")]

SECRET = "a long random secret"
VIEWS = """

import time
from flask_guard import defer, require_api_key


@application.get("/")
def index():
    return "hello"


@application.get("/keyed")
@require_api_key(scopes=["orders:write"])
def keyed():
    return "keyed"


def write(line):
    time.sleep(0.5)
    with open("written", "a") as file:
        file.write(line)


@application.get("/slow")
def slow():
    defer(write, "deferred")
    open("begun", "w").close()
    time.sleep(1)
    return "served"
"""
NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""
LINES = {line.split()[0]: line for block in blocks("sh") for line in block.splitlines() if "8000" in line}
(APP,) = [block for block in blocks("python") if block.startswith("# wsgi.py")]
(ENVIRONMENT,) = [block for block in blocks("sh") if "SHOP_SECRET_KEY" in block]
(LOCATION,) = blocks("nginx")


@dataclass
class Deployed:
    """A server as the README starts it, behind nginx."""

    server: subprocess.Popen[bytes]
    port: int
    nginx_port: int
    folder: Path

    def get(self, path: str = "/", source: str = "127.0.0.1", **headers: str) -> tuple[http.client.HTTPResponse, str]:
        """Send a request through nginx, from the address `source`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.nginx_port, timeout=120, source_address=(source, 0))
        with contextlib.closing(connection):
            connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response, response.read().decode()

    def records(self) -> list[dict[str, Any]]:
        """Return the records that the server has logged."""
        records = [json.loads(line) for line in lines_in(self.folder / "log") if line.startswith("{")]
        return [record for record in records if record["logger"] == "flask_guard.access"]

    def record_of(self, response: http.client.HTTPResponse) -> dict[str, Any]:
        """Return the record of a request."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for record in self.records():
                if record["request_id"] == response.headers["X-Request-ID"]:
                    return record
            time.sleep(0.02)
        raise AssertionError(self.records())


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, **options)
    try:
        wait_for(lambda: is_listening(port), process, 60)
        yield process
    finally:
        stop(process)


@pytest.fixture(scope="module", params=LINES)
def deployed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_url: str
) -> Iterator[Deployed]:
    """Return each server. The last test of this file stops it."""
    nginx, tmp_path = required_program("nginx", "nginx"), tmp_path_factory.mktemp("deployed")
    if request.param == "uwsgi":
        uwsgi()
    port, nginx_port = free_port(), free_port()
    (tmp_path / "wsgi.py").write_text(APP + VIEWS, encoding="utf-8")
    location = LOCATION.replace("8000", str(port))
    (tmp_path / "nginx.conf").write_text(
        NGINX.format(folder=tmp_path, port=nginx_port, location=location), encoding="utf-8"
    )
    environment = ENVIRONMENT.replace("sha256:…", f"sha256:{hashlib.sha256(SECRET.encode()).hexdigest()}")
    environment = environment.replace("=…", "=secret").replace("redis://127.0.0.1:6379/0", f"'{patient(redis_url)}'")
    line = LINES[request.param].replace("8000", str(port))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}
    environ |= {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    serve = running(
        ["bash", "-c", f"{environment}\nexec {line}"],
        port,
        tmp_path / "log",
        cwd=tmp_path,
        env=environ,
        preexec_fn=obey_interrupts,
    )
    proxy = running([nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], nginx_port, tmp_path / "nginx")
    with serve as server, proxy:
        yield Deployed(server, port, nginx_port, tmp_path)


def obey_interrupts() -> None:
    """Let SIGINT have its effect, also where the tests run in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_readme_has_a_line_for_each_server() -> None:
    assert list(LINES) == ["gunicorn", "uwsgi", "waitress-serve"]


def test_clients_are_told_apart_by_addresses_and_ids_that_they_cannot_choose(deployed: Deployed) -> None:
    forged = {"X_Forwarded_For": "203.0.113.7", "X_Forwarded_Proto": "https", "X_Request_ID": "mine"}

    for source in ("127.0.0.2", "127.0.0.3"):
        response, body = deployed.get(source=source, **forged)
        record = deployed.record_of(response)

        assert (response.status, body, record["address"]) == (200, "hello", source)
        assert len(record["request_id"]) == 32
        assert "q=100;w=60" in response.headers["RateLimit-Policy"]


def test_all_workers_count_together(deployed: Deployed) -> None:
    def left() -> list[int]:
        fields = [deployed.get(source="127.0.0.4")[0].headers["RateLimit"] for _ in range(20)]
        return [int(field.partition(";r=")[2].partition(";")[0]) for field in fields]

    counted = left()
    if counted[0] < counted[-1]:  # the minute has ended
        counted = left()

    assert counted == list(range(counted[0], counted[0] - 20, -1))


def test_keys_come_from_the_environment(deployed: Deployed) -> None:
    assert deployed.get("/keyed")[0].status == 401
    assert deployed.get("/keyed", Authorization=f"Bearer {SECRET}")[0].status == 200


def test_requests_under_way_and_deferred_work_are_finished_when_the_server_is_stopped(deployed: Deployed) -> None:
    bodies: list[str] = []
    request = threading.Thread(target=lambda: bodies.append(deployed.get("/slow")[1]))
    request.start()
    wait_for((deployed.folder / "begun").exists, deployed.server, 120)

    is_waitress = b"waitress" in Path(f"/proc/{deployed.server.pid}/cmdline").read_bytes()
    deployed.server.send_signal(signal.SIGINT if is_waitress else signal.SIGTERM)
    request.join(120)
    deployed.server.wait(120)

    assert bodies == ["served"]
    assert (deployed.folder / "written").read_text(encoding="utf-8") == "deferred"
