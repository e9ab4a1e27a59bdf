"""``Server-Timing`` (W3C): the times that `log_timing` shows to a browser's developer tools.

::

    Server-Timing: total;dur=53.2, db;dur=12.5;desc="Orders"
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections.abc import Callable
from time import perf_counter
from typing import ParamSpec, TypeVar, cast

from ..core.request_run import Run, Slot, current_run
from ..errors import ConfigError
from ..support.callables import takes_request
from ..support.header_fields import append
from ..support.http_credentials import quoted
from ..support.text import printable
from ..typing import Response
from ..wsgi.fields import is_token

P = ParamSpec("P")
T = TypeVar("T")

log: logging.Logger = logging.getLogger("flask_guard")

WHAT = "log_timing(server_timing=…)"
MOST_METRICS = 32
"""The most metrics of one response: servers and proxies limit the length of a header."""
LONGEST_DESCRIPTION = 128


class Metrics:
    """The times of one request, by name. Several threads may add to them."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._descriptions: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, name: str, seconds: float, description: str | None) -> None:
        with self._lock:
            if name in self._seconds or len(self._seconds) < MOST_METRICS:
                self._seconds[name] = self._seconds.get(name, 0.0) + seconds
                if description is not None:
                    self._descriptions[name] = description

    def fields(self) -> list[str]:
        """Return the metrics as the header writes them."""
        with self._lock:
            return [self._field(name, seconds) for name, seconds in self._seconds.items()]

    def _field(self, name: str, seconds: float) -> str:
        description = self._descriptions.get(name)
        return metric(name, seconds) + (f";desc={_quoted(description)}" if description is not None else "")


METRICS: Slot[Metrics] = Slot("log_timing.server_timing")


def metric(name: str, seconds: float) -> str:
    """Return one metric as the header writes it, in milliseconds."""
    return f"{name};dur={seconds * 1000:.1f}"


def _quoted(text: str) -> str:
    """Return `text` as a quoted string (RFC 9110, section 5.6.4) of ASCII characters."""
    return quoted(printable(text, LONGEST_DESCRIPTION).encode("ascii", "replace").decode())


class Timed:
    """A part of a request that is being timed. Made by :func:`timing`."""

    __slots__ = ("_description", "_metrics", "_name", "_started")

    def __init__(self, name: str, description: str | None) -> None:
        self._name = name
        self._description = description
        self._metrics: Metrics | None = None
        self._started = 0.0

    def __enter__(self) -> None:
        run = current_run()
        self._metrics = METRICS.get(run) if run is not None else None
        self._started = perf_counter()

    def __exit__(self, *_error: object) -> None:
        if self._metrics is not None:
            self._metrics.add(self._name, perf_counter() - self._started, self._description)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate `function`, which may be ``async``."""
        name, description = self._name, self._description
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(f"@timing({name!r}) would only time the making of a generator: use a with block inside")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def timed_async(*args: P.args, **kwargs: P.kwargs) -> object:
                with Timed(name, description):
                    return await function(*args, **kwargs)

            return cast("Callable[P, T]", timed_async)

        @functools.wraps(function)
        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            with Timed(name, description):
                return function(*args, **kwargs)

        return timed


def timing(name: str, *, desc: str | None = None) -> Timed:
    """Time a part of a request for the ``Server-Timing`` header, which ``log_timing(server_timing=…)`` sends.

    As a context manager or a decorator, of plain or ``async`` functions::

        with timing("db", desc="Orders"):
            orders = load_orders()

        @timing("render")
        def render(orders): ...

    Times of the same name are added up. Threads count if they run in a copy of the request's context. Where no header
    is sent, and outside of a request, nothing is timed. Each ``with`` block needs a ``timing(…)`` of its own.

    :param name: a token (RFC 9110, section 5.6.2), such as ``db``. At most 32 different names are sent.
    :param desc: the text that developer tools show. Clients see it.
    :raises ConfigError: if `name` is not a token, or a decorated function is a generator.
    """
    if not isinstance(name, str) or not is_token(name):
        raise ConfigError(f"timing(…) takes a name of letters, digits, - and _, such as 'db', not {name!r}")
    return Timed(name, desc)


class ServerTiming:
    """Sends the header to the clients that the policy allows.

    :param allowed: True, or a function from the request to whether its client may see the header.
    """

    def __init__(self, allowed: bool | Callable[..., object]) -> None:
        self._allowed = None if isinstance(allowed, bool) else takes_request(allowed, WHAT)
        self._has_failed = False

    def send(self, run: Run, response: Response) -> None:
        if self._allows(run):
            metrics = METRICS.get(run)
            fields = [metric("total", perf_counter() - run.started), *(metrics.fields() if metrics else ())]
            append(response.headers, [("Server-Timing", ", ".join(fields))])

    def _allows(self, run: Run) -> bool:
        if self._allowed is None:
            return True
        try:
            return bool(self._allowed(run.request))
        except Exception:  # such as that of reading a principal where there is none: no reason to fail the request
            if not self._has_failed:  # any client could fill the log
                self._has_failed = True
                log.exception("%s failed, so the header is not sent; its later failures are not reported", WHAT)
            return False
