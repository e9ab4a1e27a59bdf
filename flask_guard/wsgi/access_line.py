"""`DevFormatter`, and the lines of requests on stderr without a configuration of logging."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, TextIO

from .text import printable

_RESET, _DIM, _BOLD, _CYAN, _YELLOW, _RED = "\x1b[0m", "\x1b[2m", "\x1b[1m", "\x1b[36m", "\x1b[33m", "\x1b[31m"
_LEVEL_COLORS = {"DEBUG": _DIM, "INFO": _CYAN, "WARNING": _YELLOW, "ERROR": _RED}
_STATUS_COLORS = {2: "\x1b[32m", 3: _CYAN, 4: _YELLOW, 5: _RED}
WIDEST_PATH, NARROWEST_PATH = 32, 16
"""The columns of a path on a terminal. A remark may take columns of a long path."""
SHORTEST_REMEDY = 40
"""The fewest columns of a remedy that is cut, so that the line fits a terminal."""
BESIDE_PATH = len("12:30:01 201 POST    ") + len("  1234.5 ms")


def one_line(text: object) -> str:
    """Return `text` on one line, with line breaks and invisible characters escaped."""
    shown = str(text)
    return printable(shown, len(shown))


def is_access(record: logging.LogRecord) -> bool:
    return hasattr(record, "duration_ms") and hasattr(record, "verdicts")


class DevFormatter(logging.Formatter):
    """One line for a developer: the request, its answer, and remarks.

    On a terminal the line is coloured and aligned: time, status, method, path and milliseconds. Remarks follow: the key
    or principal, the policy that denied the request with the reason, and whether the request was slow. Elsewhere the
    line is plain::

        12:30:01.250 INFO  POST /api/orders 201 12.5 ms 48 B [3f2a9c10] api_key=ci
        12:30:02.017 INFO  GET /api/orders 401 0.4 ms 96 B [b81d004e] denied by require_api_key (missing)

    Other records show their logger's name and message. A traceback follows, on indented lines.

    :param color: whether to colour and align the line; None for True where `stream` is a terminal and ``NO_COLOR``
        (no-color.org) is not set.
    :param stream: the stream that is written to; ``sys.stderr`` by default.
    """

    def __init__(self, *, color: bool | None = None, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stderr
        self._color = self._stream.isatty() and not os.environ.get("NO_COLOR") if color is None else color

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        if is_access(record) and self._color:
            line = f"{self._paint(clock, _DIM)} {self._columns(record)}"
        else:
            level = self._paint(f"{record.levelname:<5}", _LEVEL_COLORS.get(record.levelname, _RED))
            text = _plain(record) if is_access(record) else f"{record.name}: {one_line(record.getMessage())}"
            line = f"{clock}.{int(record.msecs):03d} {level} {text}"
        return "\n".join([line, *self._traceback(record)])

    def _columns(self, record: Any) -> str:
        path, remarks = one_line(record.path), list(_remarks(record))
        narrowest, room = min(NARROWEST_PATH, len(path)), self._room_beside(remarks)
        if room < narrowest:
            remarks = list(_remarks(record, cut=narrowest - room))
            room = self._room_beside(remarks)
        column = max(narrowest, min(WIDEST_PATH, room))
        if len(path) > max(column, room):
            path = f"{path[: max(column, room) - 1]}…"
        status = self._paint(str(record.status), _STATUS_COLORS.get(record.status // 100, ""))
        method = self._paint(f"{one_line(record.method):<7}", _BOLD)
        duration = self._paint(f"{record.duration_ms:8.1f} ms", _YELLOW if getattr(record, "slow", False) else "")
        return "  ".join([f"{status} {method} {path:<{column}}{duration}", *(self._paint(*each) for each in remarks)])

    def _room_beside(self, remarks: list[tuple[str, str]]) -> int:
        """Return the columns that are left for a path."""
        return _width(self._stream) - BESIDE_PATH - sum(2 + len(text) for text, _ in remarks)

    def _traceback(self, record: logging.LogRecord) -> Iterator[str]:
        error = self.formatException(record.exc_info) if record.exc_info else record.exc_text or ""
        for line in f"{error}\n{record.stack_info or ''}".split("\n"):
            if line:
                yield f"    {one_line(line)}"

    def _paint(self, text: str, color: str) -> str:
        return f"{color}{text}{_RESET}" if self._color and color else text


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _plain(record: Any) -> str:
    answer = f"{record.status} {record.duration_ms:.1f} ms {_size(record.bytes)}"
    request_id = [f"[{one_line(record.request_id[:8])}]"] if record.request_id else []
    return " ".join(
        [one_line(record.method), one_line(record.path), answer, *request_id, *(text for text, _ in _remarks(record))]
    )


def _size(size: int | None) -> str:
    if size is None or size < 1000:
        return f"{size or 0} B"
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def _remarks(record: Any, *, cut: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the remarks about a request, each with its colour.

    :param cut: the surplus of characters, by which a remedy is cut.
    """
    for name in ("api_key", "principal"):
        if getattr(record, name, None) is not None:
            yield f"{name}={one_line(getattr(record, name))}", _CYAN
    for policy, verdict in record.verdicts.items():
        if verdict == "denied":
            yield f"denied by {one_line(policy)}{_why(record, cut)}", _YELLOW
        elif verdict != "allowed":
            yield one_line(f"{policy} {verdict}"), _YELLOW
    for text, holds in (("slow", getattr(record, "slow", False)), ("aborted", record.aborted)):
        if holds:
            yield text, _YELLOW
    if record.exception:
        yield one_line(record.exception), _RED


def _why(record: Any, cut: int) -> str:
    reason, remedy = getattr(record, "reason", None), one_line(getattr(record, "remedy", None) or "")
    if cut and len(remedy) > SHORTEST_REMEDY:
        remedy = f"{remedy[: max(SHORTEST_REMEDY, len(remedy) - cut) - 1]}…"
    return (f" ({one_line(reason)})" if reason else "") + (f": {remedy}" if remedy else "")


# Without a configuration of logging ----------------------------------------------------------------------------------

_OWN_LINE: ContextVar[bool] = ContextVar("flask_guard.own_line", default=False)
"""Whether this request gets a line here, in place of the line of Werkzeug's server."""


def is_shown(logger: logging.Logger, level: int) -> bool:
    """Return whether a record is shown if the root logger has the level INFO, where no level is set."""
    if logger.disabled or logger.manager.disable >= level:
        return False
    found: logging.Logger | None = logger
    while found is not None and found.parent is not None:
        if found.level:
            return level >= found.level
        found = found.parent
    root = logging.getLogger().level
    return level >= (logging.INFO if root == logging.WARNING else root)  # WARNING is the default of Python


class StderrHandler(logging.Handler):
    """Writes lines to the current stderr."""

    _stream: TextIO | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = sys.stderr
            if self._stream is not stream:
                self._stream = stream
                self.setFormatter(DevFormatter(stream=stream))
            stream.write(f"{self.format(record)}\n")
            stream.flush()
        except Exception:  # noqa: BLE001  # as every handler of the standard library
            self.handleError(record)


class WithoutRequestLines(logging.Filter):
    """Removes the request lines of Werkzeug's server for requests with a line here. Its other lines stay."""

    def filter(self, record: logging.LogRecord) -> bool:
        is_line = isinstance(record.msg, str) and record.msg.endswith('"%s" %s %s')
        if not is_line or not _OWN_LINE.get():
            return True
        _OWN_LINE.set(False)
        return False


def replace_line_of_werkzeug(environ: dict[str, Any]) -> None:
    """Remove the line of Werkzeug's server for this request."""
    if environ.get("SERVER_SOFTWARE", "").startswith("Werkzeug/"):
        logger = logging.getLogger("werkzeug")
        if not any(isinstance(each, WithoutRequestLines) for each in logger.filters):
            logger.addFilter(WithoutRequestLines())
        _OWN_LINE.set(True)
