"""What counting requests costs, in microseconds over the empty plan. Run with: python -m tests.benchmarks.metrics

prometheus-flask-exporter is measured beside it, over the bare request, as it needs no plan: by endpoint, with its
default metrics.
"""

from __future__ import annotations

import argparse

from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics  # type: ignore[import-untyped]

from flask_guard import Guard, metrics
from tests.benchmarks.overhead import Variant, environ, make_app, measure


def variants() -> list[Variant]:
    """Return what is compared."""
    empty, counted, exporter = make_app(), make_app(), make_app()
    Guard(empty)
    Guard(counted, policies=[metrics])
    PrometheusMetrics(exporter, group_by="endpoint", registry=CollectorRegistry())
    fields = environ()
    return [
        Variant("bare", make_app(), fields),
        Variant("empty plan", empty, fields),
        Variant("metrics", counted, fields),
        Variant("exporter", exporter, fields),
    ]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--requests", type=int, default=100, help="in each round, for each variant")
    options = parser.parse_args()
    times = measure(variants(), options.rounds, options.requests)
    adds = {
        "metrics": times["metrics"] - times["empty plan"],
        "exporter": times["exporter"] - times["bare"],
    }
    print(f"{'':14}{'µs':>8}{'adds':>8}{'of exporter':>13}")
    for name, microseconds in times.items():
        added = f"{adds[name]:8.1f}{adds[name] / adds['exporter']:13.2f}" if name in adds else ""
        print(f"{name:14}{microseconds:8.1f}{added}")


if __name__ == "__main__":
    main()
