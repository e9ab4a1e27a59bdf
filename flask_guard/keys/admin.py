"""What tools that administer keys need: the store that can be changed, a key as plain values, what people type."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ..errors import ConfigError
from ..rate_limits.storage import parse_rates
from ..support.addresses import networks
from ..support.durations import units
from .model import ApiKey, KeyStore, moment, scope_tokens
from .sources import single_stores
from .stored import StoredKeys


def stored_keys(store: KeyStore | None) -> StoredKeys | None:
    """Return the keys in `store` that can be made and revoked: itself, or the first such store of a chain."""
    return next((each for each in single_stores(store) if isinstance(each, StoredKeys)), None)


def describe(key: ApiKey) -> dict[str, Any]:
    """Return what is known of `key` as values that JSON can hold: moments in ISO 8601, scopes sorted. No secret."""
    return {
        "id": key.id,
        "name": key.name,
        "status": key.status,
        "scopes": sorted(key.scopes),
        "created": _iso(key.created),
        "not_before": _iso(key.not_before),
        "expires": _iso(key.expires),
        "last_used": _iso(key.last_used),
        "revoked": _iso(key.revoked),
        "rate": key.rate,
        "addresses": [str(each) for each in key.addresses],
        "claims": dict(key.claims),
    }


def parse_when(text: str) -> datetime | None:
    """Return the moment that `text` means: one in ISO 8601, a date, or a span from now with its units.

    :raises ConfigError: if it means none.
    """
    span = units(text)
    try:
        return datetime.now(timezone.utc) + span if span is not None else moment(text, "moment")
    except OverflowError:
        raise ConfigError(f"{text!r} is too far away") from None
    except ConfigError as error:
        raise ConfigError(f"{str(error).removeprefix('moment: ')}, or a span such as 90d or 12h") from None


def parse_scope(text: str) -> str:
    """Return `text` if it is a scope.

    :raises ConfigError: if it is none.
    """
    try:
        return scope_tokens(text, "scope")[0]
    except ConfigError:
        rule = "a scope is printable ASCII without spaces, quotes or backslashes; repeat --scope for several"
        raise ConfigError(f"{text!r}: {rule}") from None


def parse_rate(text: str) -> str:
    """Return `text` if it is a rate.

    :raises ConfigError: if it is none.
    """
    parse_rates(text, "a rate")
    return text


def parse_address(text: str) -> str:
    """Return `text` if it is an address or a network.

    :raises ConfigError: if it is neither.
    """
    return str(networks(text, "a network")[0])


def parse_claim(text: str) -> tuple[str, str]:
    """Return the name and the value in ``NAME=VALUE``.

    :raises ConfigError: if it is not that.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"{text!r} is not a claim; write NAME=VALUE")
    return name, value


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at is not None else None
