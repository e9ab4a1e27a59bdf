"""Budgets: the amounts that clients draw on, such as the ten requests a minute of one endpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from sys import intern
from typing import TypeAlias
from urllib.parse import quote, unquote

from limits import RateLimitItem
from limits.limits import GRANULARITIES

from ...errors import ConfigError
from ..rates import MOST, rate_name
from ..settings import OnStoreError
from .algorithms import BANS, FIXED, LEASES, MOVING, SLIDING, Algorithm, TokenBucket

NAMESPACE = "LIMITER"
"""The first part of the storage keys of ``limits``."""

ALGORITHMS: dict[str, Algorithm] = {each.name: each for each in (FIXED, MOVING, SLIDING)}
"""By their names in ``RATELIMIT_STRATEGY``. A token bucket is an algorithm for each rate."""

MOST_MOVING = 100_000
"""The largest amount of a moving window, which keeps 8 bytes for each request of each client."""

MOST_UNITS = 2**52
"""The units that a token bucket may hold: floating point numbers, which Redis counts in, are exact up to there."""

BURST = "+"
"""Stands before the burst in the unit of a token bucket."""

CONCURRENT = "concurrent"
BAN = "ban"
"""Units in storage keys, beside those of rates."""


@dataclass(slots=True, eq=False, repr=False)
class Budget:
    """The amount that each client may take in one scope.

    :ivar scope: the name of the scope, with the key prefix of the app.
    :ivar amount: how much there is for each client.
    :ivar seconds: the window; of places, the lease; of a ban, its duration; of a token bucket, the time that fills it.
    :ivar unit: the end of its storage keys, which tells budgets of one scope apart.
    :ivar text: the budget in words.
    :ivar name: its name in the RateLimit fields.
    :ivar parameters: its parameters in ``RateLimit-Policy``.
    :ivar item: the rate, as ``limits`` has it; None for places and bans.
    :ivar shown: whether responses say where the client stands.
    :ivar partitioned: whether responses name a partition key.
    :ivar on_error: the treatment of a request while the store is unreachable.
    :ivar batch: the units that a worker may take at once; 0 for those of one request.
    :ivar policy_item: its item of ``RateLimit-Policy``.
    :ivar remaining_item: the beginning of its item of ``RateLimit``, where the rest is two numbers; else empty.
    :ivar longest_wait: the seconds after which there is room in any case: a sliding counter remembers two windows.
    """

    scope: str
    algorithm: Algorithm
    amount: int
    seconds: int
    unit: str
    text: str
    name: str
    parameters: str = ""
    item: RateLimitItem | None = None
    shown: bool = True
    partitioned: bool = False
    on_error: OnStoreError = "local"
    batch: int = 0
    policy_item: str = field(init=False)
    remaining_item: str = field(init=False)
    longest_wait: int = field(init=False)
    quoted_scope: str = field(init=False)
    head: str = field(init=False)
    tail: str = field(init=False)
    table_tail: str = field(init=False)
    line: str = field(init=False)

    def __post_init__(self) -> None:
        # equal texts are one object: an app has many endpoints, and few different rates
        self.unit, self.text = intern(self.unit), intern(self.text)
        self.name, self.parameters = intern(self.name), intern(self.parameters)
        self.policy_item = intern(f'"{self.name}";{self.parameters}')
        is_plain = self.shown and self.item is not None and not self.partitioned
        self.remaining_item = intern(f'"{self.name}";r=') if is_plain else ""
        self.longest_wait = math.ceil(self.seconds) * (2 if self.algorithm is SLIDING else 1)
        self.quoted_scope = quote(self.scope, safe=":.#")
        self.head = f"{NAMESPACE}/{self.quoted_scope}/"
        self.tail = intern(f"/{self.unit}")
        self.table_tail = intern(self.tail + self.algorithm.suffix)
        self.line = intern(f"{self.algorithm.code} {self.amount} {self.seconds}")

    def key_for(self, identity: str) -> str:
        """Return the storage key of a client, as ``limits`` has it: ``LIMITER/scope/identity/rate``."""
        return f"{self.head}{identity}{self.tail}"

    def __repr__(self) -> str:
        return f"<budget {self.text} of {self.scope}>"


def rate_budget(item: RateLimitItem, scope: str, algorithm: str = "fixed-window", burst: int | None = None) -> Budget:
    """Return the budget of a rate, such as ten requests a minute.

    :param burst: the requests that fit into a token bucket at once; by default the amount of the rate.
    """
    if algorithm == TokenBucket.name:
        return _bucket_budget(item, scope, burst or item.amount)
    seconds = item.get_expiry()
    return Budget(
        scope,
        ALGORITHMS[algorithm],
        item.amount,
        seconds,
        f"{item.amount}/{item.multiples}/{item.GRANULARITY.name}",
        str(item),
        rate_name(item),
        f"q={item.amount};w={seconds}",
        item,
    )


def _bucket_budget(item: RateLimitItem, scope: str, burst: int) -> Budget:
    seconds = item.get_expiry()
    fills = -(-burst * seconds // item.amount)
    more = burst != item.amount
    return Budget(
        scope,
        TokenBucket(item.amount, seconds, burst),
        burst,
        fills,
        f"{item.amount}/{item.multiples}/{item.GRANULARITY.name}{BURST}{burst}",
        f"{item} in bursts of {burst}" if more else str(item),
        rate_name(item, burst if more else None),
        f"q={burst};w={fills}",
        item,
    )


def concurrency_budget(amount: int, lease: int, scope: str) -> Budget:
    """Return the budget of places. A lease that is not given back ends after `lease` seconds."""
    unit, parameters = f"{amount}/{lease}/{CONCURRENT}", f'q={amount};qu="concurrent-requests"'
    return Budget(scope, LEASES, amount, lease, unit, f"{amount} at once", f"{amount}-at-once", parameters)


def ban_budget(lasting: int, scope: str) -> Budget:
    """Return the budget that is empty for `lasting` seconds once a client has been banned."""
    return Budget(scope, BANS, 1, lasting, f"1/{lasting}/{BAN}", "no ban", "ban", shown=False)


def check_amounts(items: Iterable[RateLimitItem], algorithm: str, burst: int | None = None) -> None:
    """Raise ConfigError if a moving window would have to keep too much, or a token bucket could not count exactly."""
    for item in items:
        if algorithm == TokenBucket.name:
            most = min(MOST, MOST_UNITS // TokenBucket(item.amount, item.get_expiry(), 1).unit)
            if (burst or item.amount) > most:
                raise ConfigError(
                    f"a token bucket of {item} holds at most {most} requests, not {burst or item.amount}: write a"
                    " smaller burst, or the rate of a shorter time"
                )
        elif algorithm == MOVING.name and item.amount > MOST_MOVING:
            raise ConfigError(
                f"a moving window of {item} would keep the time of each of its requests, and keeps {MOST_MOVING} at"
                " most: write algorithm='sliding-window-counter' or 'fixed-window'"
            )


Held: TypeAlias = tuple[Budget, str]
"""A budget, and a client for whom something is counted against the budget."""


def held_under(key: str, algorithm: Algorithm) -> Held | None:
    """Return the budget and the client of a storage key; None for other keys. An identity may have slashes in it."""
    parts = key.split("/")
    if len(parts) < 6 or parts[0] != NAMESPACE or not (parts[-3].isdecimal() and parts[-2].isdecimal()):
        return None
    scope, identity, amount, multiples, unit = unquote(parts[1]), "/".join(parts[2:-3]), *parts[-3:]
    if unit == CONCURRENT:
        return concurrency_budget(int(amount), int(multiples), scope), identity
    if unit == BAN:
        return ban_budget(int(multiples), scope), identity
    unit, is_bucket, burst = unit.partition(BURST)
    if unit not in GRANULARITIES or (is_bucket and not burst.isdecimal()):
        return None
    item = GRANULARITIES[unit](int(amount), int(multiples))
    if is_bucket:
        return rate_budget(item, scope, TokenBucket.name, int(burst)), identity
    return rate_budget(item, scope, algorithm.name), identity
