"""What layers below Flask cost, in microseconds over the app without them. Run with: python -m tests.benchmarks.wsgi

Of each app there are several, of which the fastest counts: two equal ones differ by more than what a layer costs.
"""

from __future__ import annotations

import argparse
import logging

from flask import Flask

from flask_guard import Guard, log_timing
from flask_guard.wsgi import Headers, Layer, RequestID, RewriteBody, Timing, stack
from tests.benchmarks.overhead import Silent, Variant, environ, make_app, measure

FIELDS = {"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
HEADERS = Headers(set=FIELDS, remove=["Server"])
COPIES = 4
LOUD, QUIET = "benchmark.access", "benchmark.quiet"


def variants() -> list[Variant]:
    """Return bare apps, and apps for each way of putting layers around them."""
    logged = Timing(logger=LOUD)
    stacks: dict[str, list[Layer]] = {
        "bare": [],
        "Headers": [HEADERS],
        "Timing": [Timing],
        "Timing + Headers": [Timing, HEADERS],
        "Timing, nobody listens": [Timing(logger=QUIET)],
        "Timing, logging": [logged],
        "  + Headers": [logged, HEADERS],
        "RequestID": [RequestID],
        "RewriteBody, small page": [RewriteBody(rewrite=lambda page: page.replace(b"hello", b"goodbye"))],
        "RewriteBody, other type": [RewriteBody(rewrite=bytes.upper, content_types=["text/css"])],
    }
    fields = environ()
    made = [
        Variant(name, _around(make_app(), layers), fields) for _ in range(COPIES) for name, layers in stacks.items()
    ]
    beside_the_policy: dict[str, list[Layer]] = {"log_timing": [], "log_timing, both": [logged, HEADERS]}
    for name, layers in COPIES * [*beside_the_policy.items()]:
        app = make_app()
        Guard(app, policies=[log_timing(logger=LOUD)])
        made.append(Variant(name, _around(app, layers), fields))
    return made


def _around(app: Flask, layers: list[Layer]) -> Flask:
    app.wsgi_app = stack(app.wsgi_app, *layers)  # type: ignore[method-assign,assignment]
    return app


def listen() -> None:
    """Have the records of one logger handled by a handler that formats nothing, and those of the other not made."""
    logging.getLogger(QUIET).setLevel(logging.CRITICAL + 1)
    loud = logging.getLogger(LOUD)
    loud.addHandler(Silent())
    loud.setLevel(logging.INFO)
    loud.propagate = False


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--requests", type=int, default=25, help="in each round, for each variant")
    options = parser.parse_args()
    listen()
    times = measure(variants(), options.rounds, options.requests)
    bare = times["bare"]
    print(f"{'':26}{'µs':>8}{'adds':>8}{'of bare':>9}")
    for name, microseconds in times.items():
        over = times["log_timing"] if name == "log_timing, both" else bare
        print(f"{name:26}{microseconds:8.1f}{microseconds - over:8.1f}{(microseconds - over) / bare:9.2f}")


if __name__ == "__main__":
    main()
