"""A verified API key, and the protocol of the stores that look keys up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timezone
from time import time as seconds_now
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from ..errors import ConfigError, GuardError
from ..rate_limits.rates import parse_rates
from ..support.addresses import Network, lies_in, networks
from ..support.options import is_number

Timestamp: TypeAlias = "datetime | date | str | float | None"
Status: TypeAlias = Literal["active", "expired", "revoked", "not yet valid"]


class KeyStoreUnavailable(GuardError):
    """Keys cannot be looked up at the moment. The client gets a 503, and is not let in.

    :ivar is_logged: whether the failure is in the log already: a store may be unreachable for many requests.
    """

    is_logged: bool = False


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A verified API key, without its secret.

    :param id: the name of the key in logs, limits and reports.
    :param name: the owner of the key, for people.
    :param scopes: the scopes that ``require_api_key(scopes=…)`` asks for.
    :param expires: the end of its validity; None for no end. Timestamps need a time zone.
    :param not_before: the start of its validity.
    :param claims: other facts about the key, for the application.
    :param rate: the rate of this key, for ``limit(lambda: current_api_key.rate, by="api_key")``.
    :param addresses: the networks from which the key may be used; empty for all.
    :param created: the timestamp of its creation.
    :param last_used: the timestamp of its last use, to about a minute.
    :param revoked: the timestamp of its revocation.
    :param retiring: the ends of earlier secrets that a rotation has replaced and that are still valid.
    :ivar unrestricted: whether it is valid at all times and from everywhere, so that no request has to check that.
    :raises ConfigError: for an empty id, a malformed scope, rate or network, and a timestamp without a time zone.
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
    retiring: tuple[datetime, ...] = field(default=(), compare=False)
    unrestricted: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id or not self.id.isprintable():
            raise ConfigError(f"a key id must be a printable string, not {self.id!r}")
        of = f"of key {self.id!r}"
        if not isinstance(self.name, str):
            raise ConfigError(f"the name {of} must be a string, not a {type(self.name).__name__}")
        if not isinstance(self.claims, Mapping):
            raise ConfigError(f"the claims {of} must be a mapping, not a {type(self.claims).__name__}")
        if self.rate is not None:
            parse_rates(self.rate, f"rate {of}")
        limits = (self.expires, self.not_before, self.revoked)
        is_plain = type(self) is ApiKey  # a subclass may decide in its own way
        values: dict[str, object] = {
            "scopes": frozenset(scope_tokens(self.scopes, f"scopes {of}")),
            "claims": MappingProxyType(dict(self.claims)),
            "addresses": networks(self.addresses, f"addresses {of}"),
            "not_before": timestamp(self.not_before, f"not_before {of}", of_day=time.min),
            "retiring": tuple(timestamp(each, f"retiring {of}") for each in self.retiring),
            "unrestricted": is_plain and all(each is None for each in limits) and not self.addresses,
        }
        for name in ("expires", "created", "last_used", "revoked"):
            values[name] = timestamp(getattr(self, name), f"{name} {of}")
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def expired(self) -> bool:
        """Return whether the key has expired."""
        return self.expires is not None and utc_now() >= self.expires

    @property
    def status(self) -> Status:
        """Return ``active`` if the key is valid now, or the reason why it is not."""
        if self.revoked is not None:
            return "revoked"
        if self.expired:
            return "expired"
        if self.not_before is not None and utc_now() < self.not_before:
            return "not yet valid"
        return "active"

    def allows(self, address: str | None) -> bool:
        """Return whether the key may be used from `address`."""
        return not self.addresses or lies_in(address, self.addresses)


def utc_now() -> datetime:
    return datetime.fromtimestamp(seconds_now(), timezone.utc)


@runtime_checkable
class KeyStore(Protocol):
    """Looks keys up. Called by several threads at once."""

    def lookup(self, presented: str) -> ApiKey | None:
        """Return the key whose secret is `presented`, or None. The caller checks the restrictions of the key.

        :param presented: the text that the client sent: any text up to 8 KiB.
        :raises KeyStoreUnavailable: if the key cannot be looked up.
        """
        ...


def scope_tokens(scopes: str | Iterable[str], what: str) -> tuple[str, ...]:
    """Check for scopes; a single string is one scope. Return a tuple.

    :raises ConfigError: if one is not a scope-token (RFC 6749, section 3.3).
    """
    if not isinstance(scopes, Iterable):
        raise ConfigError(f"{what} must be a list of scopes, not {scopes!r}")
    tokens = (scopes,) if isinstance(scopes, str) else tuple(scopes)
    for token in tokens:
        if not isinstance(token, str) or not token or not all("!" <= c <= "~" and c not in '",\\' for c in token):
            raise ConfigError(
                f"{what}: {token!r} is not a scope. A scope is printable ASCII without spaces, commas, quotes or"
                " backslashes; write several as a list: ['orders:read', 'orders:write']"
            )
    return tokens


def timestamp(value: object, what: str, *, of_day: time = time.max) -> datetime | None:
    """Return a timestamp in UTC, or None for None.

    :param value: a datetime with a time zone, its ISO 8601 form, seconds since 1970, or a date.
    :param of_day: the time of day in UTC for a date: by default the end of the day.
    :raises ConfigError: for any other `value`, and for a datetime without a time zone.
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
            return datetime.combine(value, of_day, timezone.utc)
        if is_number(value) and math.isfinite(value):
            return datetime.fromtimestamp(value, timezone.utc)
    except (OverflowError, OSError):
        pass
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
    raise _not_a_timestamp(value, what)


def _parsed(text: str, what: str) -> datetime | date:
    try:
        if len(text) == len("2031-01-31"):
            return date.fromisoformat(text)
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise _not_a_timestamp(text, what) from None


def _not_a_timestamp(value: object, what: str) -> ConfigError:
    return ConfigError(f"{what}: {value!r} is not a timestamp; write one such as 2031-01-31T12:00:00+00:00")
