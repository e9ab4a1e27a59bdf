"""Formatters for the records of `log_timing`, and any other: a line for developers, JSON, and the web's old format.

Each record is one line, whatever clients send: control and direction characters are escaped. They take what a record
has from its attributes, so the records of :class:`flask_guard.wsgi.Timing` do as well.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from ..errors import ConfigError
from ..support.text import printable

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_RESET = "\x1b[0m"
_LEVEL_COLORS = {"DEBUG": "\x1b[2m", "INFO": "\x1b[36m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m"}
_STATUS_COLORS = {2: "\x1b[32m", 3: "\x1b[36m", 4: "\x1b[33m", 5: "\x1b[31m"}


def one_line(text: object) -> str:
    """Return `text` with all that could begin a line, or hide in one, escaped."""
    shown = str(text)
    return printable(shown, len(shown))


def is_access(record: logging.LogRecord) -> bool:
    """Return whether `record` is that of a request."""
    return hasattr(record, "duration_ms") and hasattr(record, "verdicts")


class DevFormatter(logging.Formatter):
    """One line for a person who is developing: the time, the level, the request, and what was special about it.

    ::

        12:30:01.250 INFO  POST /api/orders 201 12.5 ms 48 B [3f2a9c10] api_key=ci
        12:30:02.017 INFO  GET /api/orders 401 0.4 ms 96 B [b81d004e] denied by require_api_key

    Other records show their logger's name and message. A traceback follows, on lines that are indented.

    :param color: whether to colour it; None for where `stream` is a terminal and ``NO_COLOR`` is not set.
    :param stream: where it goes; ``sys.stderr`` by default.
    """

    def __init__(self, *, color: bool | None = None, stream: TextIO | None = None) -> None:
        super().__init__()
        self._color = _takes_color(stream or sys.stderr) if color is None else color

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`, and those of its traceback."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = self._paint(f"{record.levelname:<5}", _LEVEL_COLORS.get(record.levelname, _LEVEL_COLORS["ERROR"]))
        text = self._request(record) if is_access(record) else f"{record.name}: {one_line(record.getMessage())}"
        return "\n".join([f"{clock}.{int(record.msecs):03d} {level} {text}", *self._traceback(record)])

    def _request(self, record: Any) -> str:
        status = self._paint(str(record.status), _STATUS_COLORS.get(record.status // 100, ""))
        request = f"{one_line(record.method)} {one_line(record.path)}"
        answer = f"{status} {record.duration_ms:.1f} ms {_size(record.bytes)}"
        return " ".join([request, answer, *map(one_line, _remarks(record))])

    def _traceback(self, record: logging.LogRecord) -> Iterator[str]:
        error = self.formatException(record.exc_info) if record.exc_info else record.exc_text or ""
        for line in f"{error}\n{record.stack_info or ''}".split("\n"):
            if line:
                yield f"    {one_line(line)}"

    def _paint(self, text: str, color: str) -> str:
        return f"{color}{text}{_RESET}" if self._color and color else text


def _takes_color(stream: TextIO) -> bool:
    """Return whether `stream` is a terminal whose user has not switched colours off (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def _size(size: int | None) -> str:
    if size is None or size < 1000:
        return f"{size or 0} B"
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def _remarks(record: Any) -> Iterator[str]:
    """Yield what is special about a request."""
    if record.request_id:
        yield f"[{record.request_id[:8]}]"
    for policy, verdict in record.verdicts.items():
        if verdict != "allowed":
            yield f"{verdict} by {policy}" if verdict == "denied" else f"{policy} {verdict}"
    for name in ("api_key", "principal"):
        if getattr(record, name, None) is not None:
            yield f"{name}={getattr(record, name)}"
    if record.aborted:
        yield "aborted"
    if record.exception:
        yield str(record.exception)


class CommonLogFormatter(logging.Formatter):
    """The Common Log Format of web servers, for tools that read that; or the Combined one.

    ::

        192.0.2.7 - ci [31/Jan/2026:12:30:01 +0000] "POST /api/orders HTTP/1.1" 201 48

    The user is the principal or the API key's id. Query strings are not logged, so none is shown. Other records, which
    the format has no form for, are their message on one line: put it on a handler of ``flask_guard.access`` alone.

    :param combined: add the referer and the user agent. They are logged only if named:
        ``log_timing(fields={"referer": header("Referer"), "user_agent": header("User-Agent")})``; else they are ``-``.
    """

    def __init__(self, *, combined: bool = False) -> None:
        super().__init__()
        self._combined = combined

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        return self._line(record) if is_access(record) else one_line(record.getMessage())

    def _line(self, record: Any) -> str:
        principal, key = getattr(record, "principal", None), getattr(record, "api_key", None)
        user = principal if principal is not None else key
        began = _clf_time(record.created - record.duration_ms / 1000)
        request = f"{record.method} {record.path} {getattr(record, 'protocol', None) or 'HTTP/1.1'}"
        who = f"{_word(record.address)} - {_word(user)}"
        line = f"{who} [{began}] {_quoted(request)} {record.status} {record.bytes or '-'}"
        if self._combined:
            line += f" {_quoted(getattr(record, 'referer', None))} {_quoted(getattr(record, 'user_agent', None))}"
        return line


def _clf_time(seconds: float) -> str:
    """Return the time in UTC. Months are English, whatever the locale."""
    at = time.gmtime(seconds)
    return (
        f"{at.tm_mday:02d}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} +0000"
    )


def _word(value: object) -> str:
    """Return `value` as one word: a space or a quote in it would shift what follows."""
    shown = "".join(f"\\x{ord(each):02x}" if each in ' "' else each for each in one_line(value or ""))
    return shown or "-"


def _quoted(value: object) -> str:
    """Return `value` in quotes that end where it ends, also for those who read a backslash before one as part of it."""
    shown = one_line(value or "-").replace('"', "\\x22")
    return f'"{shown[:-1]}\\x5c"' if shown.endswith("\\") else f'"{shown}"'


class JSONFormatter(logging.Formatter):
    """One JSON object a line, with all that a record has, for log collectors. Needs the extra ``json``.

    It has ``timestamp`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, the record's own attributes, and
    ``exc_info`` where there is a traceback. All but ASCII is escaped, so nothing in it can break or turn a line.

    :param options: those of python-json-logger's ``JsonFormatter``, such as ``static_fields={"service": "shop"}``.
    :raises ConfigError: if python-json-logger is not installed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        try:
            from pythonjsonlogger.json import JsonFormatter
        except ImportError:
            raise ConfigError(
                "JSONFormatter needs python-json-logger 3 or newer: pip install 'flask-guard-kit[json]'"
            ) from None
        renamed = {"levelname": "level", "name": "logger", **options.pop("rename_fields", {})}
        self._formatter: logging.Formatter = JsonFormatter(
            "%(levelname)s %(name)s %(message)s",
            **{"timestamp": True, **options, "rename_fields": renamed, "json_ensure_ascii": True, "json_indent": None},
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the object of `record`."""
        return self._formatter.format(record)
