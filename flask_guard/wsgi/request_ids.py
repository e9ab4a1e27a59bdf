"""Request ids: taken from a client that is trusted, if well-formed; made otherwise.

The id of a request is ``environ["flask_guard.request_id"]``, put there by whoever needs it first, so that every layer
agrees on it. While the request is handled it is also the value of :data:`CURRENT`, for log records.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from contextvars import ContextVar
from functools import lru_cache
from string import ascii_letters, digits
from typing import Any

from .addresses import Network, lies_in, parse_networks

ENVIRON_KEY = "flask_guard.request_id"
"""Where a request's environ carries its id."""
LOGGED_KEY = "flask_guard.logged"
"""What a request's environ says once somebody has taken charge of its access record."""
CURRENT: ContextVar[str | None] = ContextVar("flask_guard.request_id", default=None)
"""The id of the request that this context serves; `contextvars.copy_context` takes it along."""

LONGEST_ID = 128
ALPHABET = ascii_letters + digits + "-_."
_HEX = "0123456789abcdef"


class RequestIds:
    """Gives each request its id.

    :param trust: whose ids are taken: True for everybody's, False for nobody's, or the networks from which they are,
        such as ``["10.0.0.0/8"]``: those of the proxies that connect, also behind Werkzeug's ``ProxyFix``.
    :param longest: characters that an id from outside may have.
    :param alphabet: the characters that it may be made of.
    :param trace: returns the trace id of the current span, if there is one.
    :raises ValueError: for options that cannot be meant.
    """

    def __init__(
        self,
        *,
        trust: bool | Collection[str] = True,
        longest: int = LONGEST_ID,
        alphabet: str = ALPHABET,
        trace: Callable[[], str | None] | None = None,
    ) -> None:
        self._random = random.Random()  # noqa: S311  # an id has to be unique, not secret
        self._trusts = trust if isinstance(trust, bool) else _lies_in(_networks(trust))
        self._longest = _length(longest)
        self._alphabet = _characters(alphabet)
        self._trace = trace

    def of(self, environ: dict[str, Any]) -> str:
        """Return the id of the request with `environ`, which carries it from the first call on.

        It is ``X-Request-ID`` if that is well-formed and the client trusted; else the trace id of the current span;
        else that of a well-formed ``traceparent`` (W3C Trace Context) from a trusted client; else 32 random hexadecimal
        digits.
        """
        found: str | None = environ.get(ENVIRON_KEY)
        return found or environ.setdefault(ENVIRON_KEY, self._find(environ))

    def _find(self, environ: dict[str, Any]) -> str:
        given = environ.get("HTTP_X_REQUEST_ID")
        parent = environ.get("HTTP_TRACEPARENT")
        trusted = (given or parent) and (self._trusts if isinstance(self._trusts, bool) else self._trusts(environ))
        if trusted and given and len(given) <= self._longest and not given.strip(self._alphabet):
            return str(given)
        traced = self._trace() if self._trace is not None else None
        return traced or (trace_id(parent) if trusted and parent else None) or self.new()

    def new(self) -> str:
        """Return a new id.

        Two sources are mixed: this object's is copied when a worker forks, while the module's is seeded afresh then;
        the module's is the same in every worker of an app that seeds it, while this object's is not.
        """
        return f"{self._random.getrandbits(128) ^ random.getrandbits(128):032x}"


def trace_id(traceparent: str) -> str | None:
    """Return the trace id in `traceparent`, or None if that is malformed (W3C Trace Context, section 3.2)."""
    if len(traceparent) != 55:
        return None
    version, _, rest = traceparent.partition("-")
    trace, _, rest = rest.partition("-")
    parent, _, flags = rest.partition("-")
    lengths = (len(version), len(trace), len(parent), len(flags))
    if lengths != (2, 32, 16, 2) or (version + trace + parent + flags).strip(_HEX):
        return None
    return trace if version == "00" and trace.strip("0") and parent.strip("0") else None


def _networks(trust: object) -> tuple[Network, ...]:
    if isinstance(trust, str) or not isinstance(trust, Collection):
        raise ValueError(f"trust must be True, False, or networks such as ['10.0.0.0/8'], not {trust!r}")
    try:
        return parse_networks(trust)
    except ValueError as error:
        raise ValueError(f"trust must list networks such as '10.0.0.0/8': {error}") from None


def _lies_in(networks: tuple[Network, ...]) -> Callable[[dict[str, Any]], bool]:
    """Return a function that says whether the peer that connected lies in one of `networks`."""

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
