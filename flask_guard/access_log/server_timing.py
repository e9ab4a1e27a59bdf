"""``Server-Timing``: what `log_timing` tells a browser's developer tools about the time that a request took.

The field and its syntax are those of the W3C's Server Timing: ``Server-Timing: total;dur=53.2, db;dur=12.5;desc="…"``.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections.abc import Callable
from string import ascii_letters, digits
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from ..core.request_run import Run, Slot, current_run
from ..errors import ConfigError
from ..support.callables import takes_request
from ..support.header_fields import append
from ..support.text import printable

if TYPE_CHECKING:
    from ..typing import Response

P = ParamSpec("P")
T = TypeVar("T")

log: logging.Logger = logging.getLogger("flask_guard")

WHAT = "log_timing(server_timing=…)"
MOST_METRICS = 32
"""Metrics of one response: servers and proxies limit what a header may hold."""
LONGEST_DESCRIPTION = 128
_TOKEN = ascii_letters + digits + "!#$%&'*+-.^_`|~"


class Metrics:
    """What was timed in one request, by name. Several threads may add to it."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._descriptions: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, name: str, seconds: float, description: str | None) -> None:
        """Add `seconds` to the metric `name`."""
        with self._lock:
            if name in self._seconds or len(self._seconds) < MOST_METRICS:
                self._seconds[name] = self._seconds.get(name, 0.0) + seconds
                if description is not None:
                    self._descriptions[name] = description

    def fields(self) -> list[str]:
        """Return the metrics as the header has them."""
        with self._lock:
            return [self._field(name, seconds) for name, seconds in self._seconds.items()]

    def _field(self, name: str, seconds: float) -> str:
        description = self._descriptions.get(name)
        return metric(name, seconds) + (f";desc={_quoted(description)}" if description is not None else "")


METRICS: Slot[Metrics] = Slot("log_timing.server_timing")


def metric(name: str, seconds: float) -> str:
    """Return one metric as the header has it, in milliseconds."""
    return f"{name};dur={seconds * 1000:.1f}"


def _quoted(text: str) -> str:
    """Return `text` as a quoted string (RFC 9110, section 5.6.4) of ASCII characters, whatever is in it."""
    plain = printable(text, LONGEST_DESCRIPTION).encode("ascii", "replace").decode()
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._metrics is not None:
            self._metrics.add(self._name, perf_counter() - self._started, self._description)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate `function`, which may be ``async``."""
        name, description = self._name, self._description
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(f"@timing({name!r}) would time only the making of a generator: use a with block inside")
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

    What has the same name is added up. Threads count if they run in a copy of the request's context. Where nothing is
    sent, outside of a request too, it does nothing. A ``with`` takes a new one each time.

    :param name: an RFC 9110 token, such as ``db``; 32 different ones are sent at most.
    :param desc: what developer tools show; clients see it.
    :raises ConfigError: if `name` is no token, or a decorated function is a generator.
    """
    if not isinstance(name, str) or not name or name.strip(_TOKEN):
        raise ConfigError(f"timing(…) takes a name of letters, digits, - and _, such as 'db', not {name!r}")
    return Timed(name, desc)


class ServerTiming:
    """Sends the header to whom the policy allows.

    :param allowed: True, or a function from the request to whether its client may see the header.
    """

    def __init__(self, allowed: bool | Callable[..., object]) -> None:
        self._allowed = None if isinstance(allowed, bool) else takes_request(allowed, WHAT)
        self._has_failed = False

    def send(self, run: Run, response: Response) -> None:
        """Add the header to `response`."""
        if self._allows(run):
            metrics = METRICS.get(run)
            fields = [metric("total", perf_counter() - run.started), *(metrics.fields() if metrics else ())]
            append(response.headers, [("Server-Timing", ", ".join(fields))])

    def _allows(self, run: Run) -> bool:
        if self._allowed is None:
            return True
        try:
            return bool(self._allowed(run.request))
        except Exception:  # such as one that reads a principal whom nobody is: no reason to fail the request
            if not self._has_failed:  # else any client could fill the log
                self._has_failed = True
                log.exception("%s failed, so the header is not sent; later failures are not reported", WHAT)
            return False
