"""`metrics` counts how often a real limit storage stopped answering."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from flask import Flask

from flask_guard import limit
from tests.conftest import MakeApp, free_port, is_listening, required_program, stop, wait_for

from .metrics_page import samples, send, serve


def errors(app: Flask) -> float:
    return samples(app, "flask_guard_store_errors_total")[()]


@pytest.mark.slow
def test_outages_of_a_real_redis_are_counted_once_each(make_app: MakeApp, tmp_path: Path) -> None:
    program, port = required_program("redis-server", "redis-server"), free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    app = make_app(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{port}/0")
    serve(app, lambda: "hello", limit("1000/hour"))

    assert [send(app).status_code for _ in range(3)] == [200] * 3
    assert errors(app) == 1  # nobody listens on that port yet

    for outage in (2, 3):
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: is_listening(port), redis)
            send_until_charged(app)
            assert errors(app) == outage - 1
        finally:
            stop(redis)
        assert [send(app).status_code for _ in range(3)] == [200] * 3
        assert errors(app) == outage


def send_until_charged(app: Flask) -> None:
    """Send requests until the limit is counted in the storage, which knows nothing of those before."""
    deadline = time.monotonic() + 20
    while ";r=999" not in send(app).headers["RateLimit"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
