"""`Timing`: how long the application takes, for the client in a header and, if you like, for you in a log record."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from .access_log import AccessLog
from .fields import is_token
from .middleware import Middleware
from .request_ids import LOGGED_KEY

if TYPE_CHECKING:
    from .typing import Ending, HeaderList, WSGIApplication, WSGIEnvironment

STARTED = "flask_guard.started"
"""Where ``environ`` has when the request came in, in the seconds of :func:`time.perf_counter`."""


class Timing(Middleware):
    """Sends the time to the first byte as ``Server-Timing`` (W3C), and logs requests if you give it a logger.

    The time runs from when the outermost ``Timing`` sees the request. The header says when the application began its
    response; the record is made at the last byte, or when the body was given up. It has the attributes that the
    records of ``@log_timing`` have, and where that policy is in charge of a request, it is not made::

        app.wsgi_app = Timing(app.wsgi_app, logger="flask_guard.access", slow_ms=500)

    :param server_timing: whether the header is sent, or a function of ``environ`` that returns whether this client
        gets it: it tells everybody how busy the application is.
    :param metric: what the header calls the time.
    :param logger: give it a logger, such as ``"flask_guard.access"``, to log the requests that ``@log_timing`` does
        not; None to log nothing. A record costs several times what the header does.
    :param level: the level of a record, INFO by default; 5xx answers and exceptions are logged at ERROR at least.
    :param slow_ms: milliseconds from which a request is logged at WARNING at least; None for never.
    :raises TypeError: for an option of the wrong type.
    :raises ValueError: for a metric that is no token (RFC 9110, section 5.6.2), a negative time, and a `level` or
        `slow_ms` without a `logger`.
    """

    settled_by: str = LOGGED_KEY

    def __init__(
        self,
        app: WSGIApplication | None = None,
        *,
        server_timing: bool | Callable[[WSGIEnvironment], bool] = True,
        metric: str = "app",
        logger: str | None = None,
        level: int | None = None,
        slow_ms: float | None = None,
    ) -> None:
        super().__init__(app)
        if not isinstance(server_timing, bool) and not callable(server_timing):
            raise TypeError(f"Timing(server_timing=…) must be True, False or a function of environ: {server_timing!r}")
        if not isinstance(metric, str) or not is_token(metric):
            raise ValueError(f"Timing(metric=…) must be a token such as 'app', not {metric!r}")
        self._sends = bool(server_timing)
        self._may_see = server_timing if callable(server_timing) else None
        self._format = metric.replace("%", "%%") + ";dur=%.1f"
        self._log = _access_log(logger, level, slow_ms)
        self._watches = self._log is not None or type(self).on_end is not Timing.on_end

    def on_request(self, environ: WSGIEnvironment) -> None:
        """Start the clock, unless it runs."""
        if STARTED not in environ:
            environ[STARTED] = perf_counter()

    def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> None:
        """Send the time so far."""
        if self._sends and (self._may_see is None or self._may_see(environ)):
            headers.append(("Server-Timing", self._format % ((perf_counter() - environ[STARTED]) * 1000)))

    def on_end(self, environ: WSGIEnvironment, ending: Ending) -> None:
        """Log the request."""
        if self._log is not None and LOGGED_KEY not in environ:
            environ[LOGGED_KEY] = True
            self._log.write(environ, ending, environ[STARTED])


def _access_log(logger: str | None, level: int | None, slow_ms: float | None) -> AccessLog | None:
    """Return what writes the records, if any are wanted."""
    if not isinstance(logger, (str, type(None))):
        raise TypeError(f"Timing(logger=…) must be the name of a logger or None, not {logger!r}")
    if not isinstance(level, (int, type(None))) or isinstance(level, bool):
        raise TypeError(f"Timing(level=…) must be a level such as logging.INFO, not {level!r}")
    if not isinstance(slow_ms, (int, float, type(None))) or isinstance(slow_ms, bool):
        raise TypeError(f"Timing(slow_ms=…) must be milliseconds or None, not {slow_ms!r}")
    if slow_ms is not None and not slow_ms >= 0:
        raise ValueError(f"Timing(slow_ms=…) must be milliseconds from 0, not {slow_ms!r}")
    if logger is not None:
        return AccessLog(logger, logging.INFO if level is None else level, slow_ms)
    for option, given in {"level": level, "slow_ms": slow_ms}.items():
        if given is not None:
            raise ValueError(
                f"Timing({option}=…) is for log records, and there are none without a logger:"
                f" Timing(logger='flask_guard.access', {option}={given!r})"
            )
    return None
