"""Guarded apps under load: python -m tests.benchmarks.served

gunicorn serves each app with two workers, and wrk sends as many requests as they answer. Needs: apt-get install wrk
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flask import Flask

from tests.benchmarks import overhead, peers
from tests.benchmarks.limits import private_redis
from tests.benchmarks.overhead import KEY, ORIGIN, guarded, make_app
from tests.conftest import required_program
from tests.serving import GUNICORN, Serving, serving

PATIENCE = 120
"""Seconds to start."""
WORKERS = ("--workers", "2", "--worker-class", "gthread", "--threads", "4")
APPS: dict[str, Callable[[str], Flask]] = {
    "bare": lambda storage: make_app(),
    "all five": lambda storage: guarded(
        peers.LIKE_THE_PEERS, RATELIMIT_STORAGE_URI=storage, GUARD_RATELIMIT_HEADERS="legacy"
    ),
    "the peers' stack": peers.stack,
}
UNITS = {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}
"""Milliseconds by wrk's units."""


@dataclass(frozen=True)
class Load:
    """What wrk saw.

    :ivar rate: requests a second.
    :ivar median: milliseconds that half of the requests took at most.
    :ivar slowest: milliseconds that 99 % of the requests took at most.
    :ivar failed: responses that were no 2xx, and connections that broke.
    """

    rate: float
    median: float
    slowest: float
    failed: int


def app() -> Flask:
    """Return the app that the environment names."""
    overhead.listen()
    return APPS[os.environ["BENCHMARK_APP"]](os.environ["BENCHMARK_STORAGE"])


@contextlib.contextmanager
def served(name: str, storage: str, factory: str = "tests.benchmarks.served:app()") -> Iterator[Serving]:
    """Serve an app for a block."""
    with serving([*GUNICORN, *WORKERS, factory], BENCHMARK_APP=name, BENCHMARK_STORAGE=storage) as server:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)) as client:
            client.request("GET", "/")  # answered once a worker has imported the app
            client.getresponse().read()
        yield server


def load(port: int, connections: int, seconds: float, script: Path | None = None) -> Load:
    """Send as many requests as a server answers."""
    command = [required_program("wrk", "wrk"), "--threads", "1", "--connections", str(connections), "--latency"]
    command += [
        "--duration",
        f"{seconds:.0f}s",
        "--header",
        f"Origin: {ORIGIN}",
        "--header",
        f"Authorization: Bearer {KEY}",
    ]
    command += ["--script", str(script)] if script else []
    done = subprocess.run([*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True)
    return parsed(done.stdout)


def parsed(output: str) -> Load:
    """Return what wrk printed."""
    found = dict(re.findall(r"^\s+(50%|99%)\s+(\S+)\s*$", output, re.MULTILINE))
    rate = re.search(r"^Requests/sec:\s+(\S+)$", output, re.MULTILINE)
    failed = re.findall(r"(?:responses:|connect|read|write|timeout) (\d+)", output)
    if rate is None:
        raise ValueError(f"wrk printed no rate:\n{output}")
    return Load(float(rate[1]), milliseconds(found["50%"]), milliseconds(found["99%"]), sum(map(int, failed)))


def milliseconds(text: str) -> float:
    """Return a duration of wrk, such as ``1.25ms``."""
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


def main() -> None:
    """Serve each app, and print what wrk saw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="for each figure")
    parser.add_argument("--connections", type=int, nargs="+", default=[8, 200])
    options = parser.parse_args()
    print(f"{'':18}{'storage':>9}{'connections':>13}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}")
    with tempfile.TemporaryDirectory() as folder, private_redis(Path(folder)) as redis:
        for storage, uri in (("memory", "memory://"), ("Redis", redis)):
            for name in APPS:
                with served(name, uri) as server:
                    load(server.port, options.connections[0], 3)
                    for connections in options.connections:
                        seen = load(server.port, connections, options.seconds)
                        print(
                            f"{name:18}{storage:>9}{connections:13}{seen.rate:12.0f}{seen.median:9.2f}"
                            f"{seen.slowest:9.2f}{seen.failed:8}",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
