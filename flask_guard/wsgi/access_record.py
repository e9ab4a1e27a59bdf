"""The log record of a request, for `log_timing` and :class:`flask_guard.wsgi.Timing`."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .access_line import StderrHandler, is_shown, replace_line_of_werkzeug
from .addresses import shown_address
from .text import printable
from .typing import Ending

LONGEST_PATH = 2048
"""Characters of a path that a record keeps."""
LOGGED_KEY = "flask_guard.logged"
"""The key of a request's environ that is set by the layer or policy that makes the access record."""
MESSAGE = "%(method)s %(path)s %(status)s %(duration_ms).1f ms"

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "request_id": None,
        "method": "",
        "path": "",
        "endpoint": None,
        "status": 500,
        "duration_ms": 0.0,
        "first_byte_ms": 0.0,
        "bytes": 0,
        "address": "",
        "api_key": None,
        "principal": None,
        "verdicts": None,
        "reason": None,
        "slow": False,
        "aborted": False,
        "exception": None,
        "trace_id": None,
        "span_id": None,
    }
)
"""The attributes that the record of each request has, with the values that stand for nothing."""


def access_fields(
    ending: Ending,
    started: float,
    ended: float,
    *,
    request_id: str | None,
    method: str,
    path: str,
    address: str | None,
    verdicts: dict[str, str],
) -> dict[str, Any]:
    """Return the attributes of a request's record, without those that have their defaults.

    :param started: the start of the request, in seconds of :func:`time.perf_counter`.
    :param ended: the end of its response.
    """
    duration_ms = _milliseconds(ended - started)
    first_byte, exception = ending.first_byte, ending.exception
    fields = {
        "request_id": request_id,
        "method": printable(method, 32),
        "path": printable(path, LONGEST_PATH),
        "status": ending.code,
        "duration_ms": duration_ms,
        "first_byte_ms": duration_ms if first_byte is None else _milliseconds(first_byte - started),
        "bytes": ending.size,
        "address": shown_address(address),
        "verdicts": verdicts,
    }
    if ending.aborted:
        fields["aborted"] = True
    if exception is not None:
        fields["exception"] = exception
    return fields


def _milliseconds(seconds: float) -> float:
    """Return a duration rounded to microseconds. Faster than :func:`round`."""
    return (seconds * 1e6 + 0.5) // 1 / 1000


class AccessLog:
    """Writes the records of one logger. Without a configuration of logging, each record is a line on stderr.

    :param level: the level of a record.
    :param error_level: the level of 5xx answers and exceptions, if it is higher.
    :param slow_ms: milliseconds from which a request is logged at WARNING at least; None for never.
    :param source: the name of the function in the records.
    """

    def __init__(self, logger: str, level: int, error_level: int, slow_ms: float | None, source: str) -> None:
        self._logger = logging.getLogger(logger)
        self._records = Records(logger, MESSAGE, source, DEFAULTS)
        self._level = level
        self._error_level = max(level, error_level)
        self._slow_level = max(level, logging.WARNING)
        self._slow_ms = slow_ms if slow_ms is not None else float("inf")
        self._stderr = StderrHandler()
        self.is_configured: bool = False

    def begin(self, environ: dict[str, Any]) -> None:
        """Remove the line of Werkzeug's server for a request with a line here. Called before its headers are sent.

        Unnecessary once `is_configured` is true.
        """
        if not self._has_handlers() and is_shown(self._logger, self._level):
            replace_line_of_werkzeug(environ)

    def level_of(self, ending: Ending, seconds: float) -> int | None:
        """Return the level of the record of a request that took `seconds`, or None if nobody listens at that level."""
        level = self._level
        if ending.code >= 500 or ending.exception is not None:
            level = self._error_level
        elif seconds * 1000 >= self._slow_ms:
            level = self._slow_level
        if self.is_configured or self._has_handlers():
            return level if self._logger.isEnabledFor(level) else None
        return level if is_shown(self._logger, level) else None

    def write(self, level: int, fields: dict[str, Any]) -> None:
        """Write the record of one request."""
        if fields["duration_ms"] >= self._slow_ms:
            fields["slow"] = True
        record = self._records.make(level, fields)
        if self.is_configured:
            self._logger.handle(record)
        elif self._logger.filter(record):
            self._stderr.handle(record)

    def _has_handlers(self) -> bool:
        self.is_configured = self.is_configured or self._logger.hasHandlers()
        return self.is_configured


class Records:
    """Makes the records of one logger with one message, fast.

    A :class:`logging.LogRecord` computes the file and module of its caller, its process and more. These are the same
    for every record here, so they are copied from one record of the standard library.

    :param message: the message, which handlers format with the fields, ``%(name)s``.
    :param source: the name of the function in the records.
    :param defaults: the values of the fields that a record is not given.
    """

    def __init__(
        self, logger: str, message: str, source: str, defaults: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self._logger = logger
        self._message = message
        self._source = source
        self._defaults = defaults
        self._templates: dict[int, dict[str, Any]] = {}

    def make(self, level: int, fields: dict[str, Any]) -> logging.LogRecord:
        """Return a record with `fields` as attributes, made by the application's record factory, if it has set one."""
        if logging.getLogRecordFactory() is not logging.LogRecord:
            record = self._standard(level, fields)
            record.__dict__.update(self._defaults, **fields)
            return record
        template = self._templates.get(level)
        if template is None or template["process"] != os.getpid():  # a forked worker is another process
            template = self._templates[level] = {**self._standard(level, {}).__dict__, **self._defaults}
        now = time.time()
        attributes = template | fields
        attributes["args"] = fields
        attributes["created"] = now
        attributes["msecs"] = int(now % 1 * 1000) + 0.0
        attributes["relativeCreated"] = template["relativeCreated"] + (now - template["created"]) * 1000
        attributes["thread"] = threading.get_ident()
        attributes["threadName"] = threading.current_thread().name
        record = logging.LogRecord.__new__(logging.LogRecord)
        record.__dict__ = attributes
        return record

    def _standard(self, level: int, fields: dict[str, Any]) -> logging.LogRecord:
        make = logging.getLogRecordFactory()
        return make(self._logger, level, __file__, 0, self._message, (fields,), None, self._source)
