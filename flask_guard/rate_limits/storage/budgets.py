"""Budgets: what a client may take from, such as the ten requests a minute of one endpoint."""

from __future__ import annotations

import re
from typing import TypeAlias
from urllib.parse import quote, unquote

from limits import RateLimitItem, parse_many
from limits.limits import GRANULARITIES

from ...errors import ConfigError
from ...support.text import printable
from ..concern import OnStoreError
from .algorithms import BANS, FIXED, LEASES, MOVING, SLIDING, Algorithm

MOST = 10**15 - 1
"""The largest Integer that a header field can carry (RFC 9651, section 3.3.1)."""

NAMESPACE = "LIMITER"
"""What the storage keys of ``limits`` begin with."""

ALGORITHMS: dict[str, Algorithm] = {
    "fixed-window": FIXED,
    "moving-window": MOVING,
    "sliding-window-counter": SLIDING,
}
"""By the names that ``RATELIMIT_STRATEGY`` has for them."""

CONCURRENT = "concurrent"
BAN = "ban"
"""What stands in a storage key where a rate has its unit."""

_NUMBER = re.compile(r"\d+")


class Budget:
    """What each client may take in one scope.

    The storage keys are those that ``limits`` makes of a rate, a scope and an identity:
    ``LIMITER/scope/identity/amount/multiples/unit``.

    :ivar amount: how much there is for each client.
    :ivar seconds: the window; for what goes on at once, how long a lease lasts; for a ban, how long that lasts.
    :ivar longest_wait: the seconds after which there is room in any case: a sliding counter remembers two windows.
    :ivar item: the rate as ``limits`` has it; None for what is none.
    :ivar on_error: what becomes of a request when the store cannot be asked.
    :ivar shown: whether responses tell where the client stands.
    :ivar name: what the RateLimit fields call it.
    :ivar field: its item of ``RateLimit-Policy``.
    """

    __slots__ = (
        "algorithm",
        "amount",
        "field",
        "head",
        "item",
        "longest_wait",
        "name",
        "on_error",
        "partitioned",
        "scope",
        "seconds",
        "shown",
        "table_tail",
        "tail",
        "text",
    )

    def __init__(
        self,
        scope: str,
        algorithm: Algorithm,
        amount: int,
        seconds: int,
        unit: str,
        *,
        name: str,
        text: str,
        field: str,
        item: RateLimitItem | None = None,
        shown: bool = True,
        partitioned: bool = False,
        on_error: OnStoreError = "local",
    ) -> None:
        self.algorithm: Algorithm = algorithm
        self.amount: int = amount
        self.seconds: int = seconds
        self.longest_wait: int = 2 * seconds if algorithm is SLIDING else seconds
        self.item: RateLimitItem | None = item
        self.on_error: OnStoreError = on_error
        self.shown: bool = shown
        self.partitioned: bool = partitioned
        self.name: str = name
        self.text: str = text
        self.field: str = field
        self.scope: str = quote(scope, safe=":.#")
        self.head: str = f"{NAMESPACE}/{self.scope}/"
        self.tail: str = f"/{unit}"
        self.table_tail: str = self.tail + algorithm.suffix

    def key_for(self, identity: str) -> str:
        """Return the storage key of a client."""
        return f"{self.head}{identity}{self.tail}"

    def __repr__(self) -> str:
        return f"<budget {self.text} of {self.scope}>"


def rate_budget(
    item: RateLimitItem,
    scope: str,
    algorithm: str = "fixed-window",
    *,
    name: str = "",
    shown: bool = True,
    partitioned: bool = False,
    on_error: OnStoreError = "local",
) -> Budget:
    """Return the budget of a rate, such as ten requests a minute."""
    seconds, name = item.get_expiry(), name or rate_name(item)
    return Budget(
        scope,
        ALGORITHMS[algorithm],
        item.amount,
        seconds,
        f"{item.amount}/{item.multiples}/{item.GRANULARITY.name}",
        name=name,
        text=str(item),
        field=f'"{name}";q={item.amount};w={seconds}',
        item=item,
        shown=shown,
        partitioned=partitioned,
        on_error=on_error,
    )


def concurrency_budget(
    amount: int,
    lease: int,
    scope: str,
    *,
    name: str = "",
    shown: bool = True,
    partitioned: bool = False,
    on_error: OnStoreError = "local",
) -> Budget:
    """Return the budget of what may go on at once. A lease that nobody gives back ends after `lease` seconds."""
    name = name or f"{amount}-at-once"
    return Budget(
        scope,
        LEASES,
        amount,
        lease,
        f"{amount}/{lease}/{CONCURRENT}",
        name=name,
        text=f"{amount} at once",
        field=f'"{name}";q={amount};qu="concurrent-requests"',
        shown=shown,
        partitioned=partitioned,
        on_error=on_error,
    )


def ban_budget(lasting: int, scope: str, *, on_error: OnStoreError = "local") -> Budget:
    """Return the budget that is empty for `lasting` seconds once a client has been banned."""
    return Budget(
        scope,
        BANS,
        1,
        lasting,
        f"1/{lasting}/{BAN}",
        name="ban",
        text="no ban",
        field="",
        shown=False,
        on_error=on_error,
    )


Held: TypeAlias = tuple[Budget, str]
"""A budget and a client for whom something is counted against it."""


def held_under(key: str, algorithm: Algorithm) -> Held | None:
    """Return what a storage key stands for; None if it is no budget's. An identity may have slashes in it."""
    parts = key.split("/")
    if len(parts) < 6 or parts[0] != NAMESPACE or not (parts[-3].isdecimal() and parts[-2].isdecimal()):
        return None
    scope, identity, amount, multiples, unit = unquote(parts[1]), "/".join(parts[2:-3]), *parts[-3:]
    if unit == CONCURRENT:
        return concurrency_budget(int(amount), int(multiples), scope), identity
    if unit == BAN:
        return ban_budget(int(multiples), scope), identity
    if unit not in GRANULARITIES:
        return None
    item = GRANULARITIES[unit](int(amount), int(multiples))
    name = next(name for name, each in ALGORITHMS.items() if each is algorithm)
    return rate_budget(item, scope, name), identity


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
