"""Formatters for the records of `log_timing`, and any other: JSON, and the old format of web servers.

Each record is one line, whatever clients send: control and direction characters are escaped. The formatters read the
attributes of a record, so they take the records of :class:`flask_guard.wsgi.Timing`, too. :class:`DevFormatter` is in
:mod:`flask_guard.wsgi.access_line`, as layers below Flask use it.
"""

from __future__ import annotations

import logging
from email.utils import formatdate
from typing import Any

from ..support.extras import extra
from ..wsgi.access_line import DevFormatter, is_access, one_line


class CommonLogFormatter(logging.Formatter):
    """The Common Log Format of web servers, for tools that read it; or the Combined Log Format.

    ::

        192.0.2.7 - ci [31/Jan/2026:12:30:01 +0000] "POST /api/orders HTTP/1.1" 201 48

    The user is the principal or the id of the API key. Query strings are not logged, so none is shown. The format has
    no form for other records, which are their message on one line: use it for ``flask_guard.access`` alone.

    :param combined: whether to add the referer and the user agent. Both are ``-`` unless they are logged, by
        ``log_timing(fields={"referer": header("Referer"), "user_agent": header("User-Agent")})``.
    """

    def __init__(self, *, combined: bool = False) -> None:
        super().__init__()
        self._combined = combined

    def format(self, record: logging.LogRecord) -> str:
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
    _weekday, day, month, year, clock, _zone = formatdate(seconds, usegmt=True).split()
    return f"{day}/{month}/{year}:{clock} +0000"


def _word(value: object) -> str:
    """Return `value` as one word: a space or a quote in it would shift the words that follow."""
    shown = "".join(f"\\x{ord(each):02x}" if each in ' "' else each for each in one_line(value or ""))
    return shown or "-"


def _quoted(value: object) -> str:
    """Return `value` in quotes. A backslash at its end is escaped, because some readers take it to escape the quote."""
    shown = one_line(value or "-").replace('"', "\\x22")
    return f'"{shown[:-1]}\\x5c"' if shown.endswith("\\") else f'"{shown}"'


class JSONFormatter(logging.Formatter):
    """One JSON object a line, with every attribute of a record, for log collectors. Needs the extra ``json``.

    The object has ``timestamp`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, the record's own attributes, and
    ``exc_info`` where there is a traceback. All but ASCII is escaped, so no character can break or turn a line.

    :param options: those of python-json-logger's ``JsonFormatter``, such as ``static_fields={"service": "shop"}``.
    :raises ConfigError: if python-json-logger is not installed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        with extra("json", "python-json-logger 3 or newer", "JSONFormatter"):
            from pythonjsonlogger.json import JsonFormatter
        renamed = {"levelname": "level", "name": "logger", **options.pop("rename_fields", {})}
        self._formatter: logging.Formatter = JsonFormatter(
            "%(levelname)s %(name)s %(message)s",
            **{"timestamp": True, **options, "rename_fields": renamed, "json_ensure_ascii": True, "json_indent": None},
        )

    def format(self, record: logging.LogRecord) -> str:
        return self._formatter.format(record)


__all__ = ["CommonLogFormatter", "DevFormatter", "JSONFormatter", "one_line"]
