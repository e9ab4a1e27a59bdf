"""The largest body of a request, with a declared length or without one."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from werkzeug.datastructures import iter_multi_items

from ..core.denials import Denied
from ..core.report_mode import note_denial, note_report
from ..core.request_run import Run

LONGEST_LENGTH = 18
"""Digits. A longer declared length is too large without a conversion."""


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """The check of a request's body.

    A body with a declared length is refused before a byte of it is read. Another body, such as a chunked one, is
    counted while the view reads it, and the first read beyond the limit raises the refusal.

    :param most: the largest number of bytes.
    :param refusal: returns the denial of a larger body.
    :param enforced: False to report larger bodies, and let the view read them.
    """

    most: int
    refusal: Callable[[], Denied]
    enforced: bool

    def check(self, run: Run) -> None:
        """Refuse a body that is known to be too large, and watch a body of unknown length."""
        environ = run.request.environ
        length: str = environ.get("CONTENT_LENGTH") or ""
        chunked = "HTTP_TRANSFER_ENCODING" in environ
        if length.isascii() and length.isdecimal():
            if len(length) > LONGEST_LENGTH or int(length) > self.most:
                raise self.refusal()
            if not chunked:
                return
        elif not length and not chunked and "wsgi.input_terminated" not in environ:
            return  # no body: without a length, Werkzeug reads nothing from such a server
        kept = vars(run.request)
        if _size_read(kept) > self.most:  # by a hook that ran earlier
            raise self.refusal()
        environ["wsgi.input"] = BoundedInput(environ["wsgi.input"], self, run)
        if "stream" in kept:  # such a hook has asked for it, and the view reads from it
            kept["stream"] = BoundedInput(kept["stream"], self, run)


def _size_read(kept: Mapping[str, Any]) -> int:
    """Return the size of the body that Werkzeug keeps on a request: at least the names, values and files of a form."""
    data = kept.get("_cached_data")
    if data is not None:
        return len(data)
    fields = iter_multi_items(kept.get("form", {}))
    files = iter_multi_items(kept.get("files", {}))
    read = sum(len(f"{name}{value}".encode(errors="replace")) for name, value in fields)
    return read + sum(_size_of(file.stream) for _, file in files)


def _size_of(file: IO[bytes]) -> int:
    at = file.tell()
    file.seek(0, io.SEEK_END)
    size = file.tell()  # Python 3.10 does not return it from seek
    file.seek(at)
    return size


class BoundedInput(io.RawIOBase):
    """The body of a request, read up to one byte past a limit."""

    def __init__(self, stream: Any, limit: BodyLimit, run: Run) -> None:
        self._stream = stream
        self._limit = limit
        self._run = run
        self._left = limit.most
        self._denial: Denied | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer`; return the number of bytes.

        :raises Denied: beyond the limit, and at every later read.
        """
        enforced = self._limit.enforced
        if self._denial is not None and enforced:
            raise self._denial
        data: bytes = self._stream.read(min(len(buffer), self._left + 1) if enforced else len(buffer))
        self._left -= len(data)
        if self._left < 0 and self._denial is None:
            self._denial = self._limit.refusal()
            (note_denial if enforced else note_report)(self._run, self._denial)
            if enforced:
                raise self._denial
        buffer[: len(data)] = data
        return len(data)
