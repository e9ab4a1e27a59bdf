"""Guarded apps under load: python -m tests.benchmarks.served

gunicorn serves each app with two workers, and wrk sends as many requests as they answer, to one app at a time, in
interleaved rounds. Needs: apt-get install wrk
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """Serve the apps, and print the best round of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="the one with the highest rate counts")
    parser.add_argument("--seconds", type=float, default=10, help="of a round, for each figure")
    parser.add_argument("--connections", type=int, nargs="+", default=[8, 200])
    options = parser.parse_args()
    seen: dict[tuple[str, str, int], list[Load]] = {}
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory())
        uris = {"memory": "memory://", "Redis": opened.enter_context(private_redis(Path(folder)))}
        kinds = [(name, storage) for name in APPS for storage in (uris if name != "bare" else ["memory"])]
        ports = {kind: opened.enter_context(served(kind[0], uris[kind[1]])).port for kind in kinds}
        for port in ports.values():
            load(port, options.connections[0], 2)
        for _ in range(options.rounds):
            for connections in options.connections:
                for kind, port in ports.items():
                    taken = load(port, connections, options.seconds)
                    seen.setdefault((*kind, connections), []).append(taken)
    print("\n".join(table(seen)))


def table(seen: Mapping[tuple[str, str, int], Sequence[Load]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"{'':18}{'storage':>9}{'connections':>13}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}"
    for (name, storage, connections), loads in seen.items():
        best = max(loads, key=lambda each: each.rate)
        yield (
            f"{name:18}{storage if name != 'bare' else '':>9}{connections:13}{best.rate:12.0f}{best.median:9.2f}"
            f"{best.slowest:9.2f}{sum(each.failed for each in loads):8}"
        )


if __name__ == "__main__":
    main()
