"""What verifying a key costs, in microseconds over the empty plan. Run with: python -m tests.benchmarks.keys

Flask-HTTPAuth's token decorator with a dict look-up is measured beside it, over the bare request, as it needs no plan.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from flask_httpauth import HTTPTokenAuth  # type: ignore[import-untyped]

from flask_guard import Guard, require_api_key
from flask_guard.keys import ApiKey, KeyStore, SignedKeys, SQLKeys
from tests.benchmarks.overhead import KEY, Variant, environ, make_app, measure

SECRET = "secret"


def with_key(key: str) -> dict[str, Any]:
    """Return the environ of a request that presents `key`."""
    return environ() | {"HTTP_AUTHORIZATION": f"Bearer {key}"}


def guarded(name: str, keys: KeyStore | Callable[[str], ApiKey | None] | None, presented: str) -> Variant:
    """Return a variant whose one view requires a key from `keys`."""
    app = make_app()
    Guard(app, policies=[require_api_key], keys=keys)
    return Variant(name, app, with_key(presented))


class FirstSight(Variant):
    """Presents another signed key in each request."""

    def request(self) -> None:
        """Serve one request with a key that was not seen before."""
        self.environ["HTTP_AUTHORIZATION"] = f"Bearer {next(self.keys)}"
        super().request()

    keys: itertools.cycle[str]


def variants(folder: Path, first_sights: int) -> list[Variant]:
    """Return what is compared."""
    plain = make_app()
    empty = make_app()
    Guard(empty)
    stored = SQLKeys(f"sqlite:///{folder / 'keys.sqlite'}", cache=3600)
    signed = SignedKeys(SECRET)
    first = FirstSight("signed, first sight", make_app(), with_key(""))
    Guard(first.app, policies=[require_api_key], keys=SignedKeys(SECRET))
    first.keys = itertools.cycle([signed.issue(f"key-{number}") for number in range(first_sights)])
    return [
        Variant("bare", plain, environ()),
        Variant("empty plan", empty, environ()),
        guarded("static", None, KEY),
        guarded("stored, cached", stored, stored.create(name="bench").secret),
        guarded("signed, seen before", signed, signed.issue("bench")),
        first,
        Variant("Flask-HTTPAuth", httpauth(), with_key(KEY)),
    ]


def httpauth() -> Flask:
    """Return an app whose one view is behind Flask-HTTPAuth's token decorator."""
    auth = HTTPTokenAuth()
    tokens = {KEY: "bench"}

    @auth.verify_token  # type: ignore[untyped-decorator]
    def verify(token: str) -> str | None:
        return tokens.get(token)

    app = Flask("httpauth")
    app.config["SECRET_KEY"] = SECRET

    @app.get("/")
    @auth.login_required  # type: ignore[untyped-decorator]
    def view() -> str:
        return "hello"

    return app


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--requests", type=int, default=100, help="in each round, for each variant")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = measure(variants(Path(folder), options.rounds * options.requests), options.rounds, options.requests)
    bare = times["bare"]
    print(f"{'':22}{'µs':>8}{'adds':>8}{'of bare':>9}")
    for name, microseconds in times.items():
        over = bare if name in ("bare", "empty plan", "Flask-HTTPAuth") else times["empty plan"]
        print(f"{name:22}{microseconds:8.1f}{microseconds - over:8.1f}{(microseconds - over) / bare:9.2f}")


if __name__ == "__main__":
    main()
