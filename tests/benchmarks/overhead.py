"""Apps to measure: what one is, and those with the five everyday policies.

Every variant is an app of its own, called as a WSGI server would call it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from flask import Flask
from werkzeug.datastructures import Headers

from flask_guard import Composition, Guard, Policy, compose, cors, limit, log_timing, require_api_key, secure_headers

KEY = "a long random secret that nobody guesses"
ORIGIN = "https://app.example.com"
RATE = "100000000/minute"
LOGGER, QUIET = "benchmark.access", "benchmark.quiet"
"""A logger with a handler that formats nothing, and one whose records are not made."""
POLICIES = {
    "log_timing": log_timing(logger=LOGGER),
    "cors": cors(origins=[ORIGIN]),
    "secure_headers": secure_headers,
    "limit": limit(RATE),
    "require_api_key": require_api_key,
}
ALL_FIVE = compose(*POLICIES.values())


@dataclass
class Variant:
    """One way to serve the same request.

    :ivar over: the variant whose time is subtracted.
    :ivar peer: the variant of a peer that does the same.
    :ivar same: the response fields that the peer sends with the same values.
    :ivar goals: the largest ratios that are wanted: of the time that it adds to the time that the ``"peer"`` adds or a
        ``"bare"`` request takes; of its whole time to the whole time of the variant of this name; or the amount that it
        ``"adds"``, or its whole ``"amount"``.
    :ivar most_rounds: after so many rounds, it is measured no more.
    """

    name: str
    app: Flask
    environ: dict[str, Any]
    status: int = 200
    body: bytes = b""
    over: str = "bare"
    peer: str = ""
    same: tuple[str, ...] = ()
    goals: Mapping[str, float] = field(default_factory=dict)
    unit: str = "µs"
    most_rounds: int = 1_000_000

    def sample(self, requests: int) -> float:
        """Return the microseconds that one request takes, after one that is not timed: another variant ran before."""
        self.request()
        return self.timed(requests)

    def timed(self, requests: int) -> float:
        """Return the microseconds that one request takes."""
        start = time.perf_counter()
        for _ in range(requests):
            self.request()
        return (time.perf_counter() - start) / requests * 1e6

    def request(self) -> None:
        """Serve one request to its last byte."""
        parts = self.app(dict(self.environ, **{"wsgi.input": BytesIO(self.body)}), self._start_response)
        for _ in parts:
            pass
        parts.close()  # type: ignore[attr-defined]

    def fields(self) -> Headers:
        """Serve one request, and return the fields of the response."""
        found = Headers()
        environ = dict(self.environ, **{"wsgi.input": BytesIO(self.body)})
        parts = self.app(environ, lambda status, headers, exc_info=None: self._keep(found, status, headers))
        for _ in parts:
            pass
        parts.close()  # type: ignore[attr-defined]
        return found

    def _keep(self, found: Headers, status: str, headers: list[tuple[str, str]]) -> Callable[[bytes], object]:
        found.extend(headers)
        return self._start_response(status, headers)

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        if not status.startswith(str(self.status)):
            raise RuntimeError(f"the request of {self.name!r} was answered with {status}, not {self.status}")
        return lambda data: None


def make_app(**config: Any) -> Flask:
    """Return an app with one view and a ``SECRET_KEY``."""
    app = Flask("benchmark")
    app.config.update(SECRET_KEY="secret", GUARD_API_KEYS={"bench": KEY}, **config)

    @app.get("/")
    def view() -> str:
        return "hello"

    return app


def guarded(*policies: Policy | Composition, **config: Any) -> Flask:
    """Return the same app with app-wide policies."""
    app = make_app(**config)
    Guard(app, policies=policies)
    return app


def environ(headers: Mapping[str, str] | None = None, path: str = "/", method: str = "GET") -> dict[str, Any]:
    """Return the environ of a request, without `headers` of one that every policy lets through."""
    if headers is None:
        headers = {"Origin": ORIGIN, "Authorization": f"Bearer {KEY}"}
    request = Flask("environ").test_client().open(path, method=method, headers=headers).request
    made: dict[str, Any] = {key: value for key, value in request.environ.items() if not key.startswith("werkzeug.")}
    return made | {"REMOTE_ADDR": "192.0.2.1"}


def variants() -> list[Variant]:
    """Return the bare app, and one app for each way of guarding it."""
    fields = environ()
    apps = {
        "bare": make_app(),
        "empty plan": guarded(),
        **{name: guarded(policy) for name, policy in POLICIES.items()},
        "all five": guarded(ALL_FIVE),
    }
    return [Variant(name, app, fields) for name, app in apps.items()]


class Silent(logging.Handler):
    """A handler that formats nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Drop `record`."""


def listen() -> None:
    """Set up the loggers."""
    logging.getLogger(QUIET).setLevel(logging.CRITICAL + 1)
    logger = logging.getLogger(LOGGER)
    logger.handlers = [Silent()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
