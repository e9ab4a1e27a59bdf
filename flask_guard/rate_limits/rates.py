"""Rates as people write them, such as ``"2/second; 1000/day"``: parsed once, where they are written, and compared."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from limits import RateLimitItem, parse_many

from ..errors import ConfigError
from ..support.orders import Order, by
from ..support.text import printable

MOST = 10**15 - 1
"""The largest integer that a header field can carry (RFC 9651, section 3.3.1)."""

LONGEST = 500
"""Characters of a text of rates."""

EXAMPLE = "write a rate such as '10/minute', '100 per 5 minutes' or '2/second; 1000/day'"
_NUMBER = re.compile(r"\d+")


class Rates(str):
    """The text of one or more rates, parsed.

    :ivar items: the rates, as ``limits`` has them.
    """

    __slots__ = ("items",)

    items: tuple[RateLimitItem, ...]


def parse_rates(text: object, what: str = "limit()") -> Rates:
    """Return `text`, such as ``"10/minute; 100/hour"``, with the rates in it.

    :raises ConfigError: if `text` is not a list of rates, or one of them lets nobody through.
    """
    if isinstance(text, Rates):
        return text
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{what}: {text!r} is not a rate; {EXAMPLE}")
    plain = " ".join(text.split())  # the expression of limits takes cubic time for blanks
    if len(plain) > LONGEST:
        raise ConfigError(f"{what}: a rate of {len(plain)} characters is too long; {EXAMPLE}")
    rates = Rates(text)
    try:
        rates.items = tuple(parse_many(plain))
    except ValueError:
        raise ConfigError(f"{what}: {printable(text)!r} is not a rate; {EXAMPLE}") from None
    if any(int(number) == 0 for number in _NUMBER.findall(plain)):
        raise ConfigError(f"{what}: {text!r} has a zero, which would let nobody through; {EXAMPLE}")
    if any(item.amount > MOST or item.get_expiry() > MOST for item in rates.items):
        raise ConfigError(f"{what}: {printable(text)!r} has a number beyond {MOST}; {EXAMPLE}")
    return rates


def rate_name(item: RateLimitItem, burst: int | None = None) -> str:
    """Return the name of `item` in the RateLimit fields, such as ``10-per-minute`` and ``10-per-second-burst-50``."""
    unit = item.GRANULARITY.name
    name = f"{item.amount}-per-{unit if item.multiples == 1 else f'{item.multiples}-{unit}s'}"
    return f"{name}-burst-{burst}" if burst else name


# Which of two rates is stricter, and which of two algorithms ----------------------------------------------------------

Rate: TypeAlias = "tuple[int, int] | str"
"""Requests, and the seconds in which they are let through; or the name of a callable that tells a rate."""


def _rates(value: Any) -> list[Rate]:
    """Return the rates of a plain value: text, a list of texts, or None."""
    listed = value if isinstance(value, list) else [value] if value else []
    return [rate for each in listed for rate in _parsed(str(each))]


def _parsed(text: str) -> list[Rate]:
    try:
        return [(item.amount, item.get_expiry()) for item in parse_rates(text).items]
    except ConfigError:
        return [text]


def _is_within(rate: Rate, other: Rate) -> bool:
    """Return whether a rate lets through no more than another one, neither at once nor on average."""
    if isinstance(rate, str) or isinstance(other, str):
        return rate == other
    return rate[0] <= other[0] and rate[0] * other[1] <= other[0] * rate[1]


def _keep_within(old: Any, new: Any) -> bool:
    kept = _rates(new)
    return all(any(_is_within(rate, each) for rate in kept) for each in _rates(old))


lower_is_stronger: Order = by(_keep_within)
"""Compare rates, which hold together: ``5/minute`` is stronger than ``10/minute``, and ``5/minute; 50/day`` than that.
``60/minute`` and ``1000/hour`` are different: one lets through more on average, the other more at once."""

exact_is_stronger: Order = by(lambda old, new: old == new or (old == "fixed-window" and new is not None))
"""Compare algorithms: a fixed window lets through up to twice its rate, around the end of a window."""
