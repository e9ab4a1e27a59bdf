"""What an API key is once its secret has been verified, and what looks one up."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Protocol, runtime_checkable

from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A verified API key. It never holds the secret.

    :param id: what names the key in logs, limits and reports.
    :param name: whose it is, for people.
    :param scopes: what it may do; see ``require_api_key(scopes=…)``.
    :param expires: when it stops working; None for never. Needs a time zone.
    :raises ConfigError: for an empty id, a malformed scope or a naive `expires`.
    """

    id: str
    name: str = ""
    scopes: frozenset[str] = frozenset()
    expires: datetime | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id or not self.id.isprintable():
            raise ConfigError(f"a key id must be a printable string, not {self.id!r}")
        if not isinstance(self.name, str):
            raise ConfigError(f"the name of key {self.id!r} must be a string, not a {type(self.name).__name__}")
        object.__setattr__(self, "scopes", frozenset(scope_tokens(self.scopes, "scopes")))
        object.__setattr__(self, "expires", moment(self.expires, f"expires of key {self.id!r}"))

    @property
    def expired(self) -> bool:
        """Return whether the key's time is over."""
        return self.expires is not None and datetime.now(timezone.utc) >= self.expires


@runtime_checkable
class KeyStore(Protocol):
    """Looks keys up. Called by several threads at once."""

    def lookup(self, presented: str) -> ApiKey | None:
        """Return the key whose secret is `presented`, or None. Expiry is checked by the caller.

        :param presented: whatever the client sent: any text up to 8 KiB.
        """
        ...


def scope_tokens(scopes: str | Iterable[str], what: str) -> tuple[str, ...]:
    """Return `scopes` as a tuple; a single string is one scope.

    :raises ConfigError: if one is no scope-token (RFC 6749, section 3.3).
    """
    if not isinstance(scopes, Iterable):
        raise ConfigError(f"{what} must be a list of scopes, not {scopes!r}")
    tokens = (scopes,) if isinstance(scopes, str) else tuple(scopes)
    for token in tokens:
        if not isinstance(token, str) or not token or not all("!" <= c <= "~" and c not in '"\\' for c in token):
            raise ConfigError(
                f"{what}: {token!r} is not a scope. A scope is printable ASCII without spaces, quotes or"
                " backslashes; write several as a list: ['orders:read', 'orders:write']"
            )
    return tokens


def moment(value: object, what: str) -> datetime | None:
    """Return `value` as a moment in UTC: a datetime with a time zone, its ISO 8601 form, seconds since 1970, or a date.

    A date means the end of that day in UTC.

    :raises ConfigError: if it is none of these, or has no time zone.
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = _parsed(value, what)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigError(f"{what}: {value.isoformat()} has no time zone; write {value.isoformat()}+00:00 for UTC")
        with contextlib.suppress(OverflowError):
            return value.astimezone(timezone.utc)
    elif isinstance(value, date):
        return datetime(value.year, value.month, value.day, 23, 59, 59, 999999, tzinfo=timezone.utc)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        with contextlib.suppress(OverflowError, ValueError, OSError):
            return datetime.fromtimestamp(value, timezone.utc)
    raise ConfigError(f"{what}: {value!r} is not a moment; write one such as 2031-01-31T12:00:00+00:00")


def _parsed(text: str, what: str) -> datetime | date:
    try:
        if len(text) == len("2031-01-31"):
            return date.fromisoformat(text)
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ConfigError(f"{what}: {text!r} is not a moment; write one such as 2031-01-31T12:00:00+00:00") from None
