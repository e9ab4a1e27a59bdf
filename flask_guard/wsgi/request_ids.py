"""`RequestID` and its ids: a well-formed id of a trusted client, or a new one.

The id of a request is ``environ["flask_guard.request_id"]``. The first layer that needs the id sets it, so that all
layers have the same id. While the request is handled, :data:`CURRENT` has the id for log records.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from contextvars import ContextVar
from functools import lru_cache
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any

from .addresses import Network, lies_in, parse_networks
from .fields import check_name, value_of
from .middleware import Middleware

if TYPE_CHECKING:
    from .typing import HeaderList, WSGIApplication, WSGIEnvironment

ENVIRON_KEY = "flask_guard.request_id"
"""The key of a request's environ that holds its id."""
TAKEN_KEY = "flask_guard.request_id_taken_by"
"""The key of a request's environ that holds the :class:`RequestIds` that took the id from the client."""
CURRENT: ContextVar[str | None] = ContextVar("flask_guard.request_id", default=None)
"""The id of the request of this context, also in copies by `contextvars.copy_context`."""

DIGITS = 32
"""Hexadecimal digits of a new id."""
AT_ONCE = 64
"""New ids that are made together: the operating system takes longer than all else about an id."""
LONGEST_ID = 128
ALPHABET = ascii_letters + digits + "-_."
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class RequestIds:
    """Gives each request its id.

    :param trust: the clients whose ids are used: True for all, False for no client, or the networks of your proxies,
        such as ``["10.0.0.0/8"]``, also behind Werkzeug's ``ProxyFix``.
    :param longest: the largest number of characters of a client's id.
    :param alphabet: the characters that a client's id may have.
    :param trace: returns the trace id of the current span, or None if there is no span.
    :raises ValueError: for an invalid option.
    """

    def __init__(
        self,
        *,
        trust: bool | Collection[str] = True,
        longest: int = LONGEST_ID,
        alphabet: str = ALPHABET,
        trace: Callable[[], str | None] | None = None,
    ) -> None:
        self._ready: list[str] = []
        self._made_by = os.getpid()
        self._trusts = (lambda _environ: trust) if isinstance(trust, bool) else _lies_in(_networks(trust))
        self._longest = _length(longest)
        self._alphabet = _characters(alphabet)
        self._trace = trace

    def of(self, environ: dict[str, Any]) -> str:
        """Return the id of the request with `environ`, which keeps the id after the first call.

        The id is the first of these:

        - a well-formed ``X-Request-ID`` of a trusted client,
        - the trace id of the current span,
        - the trace id of a well-formed ``traceparent`` (W3C Trace Context) of a trusted client,
        - 32 random hexadecimal digits.

        An id that an outer layer took from the client is checked again, because that layer may trust more clients.
        """
        found: str | None = environ.get(ENVIRON_KEY)
        if found is not None:
            if environ.get(TAKEN_KEY, self) is self:
                return found
            del environ[TAKEN_KEY]
        found = environ[ENVIRON_KEY] = self._find(environ)
        return found

    def _find(self, environ: dict[str, Any]) -> str:
        given: str | None = environ.get("HTTP_X_REQUEST_ID")
        parent: str | None = environ.get("HTTP_TRACEPARENT")
        trusted = (given or parent) and self._trusts(environ)
        if trusted and given and len(given) <= self._longest and not given.strip(self._alphabet):
            environ[TAKEN_KEY] = self
            return given
        traced = self._trace() if self._trace is not None else None
        if traced is None and trusted and parent and (traced := trace_id(parent)):
            environ[TAKEN_KEY] = self
        return traced or self.new()

    def new(self) -> str:
        """Return a new id: one that neither this process nor one that it forks has made."""
        if self._made_by != os.getpid():  # a forked worker has the ids of the process that it was forked from
            self._ready, self._made_by = [], os.getpid()
        try:
            return self._ready.pop()
        except IndexError:
            made = os.urandom(AT_ONCE * DIGITS // 2).hex()
            first, *ready = [made[start : start + DIGITS] for start in range(0, len(made), DIGITS)]
            self._ready = ready
            return first


def trace_id(traceparent: str) -> str | None:
    """Return the trace id in `traceparent`, or None if the field is malformed (W3C Trace Context, section 3.2)."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return found[1] if found is not None else None


def _networks(trust: object) -> tuple[Network, ...]:
    if isinstance(trust, str) or not isinstance(trust, Collection):
        raise ValueError(f"trust must be True, False, or networks such as ['10.0.0.0/8'], not {trust!r}")
    try:
        return parse_networks(trust)
    except ValueError as error:
        raise ValueError(f"trust must list networks such as '10.0.0.0/8': {error}") from None


def _lies_in(networks: tuple[Network, ...]) -> Callable[[dict[str, Any]], bool]:
    """Return a function that checks whether the connected peer lies in one of `networks`."""

    @lru_cache(maxsize=1024)
    def is_trusted(address: str) -> bool:
        return lies_in(address, networks)

    def trusts(environ: dict[str, Any]) -> bool:
        connection = environ.get("werkzeug.proxy_fix.orig") or environ  # ProxyFix keeps the peer's address there
        return is_trusted(connection.get("REMOTE_ADDR") or "")

    return trusts


def _length(longest: object) -> int:
    if not isinstance(longest, int) or isinstance(longest, bool) or not 1 <= longest <= 1024:
        raise ValueError(f"length must be from 1 to 1024 characters, not {longest!r}")
    return longest


def _characters(alphabet: object) -> str:
    if not isinstance(alphabet, str) or not alphabet or not all("!" <= each <= "~" for each in alphabet):
        raise ValueError(f"alphabet must be the visible ASCII characters that an id may have, not {alphabet!r}")
    return alphabet


class RequestID(Middleware):
    """Sets the id of the request in ``environ["flask_guard.request_id"]`` and on the response.

    ``@log_timing`` and inner layers use this id.

    :param header: the response header with the id, or None. A header of the application stays.
    :param ids: the source of ids: by default a well-formed ``X-Request-ID`` or ``traceparent``, else a new id.
    :raises TypeError: if `ids` is something else.
    :raises ValueError: for a name that a header cannot have.
    """

    def __init__(
        self,
        app: WSGIApplication | None = None,
        *,
        header: str | None = "X-Request-ID",
        ids: RequestIds | None = None,
    ) -> None:
        super().__init__(app)
        if not isinstance(ids, (RequestIds, type(None))):
            raise TypeError(f"RequestID(ids=…) takes RequestIds(), not {ids!r}")
        self._ids = ids or RequestIds()
        self._header = None if header is None else check_name(header, "RequestID(header=…)")

    def on_request(self, environ: WSGIEnvironment) -> None:
        """Give the request its id, unless it has one."""
        self._ids.of(environ)

    def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> None:
        if self._header is not None and value_of(headers, self._header.lower()) is None:
            headers.append((self._header, environ[ENVIRON_KEY]))
