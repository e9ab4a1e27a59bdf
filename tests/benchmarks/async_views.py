"""What guarding costs where views await. Run with: python -m tests.benchmarks.async_views

The same app, bare and guarded, under the same server. Some clients wait for an async view that awaits 50 ms, one beside
them asks for a view that answers at once. Rounds are interleaved; the figures are those of all rounds of a variant.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import http.client
import os
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from asgiref.wsgi import WsgiToAsgi
from flask import Flask

from flask_guard import Composition, Guard, Policy, Principal, metrics, middleware, require_auth
from tests.benchmarks.overhead import KEY, ORIGIN, POLICIES, listen, make_app
from tests.serving import GUNICORN, serving

AWAITED = 0.05
"""Seconds."""
HEADERS = {
    "Origin": ORIGIN,
    "X-API-Key": KEY,
    "Authorization": "Basic " + base64.b64encode(b"ada:secret").decode(),
}
SERVERS = {
    "gunicorn gthread, 8 threads": [*GUNICORN, "-k", "gthread", "--threads", "8", "tests.benchmarks.async_views:app()"],
    "uvicorn, WsgiToAsgi": [
        "uvicorn", "--port", "{port}", "--log-level", "critical", "--factory", "tests.benchmarks.async_views:asgi_app",
    ],
}  # fmt: skip


# What is served --------------------------------------------------------------------------------------------------


@middleware
async def awaiting(_request: Any) -> Any:
    """Await, before the view and on the response."""
    await asyncio.sleep(0)
    yield
    await asyncio.sleep(0)


@middleware
def passing(_request: Any) -> Generator[None, Any, None]:
    """Do nothing."""
    yield


ALL: list[Policy | Composition] = [
    *POLICIES.values(),
    require_auth(basic=lambda username, password: Principal(username)),
    metrics,
    passing,
]
VARIANTS: dict[str, list[Policy | Composition] | None] = {
    "bare": None,
    "all policies": ALL,
    "and an async one": [*ALL, awaiting],
}


def app() -> Flask:
    """Return the app whose variant ``VARIANT`` names."""
    made = make_app()
    policies = VARIANTS[os.environ["VARIANT"]]
    if policies is not None:
        listen()
        Guard(made, policies=policies)

    @made.get("/await")
    async def view_that_awaits() -> str:
        await asyncio.sleep(AWAITED)
        return "hello"

    return made


def asgi_app() -> Any:
    """Return the same in asgiref's adapter."""
    return WsgiToAsgi(app())  # type: ignore[no-untyped-call]


# What is measured ------------------------------------------------------------------------------------------------


@dataclass
class Times:
    """The seconds that requests took, by view."""

    awaited: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)


def send(port: int, path: str, end: float, times: list[float]) -> None:
    """Send one request after the other until `end`."""
    while (start := time.perf_counter()) < end:
        # A connection each: on one that is kept, asgiref's adapter answers async views of any Flask app with a 500.
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("GET", path, headers=HEADERS)
            answer = connection.getresponse()
            answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the benchmark's request was answered with {answer.status}")
        times.append(time.perf_counter() - start)


def load(port: int, clients: int, seconds: float, times: Times) -> None:
    """Have so many clients wait for the view that awaits, and one beside them."""
    end = time.perf_counter() + seconds
    with ThreadPoolExecutor(clients + 1) as pool:
        sent = [pool.submit(send, port, "/await", end, times.awaited) for _ in range(clients)]
        sent.append(pool.submit(send, port, "/", end, times.beside))
    for each in sent:
        each.result()


def measure(command: list[str], clients: int, rounds: int, seconds: float) -> dict[str, Times]:
    """Return what requests took, by variant."""
    times = {variant: Times() for variant in VARIANTS}
    with contextlib.ExitStack() as servers:
        ports = {variant: servers.enter_context(serving(command, VARIANT=variant)).port for variant in VARIANTS}
        for port in ports.values():
            load(port, clients, seconds / 2, Times())
        for _ in range(rounds):
            for variant, port in ports.items():
                load(port, clients, seconds, times[variant])
    return times


def report(times: dict[str, Times], seconds: float) -> None:
    """Print a line for each variant."""
    print(f"{'':18}{'awaiting/s':>12}{'median ms':>11}{'95 %':>7}{'beside/s':>12}{'median ms':>11}{'95 %':>7}")
    for variant, each in times.items():
        columns = (
            f"{len(taken) / seconds:12.1f}{milliseconds(taken, 0.5):11.1f}{milliseconds(taken, 0.95):7.1f}"
            for taken in (each.awaited, each.beside)
        )
        print(f"{variant:18}{''.join(columns)}")


def milliseconds(taken: list[float], share: float) -> float:
    """Return how long that share of the requests took at most."""
    return sorted(taken)[int(share * len(taken))] * 1000


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2, help="of a round, for each variant")
    parser.add_argument("--clients", type=int, nargs="+", default=[4, 16], help="that wait for the view that awaits")
    options = parser.parse_args()
    for server, command in SERVERS.items():
        for clients in options.clients:
            print(f"{server}: {clients} clients wait")
            report(measure(command, clients, options.rounds, options.seconds), options.rounds * options.seconds)


if __name__ == "__main__":
    main()
