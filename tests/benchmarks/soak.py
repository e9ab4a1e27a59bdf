"""A load of many minutes, without growth of memory, files or keys: python -m tests.benchmarks.soak --minutes 10

The five policies count in Redis. Thousands of clients send keys, one in ten of them an invalid one, and one request in
ten is for a path that does not exist. After a tenth of the time, what the server holds must stay within the bounds.
Needs: apt-get install wrk
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import redis
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from tests.benchmarks import overhead, served
from tests.benchmarks.limits import private_redis
from tests.benchmarks.overhead import ALL_FIVE, KEY, guarded

CLIENTS = 5_000
CONNECTIONS = 50
SCRIPT = f"""
request = function()
   local headers = {{}}
   local client = math.random(0, {CLIENTS - 1})
   headers["X-Forwarded-For"] = string.format("10.0.%d.%d", math.floor(client / 250), client % 250 + 1)
   headers["Authorization"] = math.random(10) == 1 and "Bearer invalid" or "Bearer {KEY}"
   return wrk.format("GET", math.random(10) == 1 and "/missing/" .. math.random(1000000) or "/", headers)
end
"""
MEMORY_GROWTH = 0.05
"""The growth that is allowed, as a share of the memory after the first tenth of the time."""
FILES = 3 * CONNECTIONS + 50
"""The files and connections that are allowed: a few of each worker, of its clients, and of Redis."""
KEYS = 3 * CLIENTS
"""The keys that are allowed in Redis: of each client, the budget, the invalid keys and one to spare."""


@dataclass(frozen=True)
class Held:
    """What the server and Redis hold.

    :ivar memory: the resident memory of all workers, in megabytes.
    """

    memory: float
    files: int
    keys: int


def app() -> Flask:
    """Return the app, which believes the addresses that wrk sends."""
    overhead.listen()
    made = guarded(ALL_FIVE, RATELIMIT_STORAGE_URI=os.environ["BENCHMARK_STORAGE"])
    made.wsgi_app = ProxyFix(made.wsgi_app)  # type: ignore[method-assign]
    return made


def held(master: int, url: str) -> Held:
    """Return what the processes below `master`, and Redis, hold now."""
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    pages = [int(Path(f"/proc/{child}/statm").read_text().split()[1]) for child in children]
    files = sum(len([*Path(f"/proc/{child}/fd").iterdir()]) for child in children)
    with redis.Redis.from_url(url) as client:
        return Held(sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6, files, client.dbsize())


def exceeded(seen: Sequence[Held]) -> list[str]:
    """Return a line for each bound that was exceeded after the first tenth of the measurements."""
    settled = seen[len(seen) // 10 :]
    most = settled[0].memory * (1 + MEMORY_GROWTH)
    memory, files, keys = (max(found) for found in zip(*map(astuple, settled), strict=True))
    bounds = (("memory", memory, most), ("files", files, FILES), ("keys", keys, KEYS))
    return [f"{name}: {found:.0f}, of {bound:.0f} allowed" for name, found, bound in bounds if found > bound]


def main() -> int:
    """Load, and print what is held; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    seconds = options.minutes * 60
    with tempfile.TemporaryDirectory() as name, private_redis(Path(name)) as url:
        script = Path(name) / "clients.lua"
        script.write_text(SCRIPT)
        with served.served("", url, "tests.benchmarks.soak:app()") as server:
            loads: list[served.Load] = []
            wrk = threading.Thread(target=lambda: loads.append(served.load(server.port, CONNECTIONS, seconds, script)))
            wrk.start()
            seen = watch(server.process.pid, url, time.monotonic() + seconds - 1)
            wrk.join()
    print(f"{loads[0].rate * seconds:.0f} requests, {loads[0].rate:.0f} a second")
    for line in (found := exceeded(seen)):
        print(line)
    return int(bool(found))


def watch(master: int, url: str, end: float) -> list[Held]:
    """Print what is held, 40 times until `end`, and return it."""
    pause, seen = (end - time.monotonic()) / 40, []
    print(f"{'MB':>8}{'files':>8}{'keys':>8}")
    while time.monotonic() < end - pause / 2:
        time.sleep(pause)
        seen.append(held(master, url))
        print(f"{seen[-1].memory:8.1f}{seen[-1].files:8}{seen[-1].keys:8}", flush=True)
    return seen


if __name__ == "__main__":
    sys.exit(main())
