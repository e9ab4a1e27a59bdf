"""A Redis that is slow without failing: the time that each request pays. Run it with:

    python -m tests.attacks.slow_limit_storage

A proxy holds up each answer, from the first connection on or from some request on, by times below and above the
timeout. Each request has limits by address and by key, one inside the view and a charge that depends on the response:
four calls. No request may take longer than 0.25 s, beyond the time that the same request takes without delay; after
three slow answers none may wait. Takes about 20 s. Exits with 1 if the storage costs more.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path

from flask import Flask

from flask_guard import Guard, limit, protect, require_api_key
from tests.rate_limits.faults.conftest import RedisServer
from tests.rate_limits.faults.slow_proxy import SlowProxy

DELAYS = (0.03, 0.06, 0.1, 0.15, 0.19, 0.21, 0.24, 0.5)
REQUESTS = 20
KEY = {"X-API-Key": "a long random secret"}
MOST = 0.25
NOISE = 0.1
"""Seconds that the machine may take for itself."""


def make_app(port: int) -> Flask:
    """Return an app whose one view asks the storage four times."""
    app = Flask("slow")
    app.config["RATELIMIT_STORAGE_URI"] = f"redis://127.0.0.1:{port}/1"  # a new connection also sends SELECT
    app.config["GUARD_API_KEYS"] = {"ci": "a long random secret"}
    Guard(app)
    by_address = limit("1000/day", deduct_when=lambda response: True)
    policies = [by_address, require_api_key, limit("1000/day", by="api_key")]
    app.add_url_rule("/", "view", protect(lambda: str(limit("1000/day").hit().remaining), *policies))
    app.add_url_rule("/open", "open", lambda: "")
    app.test_client().get("/open")  # makes the plans
    return app


def times(app: Flask, requests: int) -> list[float]:
    """Return the seconds that requests take, one after another."""
    client, taken = app.test_client(), []
    for _ in range(requests):
        started = time.perf_counter()
        status = client.get("/", headers=KEY).status_code
        taken.append(time.perf_counter() - started)
        if status != 200:
            raise RuntimeError(f"answered with {status}")
    return taken


def main() -> int:
    """Measure, print, and return the exit code."""
    logging.getLogger("flask_guard").setLevel(logging.CRITICAL)
    worst = 0.0
    print(f"{'delay':>8} {'from':>12} {'longest':>9} {'waited':>8}   (ms; requests that took more than 20)")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        for delay in DELAYS:
            for begin in ("the start", "request 3"):
                with SlowProxy(server.port) as proxy:
                    app = make_app(proxy.port)
                    if begin != "the start":
                        times(app, 3)
                    proxy.delay = delay
                    taken = times(app, REQUESTS)
                    proxy.delay = 0.0
                    time.sleep(0.3)
                worst = max(worst, *taken)
                print(f"{delay * 1000:8.0f} {begin:>12} {max(taken) * 1000:9.0f} {sum(t > 0.02 for t in taken):8}")
        server.close()
    return 0 if worst <= MOST + NOISE else 1


if __name__ == "__main__":
    sys.exit(main())
