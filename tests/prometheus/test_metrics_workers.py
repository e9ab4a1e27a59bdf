"""`metrics` of several workers: what they count adds up, whichever of them shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serving import GUNICORN, Serving, serving

from .metrics_page import Samples, samples_in

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("servers with metrics")]

APP = """
import os
from flask import Flask
from flask_guard import Guard, limit, metrics, metrics_view

app = Flask("served")
app.add_url_rule("/metrics", view_func=metrics_view)
Guard(app, policies=[metrics])


@app.get("/")
def index():
    return str(os.getpid())


@app.get("/stream")
def stream():
    return (str(number) for number in range(100))


@app.get("/limited")
@limit("1/hour", mode="report")
def limited():
    return "limited"
"""


@pytest.fixture(scope="module", params=[[], ["--preload"], ["--threads", "4"]], ids=["sync", "preloaded", "gthread"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Return a gunicorn with two workers."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "served.py").write_text(APP, encoding="utf-8")
    (folder / "metrics").mkdir()
    command = [*GUNICORN, "--workers", "2", *request.param, "served:app"]
    with serving(command, folder, PROMETHEUS_MULTIPROC_DIR=str(folder / "metrics")) as running:
        yield running


def get(server: Serving, path: str) -> str:
    return server.get(path)[1].decode()


def counted(page: str, of: str = "flask_guard_requests_total") -> Samples:
    """Return the requests on `page` by endpoint and class of status, those for pages of metrics left out."""
    samples = samples_in(page, of, "endpoint", "status")
    return {labels: value for labels, value in samples.items() if labels[0] != "metrics_view"}


def test_what_two_workers_count_adds_up(server: Serving) -> None:
    workers: set[str] = set()
    sent = 0
    with ThreadPoolExecutor(8) as pool:
        while len(workers) < 2 and sent < 5000:  # the second worker may still be starting
            workers.update(pool.map(lambda _: get(server, "/"), range(50)))
            sent += 50
        list(pool.map(lambda _: get(server, "/stream"), range(30)))
        list(pool.map(lambda number: get(server, f"/nowhere/{number}"), range(20)))
        list(pool.map(lambda _: get(server, "/limited"), range(10)))
    assert len(workers) == 2

    pages = [get(server, "/metrics") for _ in range(4)]

    for page in pages:
        timed = counted(page, "flask_guard_request_duration_seconds_count")
        expected = {("index", "2xx"): sent, ("stream", "2xx"): 30, ("(unmatched)", "4xx"): 20, ("limited", "2xx"): 10}
        assert counted(page) == timed == expected
        denied = samples_in(page, "flask_guard_denials_total", "policy", "reason", "mode")
        assert list(denied.values()) in ([8], [9])  # each worker counts limits in its own memory


def test_names_select_metrics_of_all_workers(server: Serving) -> None:
    path = "/metrics?name[]=flask_guard_requests_total"
    before = counted(get(server, path))

    for _ in range(5):
        get(server, "/")

    page = get(server, path)
    assert counted(page) == {**before, ("index", "2xx"): before.get(("index", "2xx"), 0) + 5}
    assert "duration" not in page


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    return subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60)


TWO_APPS = """
from flask import Flask
from flask_guard import Guard, metrics, metrics_view

def make(**options):
    app = Flask("one of two")
    app.add_url_rule("/", "index", lambda: "hello")
    app.add_url_rule("/metrics", view_func=metrics_view)
    Guard(app, policies=[metrics(**options)])
    return app

apps = [make(), make({second})]
for app in apps:
    app.test_client().get("/")
print(apps[0].test_client().get("/metrics").text)
"""


def test_two_apps_of_one_process_are_not_mixed_up(tmp_path: Path) -> None:
    alike = run(TWO_APPS.replace("{second}", ""), tmp_path)
    apart = run(TWO_APPS.replace("{second}", "prefix='second'"), tmp_path)

    assert "ConfigError: metrics at" in alike.stderr
    assert "Write another prefix for this app" in alike.stderr
    for prefix in ("flask_guard", "second"):
        assert samples_in(apart.stdout, f"{prefix}_requests_total", "endpoint") == {("index",): 1}


TOO_LATE = """
import os
folder = os.environ.pop("PROMETHEUS_MULTIPROC_DIR")
import prometheus_client
os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
"""


@pytest.mark.parametrize(
    ("before", "folder", "message"),
    [
        ("", "missing", "PROMETHEUS_MULTIPROC_DIR must name a directory that exists"),
        (
            TOO_LATE,
            "",
            "PROMETHEUS_MULTIPROC_DIR must be set before prometheus_client is imported",
        ),
    ],
)
def test_an_environment_that_would_count_wrong_is_refused(
    tmp_path: Path, before: str, folder: str, message: str
) -> None:
    done = run(before + TWO_APPS.replace("{second}", ""), tmp_path / folder)

    assert done.returncode == 1
    assert message in done.stderr
