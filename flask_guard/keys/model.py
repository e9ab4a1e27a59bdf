"""What an API key is once its secret has been verified, and what looks one up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from ..errors import ConfigError, GuardError
from ..rate_limits.storage import parse_rates
from ..support.addresses import Network, lies_in, networks

Moment: TypeAlias = "datetime | date | str | float | None"
Status: TypeAlias = Literal["active", "expired", "revoked", "not yet valid"]


class KeyStoreUnavailable(GuardError):
    """Keys cannot be looked up just now. The client gets a 503, and is not let in."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A verified API key. It never holds the secret.

    :param id: what names the key in logs, limits and reports.
    :param name: whose it is, for people.
    :param scopes: what it may do; see ``require_api_key(scopes=…)``.
    :param expires: when it stops working; None for never. Moments need a time zone.
    :param not_before: when it starts working.
    :param claims: what else the application wants to know about it.
    :param rate: a rate of its own, for ``limit(lambda: current_api_key.rate, by="api_key")``.
    :param addresses: the networks that it may be used from; empty for all.
    :param created: when it was made.
    :param last_used: when it was last used, to about a minute.
    :param revoked: when it was revoked.
    :raises ConfigError: for an empty id, a malformed scope, rate or network, or a moment without a time zone.
    """

    id: str
    name: str = ""
    scopes: frozenset[str] = frozenset()
    expires: datetime | None = None
    not_before: datetime | None = None
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    rate: str | None = None
    addresses: tuple[Network, ...] = ()
    created: datetime | None = None
    last_used: datetime | None = field(default=None, compare=False)
    revoked: datetime | None = None
    unrestricted: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id or not self.id.isprintable():
            raise ConfigError(f"a key id must be a printable string, not {self.id!r}")
        if not isinstance(self.name, str):
            raise ConfigError(f"the name of key {self.id!r} must be a string, not a {type(self.name).__name__}")
        if not isinstance(self.claims, Mapping):
            raise ConfigError(f"the claims of key {self.id!r} must be a mapping, not a {type(self.claims).__name__}")
        if self.rate is not None:
            parse_rates(self.rate, f"rate of key {self.id!r}")
        set_to = object.__setattr__
        set_to(self, "scopes", frozenset(scope_tokens(self.scopes, "scopes")))
        set_to(self, "claims", MappingProxyType(dict(self.claims)))
        set_to(self, "addresses", networks(self.addresses, f"addresses of key {self.id!r}"))
        for name in ("expires", "not_before", "created", "last_used", "revoked"):
            set_to(self, name, moment(getattr(self, name), f"{name} of key {self.id!r}"))
        limits = (self.expires, self.not_before, self.revoked)
        set_to(self, "unrestricted", all(each is None for each in limits) and not self.addresses)

    @property
    def expired(self) -> bool:
        """Return whether the key's time is over."""
        return self.expires is not None and datetime.now(timezone.utc) >= self.expires

    @property
    def status(self) -> Status:
        """Return whether the key works now, or why not."""
        if self.revoked is not None:
            return "revoked"
        if self.expired:
            return "expired"
        if self.not_before is not None and datetime.now(timezone.utc) < self.not_before:
            return "not yet valid"
        return "active"

    def allows(self, address: str | None) -> bool:
        """Return whether the key may be used from `address`."""
        return not self.addresses or lies_in(address, self.addresses)


@runtime_checkable
class KeyStore(Protocol):
    """Looks keys up. Called by several threads at once."""

    def lookup(self, presented: str) -> ApiKey | None:
        """Return the key whose secret is `presented`, or None. Its restrictions are checked by the caller.

        :param presented: whatever the client sent: any text up to 8 KiB.
        :raises KeyStoreUnavailable: if it cannot be told.
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
    if isinstance(value, str):
        value = _parsed(value, what)
    try:
        if value is None:
            return None
        if isinstance(value, datetime):
            if value.tzinfo is not None:
                return value.astimezone(timezone.utc)
            raise ConfigError(f"{what}: {value.isoformat()} has no time zone; write {value.isoformat()}+00:00 for UTC")
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, 23, 59, 59, 999999, tzinfo=timezone.utc)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return datetime.fromtimestamp(value, timezone.utc)
    except (OverflowError, OSError):
        pass
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
    raise ConfigError(f"{what}: {value!r} is not a moment; write one such as 2031-01-31T12:00:00+00:00")


def _parsed(text: str, what: str) -> datetime | date:
    try:
        if len(text) == len("2031-01-31"):
            return date.fromisoformat(text)
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ConfigError(f"{what}: {text!r} is not a moment; write one such as 2031-01-31T12:00:00+00:00") from None
