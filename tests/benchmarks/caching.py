"""The cost of `cache` and `compress`, over the empty plan. Run with: python -m tests.benchmarks.caching"""

from __future__ import annotations

import argparse

from flask import Flask

from flask_guard import Guard, Policy, cache, compress
from tests.benchmarks.overhead import Variant, environ, measure

ROWS: dict[str, list[Policy]] = {
    "public": [cache("public, max-age=300")],
    "no-store": [cache("no-store")],
    "etag": [cache("public, max-age=300", etag=True)],
    "compress, not taken": [compress(min_size=0)],
    "compress, too small": [compress],
    "compress, gzip": [compress(min_size=0)],
}


def variants() -> list[Variant]:
    """Return an app without policies, and one for each way of caching."""
    fields = environ()
    del fields["HTTP_AUTHORIZATION"]
    found = []
    for name, policies in {"empty plan": [], **ROWS}.items():
        app = Flask("benchmark")
        app.config["SECRET_KEY"] = "secret"
        Guard(app, policies=policies)
        app.add_url_rule("/", "view", lambda: "hello")
        accepted = {"HTTP_ACCEPT_ENCODING": "gzip"} if name == "compress, gzip" else {}
        found.append(Variant(name, app, {**fields, **accepted}))
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--requests", type=int, default=100, help="in each round, for each variant")
    options = parser.parse_args()
    times = measure(variants(), options.rounds, options.requests)
    print(f"{'':26}{'µs':>8}{'adds':>8}")
    for name, microseconds in times.items():
        print(f"{name:26}{microseconds:8.1f}{microseconds - times['empty plan']:8.1f}")


if __name__ == "__main__":
    main()
