"""What `log_timing` costs beside hand-written hooks. Run with: python -m tests.benchmarks.logging

The hooks are those of tutorials: a clock and a uuid4 before the request, one log call with the same fields after it.
They are measured over the bare request, `log_timing` over the empty plan. The handler formats nothing.
"""

from __future__ import annotations

import argparse
import logging
import time
import uuid

from flask import Flask, Response, g, request

from flask_guard import Guard, Policy, log_timing
from flask_guard.access_log.fields import header
from tests.benchmarks.overhead import Silent, Variant, environ, make_app, measure

LOGGER = "benchmark.logging"
POLICIES: dict[str, Policy] = {
    "log_timing": log_timing(logger=LOGGER),
    "with Server-Timing": log_timing(logger=LOGGER, server_timing=True),
    "with two fields": log_timing(logger=LOGGER, fields={"agent": header("User-Agent"), "host": header("Host")}),
    "sampled out": log_timing(logger=LOGGER, sample=0),
}
ROWS = {"tutorial hooks": "bare", **dict.fromkeys(POLICIES, "empty plan")}


def with_tutorial_hooks() -> Flask:
    """Return an app that logs by hand, as tutorials show."""
    app = make_app()
    logger = logging.getLogger(LOGGER)

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()
        g.request_id = request.headers.get("X-Request-ID") or str(uuid.uuid4())

    @app.after_request
    def log(response: Response) -> Response:
        duration_ms = (time.perf_counter() - g.started) * 1000
        fields = {
            "request_id": g.request_id,
            "method": request.method,
            "path": request.path,
            "endpoint": request.endpoint,
            "status": response.status_code,
            "duration_ms": duration_ms,
            "first_byte_ms": duration_ms,
            "bytes": response.content_length,
            "address": request.remote_addr,
            "api_key": None,
            "principal": None,
            "verdicts": {},
            "aborted": False,
            "exception": None,
            "trace_id": None,
            "span_id": None,
        }
        logger.info("%s %s %s %.1f ms", request.method, request.path, response.status_code, duration_ms, extra=fields)
        response.headers["X-Request-ID"] = g.request_id
        return response

    return app


def variants() -> list[Variant]:
    """Return the two that the others are measured over, and those."""
    fields = environ()
    made = [Variant("bare", make_app(), fields)]
    for name, policies in {"empty plan": [], **{name: [policy] for name, policy in POLICIES.items()}}.items():
        app = make_app()
        Guard(app, policies=policies)
        made.append(Variant(name, app, fields))
    return [*made, Variant("tutorial hooks", with_tutorial_hooks(), fields)]


def report(times: dict[str, float]) -> None:
    """Print what each adds, in microseconds and as a share of a bare request."""
    bare = times["bare"]
    print(f"{'':22}{'µs':>8}{'adds':>8}{'ratio':>8}   over")
    for name, over in {"empty plan": "bare", **ROWS}.items():
        adds = times[name] - times[over]
        print(f"{name:22}{times[name]:8.1f}{adds:8.1f}{adds / bare:8.2f}   {over}")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--requests", type=int, default=20, help="in each round, for each variant")
    options = parser.parse_args()
    logger = logging.getLogger(LOGGER)
    logger.addHandler(Silent())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    report(measure(variants(), options.rounds, options.requests))


if __name__ == "__main__":
    main()
