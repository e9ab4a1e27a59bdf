"""The identity of a client: the text that a request is counted by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from werkzeug.exceptions import HTTPException

from ..core.policy import Phase
from ..core.request_run import Run
from ..errors import ConfigError
from ..support.addresses import client_network
from ..support.callables import takes_request
from ..support.log import log

ByOne: TypeAlias = "Literal['address', 'api_key', 'principal'] | Callable[..., object]"
By: TypeAlias = "ByOne | tuple[ByOne, ...]"

Identify: TypeAlias = "Callable[[Run], str]"
"""Returns the identity of the client of a request. It is never empty: the address stands in for a missing one."""

NAMES = ("address", "api_key", "principal")
LONGEST_IDENTITY = 128
"""Characters of a client's identity beyond which its hash is stored instead."""


def check_by(by: Any, what: str) -> By:
    """Check for the ways to identify a client."""
    several = by if isinstance(by, tuple) else (by,)
    for each in several:
        if not callable(each) and each not in NAMES:
            raise ConfigError(f"{what} must be 'address', 'api_key', 'principal', a callable or a tuple, not {by!r}")
        if callable(each):
            takes_request(each, what)
    if not several or len(set(several)) < len(several):
        raise ConfigError(f"{what} must name each part once, not {by!r}")
    checked: By = by
    return checked


def phase_of(by: By) -> Phase:
    """Return the phase in which the client is known."""
    return Phase.LIMIT if by in ("address", ("address",)) else Phase.QUOTA


def identifier(by: By, what: str) -> Identify:
    """Return the function that identifies the client of a request."""
    if isinstance(by, tuple):
        parts = [identifier(each, what) for each in by]
        return lambda run: "+".join([identify(run) for identify in parts])
    if callable(by):
        return _by_callable(by, what)
    return {"address": address_of, "api_key": _api_key, "principal": _principal}[by]


def address_of(run: Run) -> str:
    """Return the identity of a client by its address."""
    return client_network(run.request.remote_addr)


def _api_key(run: Run) -> str:
    key_id = run.identities.get("api_key")
    return f"key:{key_id}" if key_id is not None else address_of(run)


def _principal(run: Run) -> str:
    name = run.identities.get("principal")
    return f"principal:{short(name)}" if name else address_of(run)


def _by_callable(by: Callable[..., object], what: str) -> Identify:
    call = takes_request(by, what)

    def identity(run: Run) -> str:
        try:
            value = call(run.request)
            name = "" if value is None else str(value)
        except HTTPException:
            raise
        except Exception:  # a limit that cannot tell clients apart must neither open nor take the site down
            log.exception("%s failed: the request is counted by address", what)
            return address_of(run)
        if " at 0x" in name:  # the place of an object in memory: each request would be another client
            if run.state.once(f"{what} returned {type(value)}"):
                log.error("%s returned %.200s, which has no id: requests are counted by address", what, name)
            return address_of(run)
        return f"by:{short(name)}" if name else address_of(run)

    return identity


def short(text: str) -> str:
    """Return `text` in the form of storage keys. Long or unprintable text becomes a hash.

    A plus is escaped, because it joins the parts of a tuple. A percent sign is escaped, because a hash begins with a
    bare one.
    """
    if len(text) > LONGEST_IDENTITY or not text.isprintable():
        return f"%sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return text.replace("%", "%25").replace("+", "%2B") if "+" in text or "%" in text else text
