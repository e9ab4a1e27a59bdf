"""What guarding costs, in microseconds over a bare Flask request. Run with: python -m tests.benchmarks.overhead

Every variant is an app of its own, called as a WSGI server would call it. Rounds are interleaved and the least
disturbed round of each variant counts, so that the figures of one run compare; those of two runs do not.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from flask import Flask

from flask_guard import Composition, Guard, Policy, compose, cors, limit, log_timing, require_api_key, secure_headers

KEY = "a long random secret that nobody guesses"
ORIGIN = "https://app.example.com"
POLICIES = {
    "log_timing": log_timing(logger="benchmark.access"),
    "cors": cors(origins=[ORIGIN]),
    "secure_headers": secure_headers,
    "limit": limit("100000000/minute"),
    "require_api_key": require_api_key,
}


@dataclass
class Variant:
    """One way to serve the same request."""

    name: str
    app: Flask
    environ: dict[str, Any]

    def request(self) -> None:
        """Serve one request to its last byte."""
        body = self.app(dict(self.environ, **{"wsgi.input": BytesIO()}), _start_response)
        for _ in body:
            pass
        body.close()  # type: ignore[attr-defined]


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
    if not status.startswith("200"):
        raise RuntimeError(f"the benchmark's request was answered with {status}")
    return lambda data: None


def make_app() -> Flask:
    """Return an app with one view and a ``SECRET_KEY``."""
    app = Flask("benchmark")
    app.config.update(SECRET_KEY="secret", GUARD_API_KEYS={"bench": KEY})

    @app.get("/")
    def view() -> str:
        return "hello"

    return app


def environ() -> dict[str, Any]:
    """Return the environ of a request that every policy lets through."""
    client = Flask("environ").test_client()
    request = client.get("/", headers={"Origin": ORIGIN, "Authorization": f"Bearer {KEY}"}).request
    made: dict[str, Any] = {key: value for key, value in request.environ.items() if not key.startswith("werkzeug.")}
    return made | {"REMOTE_ADDR": "192.0.2.1"}


def variants() -> list[Variant]:
    """Return the bare app, and one app for each way of guarding it."""
    fields = environ()
    made = [Variant("bare", make_app(), fields)]
    guarded: dict[str, list[Policy | Composition]] = {
        "empty plan": [],
        **{name: [policy] for name, policy in POLICIES.items()},
        "all five": [compose(*POLICIES.values())],
    }
    for name, policies in guarded.items():
        app = make_app()
        Guard(app, policies=policies)
        made.append(Variant(name, app, fields))
    return made


def measure(made: list[Variant], rounds: int, requests: int) -> dict[str, float]:
    """Return the microseconds that one request takes, by variant."""
    best = {variant.name: float("inf") for variant in made}
    for _ in range(rounds):
        for variant in made:
            start = time.perf_counter()
            for _ in range(requests):
                variant.request()
            best[variant.name] = min(best[variant.name], (time.perf_counter() - start) / requests * 1e6)
    return best


def report(times: dict[str, float]) -> None:
    """Print a line for each variant: its time, what it adds to the bare request, and the ratio."""
    bare = times["bare"]
    print(f"{'':18}{'µs':>8}{'adds':>8}{'ratio':>8}")
    for name, microseconds in times.items():
        print(f"{name:18}{microseconds:8.1f}{microseconds - bare:8.1f}{microseconds / bare:8.2f}")


class Silent(logging.Handler):
    """A handler that formats nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Drop `record`."""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--requests", type=int, default=100, help="in each round, for each variant")
    options = parser.parse_args()
    logger = logging.getLogger("benchmark.access")
    logger.addHandler(Silent())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    report(measure(variants(), options.rounds, options.requests))


if __name__ == "__main__":
    main()
