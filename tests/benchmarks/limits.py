"""Limits in each storage, beside Flask-Limiter's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask_guard import limit
from tests.benchmarks import peers
from tests.benchmarks.overhead import RATE, Variant, environ, guarded, make_app
from tests.benchmarks.peers import LIMIT_FIELDS
from tests.conftest import free_port, is_listening, required_program, stop, wait_for

POLICY = limit(RATE)


def variants(redis: str, sqlite: str) -> list[Variant]:
    """Return limits that are counted in Redis and in SQLite."""
    fields = environ()
    legacy = {"RATELIMIT_STORAGE_URI": redis, "GUARD_RATELIMIT_HEADERS": "legacy"}
    of_redis, of_sqlite = {"RATELIMIT_STORAGE_URI": redis}, {"RATELIMIT_STORAGE_URI": sqlite}
    return [
        Variant("bare", make_app(), fields),
        Variant(
            "Redis", guarded(POLICY, **legacy), fields,
            peer="Flask-Limiter, Redis", same=LIMIT_FIELDS, goals={"peer": 1 / 5},
        ),
        Variant(
            "Redis, no fields", guarded(limit(RATE, headers=False), **of_redis), fields,
            peer="the same, no fields",
        ),
        Variant(
            "Redis, batches", guarded(limit(RATE, batch=50), **legacy, RATELIMIT_KEY_PREFIX="batches"), fields,
            peer="Flask-Limiter, Redis", same=LIMIT_FIELDS, goals={"peer": 1 / 15},
        ),
        Variant("Flask-Limiter, Redis", peers.limiter(redis, headers=True), fields),
        Variant("the same, no fields", peers.limiter(redis), fields),
        Variant("SQLite", guarded(POLICY, **of_sqlite), fields, goals={"the same, no fields": 1}),
    ]  # fmt: skip


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
