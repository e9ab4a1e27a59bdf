"""Costs that an app pays once: the first request to an endpoint, memory, the start, the import."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flask import Flask

from flask_guard import Guard
from tests.benchmarks.overhead import ALL_FIVE, KEY, Variant, environ

FIELDS = environ()


def make_app(endpoints: int, *, guard: bool = False, own: bool = False) -> Flask:
    """Return an app with so many endpoints, with app-wide policies, or with policies of each view's own."""
    app = Flask("benchmark")
    app.config.update(SECRET_KEY="secret", GUARD_API_KEYS={"bench": KEY})
    if guard or own:
        Guard(app, policies=[] if own else [ALL_FIVE])
    for number in range(endpoints):
        view = make_view()
        app.add_url_rule(f"/{number}", f"view_{number}", ALL_FIVE(view) if own else view)
    return app


def make_small_app() -> Flask:
    """Return an app with one endpoint."""
    return make_app(1)


def make_view() -> Callable[[], str]:
    """Return a view of its own."""
    return lambda: "hello"


def to(app: Flask, number: int) -> Variant:
    """Return a request to an endpoint."""
    return Variant("once", app, {**FIELDS, "PATH_INFO": f"/{number}"})


@dataclass
class Once:
    """A cost that is paid once, measured on something new each time."""

    name: str
    over: str = ""
    peer: str = ""
    goals: Mapping[str, float] = field(default_factory=dict)
    unit: str = "µs"
    most_rounds: int = 5

    def sample(self, requests: int) -> float:
        """Return one measurement."""
        raise NotImplementedError


@dataclass
class FirstRequest(Once):
    """The first request to one endpoint of an app that serves others already."""

    endpoints: int = 0
    guard: bool = True
    most_rounds: int = 400

    def __post_init__(self) -> None:
        self._fresh = self._variants()

    def _variants(self) -> Iterator[Variant]:
        while True:
            app = make_app(self.endpoints, guard=self.guard)
            to(app, 0).request()
            for number in range(1, self.endpoints):
                yield to(app, number)

    def sample(self, requests: int) -> float:
        """Return the microseconds of a first request."""
        return next(self._fresh).timed(1)


@dataclass
class Memory(Once):
    """The memory that an endpoint takes once it has been asked for."""

    make: Callable[[int], Flask] = make_app
    unit: str = "KB"
    most_rounds: int = 1

    def sample(self, requests: int) -> float:
        """Return the kilobytes of an endpoint, from two apps: both have all that an app has once."""
        few, many = self._traced(50), self._traced(550)
        return (many - few) / 500 / 1024

    def _traced(self, endpoints: int) -> int:
        gc.collect()
        tracemalloc.start()
        try:
            app = self.make(endpoints)
            for number in range(endpoints):
                to(app, number).request()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()


@dataclass
class Start(Once):
    """The time from nothing to the first answer."""

    make: Callable[[], Flask] = make_small_app
    unit: str = "ms"
    most_rounds: int = 30

    def sample(self, requests: int) -> float:
        """Return milliseconds."""
        start = time.perf_counter()
        to(self.make(), 0).request()
        return (time.perf_counter() - start) * 1e3


@dataclass
class Import(Once):
    """The time to import modules in a new process."""

    modules: Sequence[str] = ()
    unit: str = "ms"

    def sample(self, requests: int) -> float:
        """Return milliseconds."""
        program = (
            f"import time; t = time.perf_counter(); import {', '.join(self.modules)}; print(time.perf_counter() - t)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return float(done.stdout) * 1e3
