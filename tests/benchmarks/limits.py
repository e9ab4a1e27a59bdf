"""What a limit costs, beside Flask-Limiter's. Run it with: python -m tests.benchmarks.limits

In microseconds over the same app without the limit: ours over one with an empty plan, theirs over a bare one. It starts
a Redis of its own, and counts in SQLite in a temporary folder. See `overhead` for how it measures.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from flask_guard import Guard, limit
from tests.benchmarks.overhead import Variant, environ, measure
from tests.conftest import free_port, is_listening, required_program, stop, wait_for

RATE = "100000000/minute"
OURS, THEIRS = "guard", "Flask-Limiter"


@dataclass(frozen=True)
class Comparison:
    """A variant of ours, one of theirs, and what ours may cost at most, as a share of theirs."""

    ours: str
    theirs: str
    target: float


COMPARISONS = (
    Comparison(f"{OURS}, memory", f"{THEIRS}, memory", 1 / 5),
    Comparison(f"{OURS}, Redis", f"{THEIRS}, Redis, headers", 1 / 4),
    Comparison(f"{OURS}, SQLite", f"{THEIRS}, Redis", 1.0),
)


def make_app(**config: str) -> Flask:
    """Return an app without a view."""
    app = Flask("benchmark")
    app.config.update(SECRET_KEY="secret", **config)
    return app


def make_view() -> Callable[[], str]:
    """Return a view of one app's own: a policy marks the function that it decorates, for whichever app registers it."""
    return lambda: "hello"


def unlimited(*, guarded: bool) -> Flask:
    """Return an app without a limit: bare, or with an empty plan."""
    app = make_app()
    if guarded:
        Guard(app)
    app.add_url_rule("/", "view", make_view())
    return app


def ours(uri: str) -> Flask:
    """Return an app whose one view has our limit, which always writes headers."""
    app = make_app(RATELIMIT_STORAGE_URI=uri)
    Guard(app)
    app.add_url_rule("/", "view", limit(RATE)(make_view()))
    return app


def theirs(uri: str, *, headers: bool = False) -> Flask:
    """Return an app whose one view has Flask-Limiter's decorator."""
    app = make_app()
    limiter = Limiter(get_remote_address, app=app, storage_uri=uri, headers_enabled=headers)
    app.add_url_rule("/", "view", limiter.limit(RATE)(make_view()))
    return app


def variants(redis: str, sqlite: str) -> list[Variant]:
    """Return what is compared."""
    apps = {
        "bare": unlimited(guarded=False),
        "empty plan": unlimited(guarded=True),
        f"{OURS}, memory": ours("memory://"),
        f"{OURS}, Redis": ours(redis),
        f"{THEIRS}, Redis": theirs(redis),
        f"{THEIRS}, Redis, headers": theirs(redis, headers=True),
        f"{OURS}, SQLite": ours(sqlite),
        f"{THEIRS}, memory": theirs("memory://"),  # last: its timer threads would disturb what follows
    }
    fields: dict[str, Any] = environ()
    return [Variant(name, app, fields) for name, app in apps.items()]


def check(made: list[Variant]) -> None:
    """Raise RuntimeError unless each variant is limited, and says so, just if its name tells that."""
    for variant in made:
        fields = variant.app.test_client().get("/").headers
        expected = variant.name.startswith(OURS), variant.name.endswith("headers")
        if ("RateLimit" in fields, "X-RateLimit-Limit" in fields) != expected:
            raise RuntimeError(f"the variant {variant.name!r} is not what it is called")


def added(times: dict[str, float], name: str) -> float:
    """Return what a variant adds to the app without its limit."""
    return times[name] - times["empty plan" if name.startswith((OURS, "empty")) else "bare"]


def report(times: dict[str, float]) -> None:
    """Print what each variant adds, and how ours compare with theirs."""
    print(f"{'':30}{'µs':>8}{'adds':>8}")
    for name, microseconds in times.items():
        print(f"{name:30}{microseconds:8.1f}{added(times, name):8.1f}")
    print(f"\n{'':50}{'ratio':>8}{'target':>8}")
    for each in COMPARISONS:
        ratio = added(times, each.ours) / added(times, each.theirs)
        verdict = "" if ratio <= each.target else "  missed"
        print(f"{f'{each.ours} / {each.theirs}':50}{ratio:8.3f}{each.target:8.3f}{verdict}")


@contextmanager
def private_redis(folder: Path) -> Iterator[str]:
    """Run a Redis for a ``with`` block; give its URL."""
    port, program = free_port(), required_program("redis-server", "redis-server")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_listening(port), process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        stop(process)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--requests", type=int, default=100, help="in each round, for each variant")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, private_redis(Path(name)) as redis:
        made = variants(redis, f"sqlite:///{name}/limits.db")
        check(made)
        report(measure(made, options.rounds, options.requests))


if __name__ == "__main__":
    main()
