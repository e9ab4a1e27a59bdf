"""Rates such as ``10/minute``, parsed once."""

from __future__ import annotations

import re
from urllib.parse import quote

from limits import RateLimitItem, parse_many

from ..errors import ConfigError, printable

MOST = 10**15 - 1
"""The largest Integer that a header field can carry (RFC 9651, section 3.3.1)."""

_NUMBER = re.compile(r"\d+")


class Rate(RateLimitItem):
    """One rate in one scope, with its storage key made but for the client's identity.

    ``shown`` says whether responses tell where the client stands. The keys are those that ``limits`` makes for
    ``key_for(scope, identity)``.
    """

    __slots__ = ["field", "head", "name", "seconds", "shown", "tail", "text"]

    def __init__(self, item: RateLimitItem, scope: str, *, name: str = "", shown: bool = True) -> None:
        super().__init__(item.amount, item.multiples, item.namespace)
        granularity = item.GRANULARITY.name
        self.shown: bool = shown
        self.text: str = str(item)
        self.seconds: int = item.get_expiry()
        self.head: str = f"{item.namespace}/{quote(scope, safe=':.#')}/"
        self.tail: str = f"/{item.amount}/{item.multiples}/{granularity}"
        self.name: str = name or rate_name(item)
        self.field: str = f'"{self.name}";q={item.amount};w={self.seconds}'

    def get_expiry(self) -> int:
        """Return the window in seconds."""
        return self.seconds

    def key_for(self, *identifiers: object) -> str:
        """Return the storage key of the client whose identity is the one identifier."""
        return f"{self.head}{identifiers[0]}{self.tail}"


def rate_name(item: RateLimitItem) -> str:
    """Return what the RateLimit fields call `item`, such as ``10-per-minute``."""
    unit = item.GRANULARITY.name
    return f"{item.amount}-per-{unit if item.multiples == 1 else f'{item.multiples}-{unit}s'}"


def parse_rates(text: str, what: str = "limit()") -> tuple[RateLimitItem, ...]:
    """Return the rates in `text`, such as ``"10/minute; 100/hour"``.

    :raises ConfigError: if it is no list of rates, or one of them lets nobody through.
    """
    example = "write a rate such as '10/minute', '100 per 5 minutes' or '2/second; 1000/day'"
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{what}: {text!r} is not a rate; {example}")
    try:
        items = tuple(parse_many(text))
    except ValueError:
        raise ConfigError(f"{what}: {printable(text)!r} is not a rate; {example}") from None
    if any(int(number) == 0 for number in _NUMBER.findall(text)):
        raise ConfigError(f"{what}: {text!r} has a zero, which would let nobody through; {example}")
    if any(item.amount > MOST or item.get_expiry() > MOST for item in items):
        raise ConfigError(f"{what}: {printable(text)!r} has a number beyond {MOST}; {example}")
    return items
