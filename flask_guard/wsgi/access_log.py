"""One log record for each request, with the attributes that the records of ``@log_timing`` have."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .addresses import without_port
from .request_ids import ENVIRON_KEY
from .text import printable

if TYPE_CHECKING:
    from .typing import Ending, WSGIEnvironment

LONGEST_PATH = 2048
"""Characters of a path that a record keeps."""
MESSAGE = "%(method)s %(path)s %(status)s %(duration_ms).1f ms"
_UNKNOWN_HERE: dict[str, Any] = dict.fromkeys(("endpoint", "api_key", "principal", "trace_id", "span_id"))


class AccessLog:
    """Writes the records of one logger.

    :param level: the level of a record; 5xx answers and exceptions are logged at ERROR at least.
    :param slow_ms: milliseconds from which a request is logged at WARNING at least; None for never.
    """

    def __init__(self, logger: str, level: int, slow_ms: float | None) -> None:
        self._logger = logging.getLogger(logger)
        self._level = level
        self._failed = max(level, logging.ERROR)
        self._delayed = max(level, logging.WARNING)
        self._slow = slow_ms / 1000 if slow_ms is not None else None

    def write(self, environ: WSGIEnvironment, ending: Ending, started: float) -> None:
        """Write the record of one request, which came in when :func:`time.perf_counter` said `started`."""
        now = perf_counter()
        level = self._level
        if ending.error is not None or ending.status is None or ending.status >= "5":
            level = self._failed
        elif self._slow is not None and now - started >= self._slow:
            level = self._delayed
        logger = self._logger
        if not logger.isEnabledFor(level):
            return
        duration_ms = (now - started) * 1000
        fields = _fields(environ, ending, duration_ms)
        if ending.first_byte is not None:
            fields["first_byte_ms"] = (ending.first_byte - started) * 1000
        make = logging.getLogRecordFactory()
        record = make(logger.name, level, __file__, 0, MESSAGE, (fields,), None, "wsgi.Timing")
        record.__dict__.update(fields)
        logger.handle(record)


def _code(status: str | None) -> int:
    """Return the number in a status line. A response that failed before it began is what servers make of it, a 500."""
    code = status[:3] if status is not None else ""
    return int(code) if code.isascii() and code.isdigit() else 500


def _fields(environ: WSGIEnvironment, ending: Ending, duration_ms: float) -> dict[str, Any]:
    return {
        **_UNKNOWN_HERE,
        "request_id": environ.get(ENVIRON_KEY),
        "method": printable(environ["REQUEST_METHOD"], 32),
        "path": _path(environ),
        "status": _code(ending.status),
        "duration_ms": duration_ms,
        "first_byte_ms": duration_ms,
        "bytes": ending.size,
        "address": printable(without_port(environ.get("REMOTE_ADDR", "")), 64),
        "verdicts": {},
        "aborted": ending.aborted,
        "exception": type(ending.error).__name__ if ending.error is not None else None,
    }


def _path(environ: WSGIEnvironment) -> str:
    """Return the whole path: applications that are mounted move parts of it from the one variable to the other."""
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"[: 4 * LONGEST_PATH]
    if not path.isascii():  # WSGI hands bytes over as Latin-1
        path = path.encode("latin-1", "replace").decode("utf-8", "replace")
    return printable(path, LONGEST_PATH)
