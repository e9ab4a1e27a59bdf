"""`Timing`: the response time of the application, in a header for the client and, with a logger, in a log record."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from .access_record import LOGGED_KEY, LONGEST_PATH, AccessLog, access_fields
from .fields import is_token
from .middleware import Middleware
from .request_ids import ENVIRON_KEY

if TYPE_CHECKING:
    from .typing import Ending, HeaderList, WSGIApplication, WSGIEnvironment

STARTED = "flask_guard.started"
"""The key of ``environ`` with the start of the request, in seconds of :func:`time.perf_counter`."""


class Timing(Middleware):
    """Sends the time to the first byte as ``Server-Timing`` (W3C) and, with a logger, logs requests.

    The time starts when the outermost ``Timing`` gets the request. The header has the time until the application starts
    its response. The record is made at the last byte, or when the body is given up, with the attributes of the records
    of ``@log_timing``. A request that ``@log_timing`` logs gets no second record::

        app.wsgi_app = Timing(app.wsgi_app, logger="flask_guard.access", slow_ms=500)

    :param server_timing: whether to send the header, or a function of ``environ`` that decides for each client. The
        header shows clients how busy the application is.
    :param metric: the name of the time in the header.
    :param logger: the name of a logger, such as ``"flask_guard.access"``; None to log nothing. A record costs several
        times as much as the header.
    :param level: the level of a record; INFO by default.
    :param error_level: the level of 5xx answers and exceptions, if it is higher; WARNING by default.
    :param slow_ms: milliseconds from which a request is logged at WARNING at least; None for never.
    :raises TypeError: for an option of the wrong type.
    :raises ValueError: for a metric that is not a token (RFC 9110, section 5.6.2), for a negative time, and for an
        option of records without a `logger`.
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
        error_level: int | None = None,
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
        self._log = _access_log(logger, level, error_level, slow_ms)
        self._watches = self._log is not None or type(self).on_end is not Timing.on_end

    def on_request(self, environ: WSGIEnvironment) -> None:
        """Start the clock, unless it runs."""
        if STARTED not in environ:
            environ[STARTED] = perf_counter()

    def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> None:
        """Send the time so far."""
        if self._log is not None and not self._log.is_configured and LOGGED_KEY not in environ:
            self._log.begin(environ)
        if self._sends and (self._may_see is None or self._may_see(environ)):
            headers.append(("Server-Timing", self._format % ((perf_counter() - environ[STARTED]) * 1000)))

    def on_end(self, environ: WSGIEnvironment, ending: Ending) -> None:
        if self._log is None or LOGGED_KEY in environ:
            return
        environ[LOGGED_KEY] = True
        started, ended = environ[STARTED], perf_counter()
        level = self._log.level_of(ending, ended - started)
        if level is not None:
            fields = access_fields(
                ending,
                started,
                ended,
                request_id=environ.get(ENVIRON_KEY),
                method=environ["REQUEST_METHOD"],
                path=_path(environ),
                address=environ.get("REMOTE_ADDR"),
                verdicts={},
            )
            self._log.write(level, fields)


def _path(environ: WSGIEnvironment) -> str:
    """Return the whole path, of which a mounted application has a part in another variable."""
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
    if path.isascii():
        return path
    return path[: 4 * LONGEST_PATH].encode("latin-1", "replace").decode("utf-8", "replace")  # WSGI has bytes as Latin-1


def _access_log(
    logger: str | None, level: int | None, error_level: int | None, slow_ms: float | None
) -> AccessLog | None:
    """Return the writer of the records, or None without a logger."""
    if not isinstance(logger, (str, type(None))):
        raise TypeError(f"Timing(logger=…) must be the name of a logger or None, not {logger!r}")
    for name, number in (("level", level), ("error_level", error_level)):
        if not isinstance(number, (int, type(None))) or isinstance(number, bool):
            raise TypeError(f"Timing({name}=…) must be a level such as logging.INFO, not {number!r}")
    if not isinstance(slow_ms, (int, float, type(None))) or isinstance(slow_ms, bool):
        raise TypeError(f"Timing(slow_ms=…) must be milliseconds or None, not {slow_ms!r}")
    if slow_ms is not None and not slow_ms >= 0:
        raise ValueError(f"Timing(slow_ms=…) must be milliseconds from 0, not {slow_ms!r}")
    if logger is not None:
        return AccessLog(
            logger,
            logging.INFO if level is None else level,
            logging.WARNING if error_level is None else error_level,
            slow_ms,
            "wsgi.Timing",
        )
    for option, given in {"level": level, "error_level": error_level, "slow_ms": slow_ms}.items():
        if given is not None:
            raise ValueError(
                f"Timing({option}=…) is for log records, and there are none without a logger:"
                f" Timing(logger='flask_guard.access', {option}={given!r})"
            )
    return None
