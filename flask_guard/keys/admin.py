"""Tools for the administration of keys: the store that can be changed, keys as plain values, and typed options.

The functions that read a typed option raise ConfigError for text of any other form.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone
from typing import Any

from ..errors import ConfigError
from ..rate_limits.rates import parse_rates
from ..support.addresses import networks
from ..support.durations import parse_span, units
from .model import ApiKey, KeyStore, scope_tokens, timestamp
from .sources import single_stores
from .stored import LONGEST_OVERLAP, StoredKeys


def stored_keys(store: KeyStore | None) -> StoredKeys | None:
    """Return the store in which keys can be made and revoked: `store`, or the first such store of a chain."""
    return next((each for each in single_stores(store) if isinstance(each, StoredKeys)), None)


def describe(key: ApiKey) -> dict[str, Any]:
    """Return the facts about `key`, without a secret, as JSON can hold them: ISO 8601 timestamps, sorted scopes."""
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
        "retiring": [_iso(each) for each in key.retiring],
        "rate": key.rate,
        "addresses": [str(each) for each in key.addresses],
        "claims": dict(key.claims),
    }


def parse_end(text: str) -> datetime | None:
    """Return a typed timestamp in the future. A date means its end in UTC, a duration is from now."""
    end = _parse_when(text, time.max)
    if end is not None and end <= datetime.now(timezone.utc):
        raise ConfigError(f"{text!r} is in the past: such a key never works. Write a later timestamp")
    return end


def parse_start(text: str) -> datetime | None:
    """Return a typed timestamp. A date means its beginning in UTC, a duration is from now."""
    return _parse_when(text, time.min)


def _parse_when(text: str, of_day: time) -> datetime | None:
    span = units(text)
    try:
        return datetime.now(timezone.utc) + span if span is not None else timestamp(text, "timestamp", of_day=of_day)
    except OverflowError:
        raise ConfigError(f"{text!r} is too far away; write a nearer timestamp") from None
    except ConfigError as error:
        raise ConfigError(f"{str(error).removeprefix('timestamp: ')}, or a duration such as 90d or 12h") from None


def parse_overlap(text: str) -> timedelta:
    span = parse_span(text)
    if span > LONGEST_OVERLAP:
        raise ConfigError(f"{text!r} is too long: an overlap has at most {LONGEST_OVERLAP.days} days")
    return span


def parse_scope(text: str) -> str:
    try:
        return scope_tokens(text, "scope")[0]
    except ConfigError:
        rule = "a scope is printable ASCII without spaces, quotes or backslashes; repeat --scope for several"
        raise ConfigError(f"{text!r}: {rule}") from None


def parse_rate(text: str) -> str:
    parse_rates(text, "a rate")
    return text


def parse_address(text: str) -> str:
    return str(networks(text, "a network")[0])


def parse_claim(text: str) -> tuple[str, str]:
    """Return the name and the value in ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"{text!r} is not a claim; write NAME=VALUE")
    return name, value


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at is not None else None
