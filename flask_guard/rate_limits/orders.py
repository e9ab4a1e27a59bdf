"""Orders of the options of limits: which of two rates is stricter, and which of two algorithms."""

from __future__ import annotations

from typing import Any, TypeAlias

from ..errors import ConfigError
from ..support.orders import Order, by
from .rates import parse_rates

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
