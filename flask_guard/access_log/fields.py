"""Fields that users add to the records of `log_timing`: headers, query parameters, and the results of functions.

::

    log_timing(fields={
        "user_agent": log_fields.header("User-Agent"),
        "page": log_fields.query("page"),
        "session": log_fields.header("Cookie", mask=True),
        "tenant": lambda: g.tenant,
    })

No header and no query parameter is logged unless it is named here. Those from which a policy of the app reads
credentials are masked, also in the URLs of headers such as ``Referer`` and ``Location``. A value is logged on one line:
control and direction characters are escaped, and text is cut after 256 characters.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs, unquote_plus

from flask import Request

from ..errors import ConfigError
from ..support.callables import takes_request
from ..support.text import printable
from ..typing import Response
from ..wsgi.access_record import DEFAULTS

log: logging.Logger = logging.getLogger("flask_guard")

LONGEST_VALUE = 256
"""Characters of a value that a record keeps."""
LARGEST_NUMBER = 2**63
"""Not every reader of logs takes a larger number."""
MASKED = "***"
CREDENTIALS = frozenset({
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "access_token",
    "api_key",
    "password",
    "token",
})  # fmt: skip
"""Headers and query parameters that are logged only if masked, in lower case."""

Mask: TypeAlias = "bool | Callable[[str], str]"
Where: TypeAlias = Literal["header", "query", "response_header"]
Source: TypeAlias = "Named | Callable[..., Any]"
Pairs: TypeAlias = "tuple[tuple[str, Source], ...]"
Fields: TypeAlias = "Callable[[Request, Response | None], dict[str, Any]]"


@dataclass(frozen=True, slots=True)
class Named:
    """A header or query parameter to log. Made by :func:`header`, :func:`query` and :func:`response_header`."""

    where: Where
    name: str
    mask: Mask = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"{self.where}(…) takes a name, not {self.name!r}")
        if not isinstance(self.mask, bool) and not callable(self.mask):
            raise ConfigError(f"{self!r}: mask must be True, or a function from the value to the text to log")
        if self.mask is False and not CREDENTIALS.isdisjoint((self.name.lower(), self._place()[1])):
            raise ConfigError(f"{self!r} would log a secret. Write {self.where}({self.name!r}, mask=True)")

    def _place(self) -> tuple[str, str]:
        """Return the place of the value, as policies name it. In WSGI, ``X_Key`` and ``X-Key`` are one header."""
        if self.where == "query":
            return "query", self.name
        name = self.name.lower()
        return "header", name.replace("_", "-") if self.where == "header" else name

    def reader(self, credentials: Collection[tuple[str, str]]) -> Callable[[Request, Response | None], str | None]:
        """Return a function that returns the value to log; None where there is no such header or parameter.

        :param credentials: the headers and parameters that are masked all the same. It may grow.
        """
        place = self._place()

        def read(request: Request, response: Response | None) -> str | None:
            value = self._value(request, response)
            if value is None or (self.mask is False and place not in credentials):
                return _without_credentials(value, credentials) if value and place[0] == "header" else value
            return MASKED if isinstance(self.mask, bool) else self._masked(value, self.mask)

        return read

    def _masked(self, value: str, mask: Callable[[str], str]) -> str:
        try:
            return mask(value)
        except Exception as error:  # noqa: BLE001  # its message and traceback may hold the value
            raise RuntimeError(f"the mask of {self.where}({self.name!r}) raised {type(error).__name__}") from None

    def _value(self, request: Request, response: Response | None) -> str | None:
        if self.where == "header":
            return request.headers.get(self.name)
        if self.where == "query":
            return _parameter(request, self.name)
        return response.headers.get(self.name) if response is not None else None

    def __repr__(self) -> str:
        return f"{self.where}({self.name!r}{f', mask={self.mask!r}' if self.mask else ''})"


def header(name: str, *, mask: Mask = False) -> Named:
    """Log the request's header `name`.

    :param mask: True to log ``***`` in place of a value; or a function from the value to the text to log.
    :raises ConfigError: if the header carries credentials, as ``Authorization`` and ``Cookie`` do, and is not masked.
    """
    return Named("header", name, mask)


def query(name: str, *, mask: Mask = False) -> Named:
    """Log the first query parameter `name`. Options are those of :func:`header`."""
    return Named("query", name, mask)


def response_header(name: str, *, mask: Mask = False) -> Named:
    """Log the response's header `name`, as it goes out. Options are those of :func:`header`."""
    return Named("response_header", name, mask)


def _without_credentials(value: str, credentials: Collection[tuple[str, str]]) -> str:
    """Mask the parameters, also those in the fragment, with credentials in URLs of ``Referer`` or ``Location``."""

    def masked(found: re.Match[str]) -> str:
        name = unquote_plus(found[2])
        is_secret = ("query", name) in credentials or name.lower() in CREDENTIALS
        return f"{found[1]}{found[2]}={MASKED}" if is_secret else found[0]

    return _PARAMETER.sub(masked, value) if "?" in value or "#" in value else value


_PARAMETER = re.compile(r"([?&#])([^=&#\s]+)=[^&#\s]*")


def _parameter(request: Request, name: str) -> str | None:
    try:
        return request.args.get(name)
    except UnicodeDecodeError:  # raw bytes, which no browser sends
        return next(iter(parse_qs(request.query_string.decode("latin-1")).get(name, ())), None)


def check_fields(fields: object, what: str) -> Pairs:
    """Check for a mapping from names that a record has not taken to sources. Return pairs of both."""
    if fields is None:
        return ()
    if not isinstance(fields, (Mapping, tuple)):
        raise ConfigError(f"{what} must map names to sources, such as {{'agent': header('User-Agent')}}")
    pairs: Pairs = tuple(fields.items()) if isinstance(fields, Mapping) else fields
    taken = {*DEFAULTS, "costs", *vars(logging.makeLogRecord({})), "message", "asctime"}
    for name, source in pairs:
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"{what}: {name!r} cannot name an attribute of a record; write a Python identifier")
        if name in taken:
            raise ConfigError(f"{what}: every record has a {name!r}; take another name")
        _reader(name, source)
    return pairs


def compile_fields(pairs: Pairs, credentials: Collection[tuple[str, str]]) -> Fields:
    """Return a function that reads all fields. One that raises is None, and its first failure an error in the log.

    :param credentials: the headers and query parameters to mask, with their names in lower case.
    """
    readers = [(name, _reader(name, source, credentials)) for name, source in pairs]
    failed: set[str] = set()

    def read(request: Request, response: Response | None) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, reader in readers:
            try:
                values[name] = loggable(reader(request, response))
            except Exception:
                values[name] = None
                if name not in failed:
                    failed.add(name)
                    log.exception("log_timing(fields=…): %s failed; its later failures are not reported", name)
        return values

    return read


def _reader(
    name: str, source: Source, credentials: Collection[tuple[str, str]] = ()
) -> Callable[[Request, Response | None], Any]:
    if isinstance(source, Named):
        return source.reader(credentials)
    if not callable(source):
        raise ConfigError(f"log_timing(fields=…): {name!r} must be header(…), query(…) or a function, not {source!r}")
    call = takes_request(source, f"log_timing(fields={{{name!r}: …}})")
    return lambda request, _response: call(request)


def loggable(value: object) -> bool | int | float | str | None:
    """Return `value` as a record can hold it: numbers, booleans and None unchanged, all else as one line of text."""
    if value is None or (isinstance(value, (int, float)) and -LARGEST_NUMBER <= value <= LARGEST_NUMBER):
        return value
    if isinstance(value, (int, float)):
        return "a number out of range"
    return printable(value if isinstance(value, str) else str(value), LONGEST_VALUE)
