"""``JWT(…)`` in reports and lock files: a description without keys, and the order from weaker to stronger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..support.orders import (
    Comparison,
    Order,
    fewer_is_stronger_if_listed,
    fewer_is_stronger_unless_empty,
    in_order,
    irrelevant,
    more_is_stronger,
    none_strongest,
    none_weakest,
    plain,
    smaller_is_stronger,
    together,
    unordered,
)

ORDERS: Mapping[str, Order] = {
    "keys": unordered,
    "issuer": fewer_is_stronger_unless_empty,
    "audience": fewer_is_stronger_if_listed,  # None accepts only tokens without an audience
    "algorithms": fewer_is_stronger_if_listed,
    "leeway": smaller_is_stronger,
    "required": more_is_stronger,
    "principal": unordered,
    "typ": none_weakest(unordered),
    "max_age": irrelevant,
}


def described(keys: object, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a ``JWT(…)`` as values that JSON can hold, with the source of the keys in their place."""
    source = plain(keys) if callable(keys) else "given"
    given = {name: in_order(plain(value), ORDERS[name]) for name, value in options.items() if value is not None}
    return {"keys": source, **given}


def _compare(old: Any, new: Any) -> Comparison:
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return unordered(old, new)
    return together(ORDERS.get(name, unordered)(old.get(name), new.get(name)) for name in sorted({*old, *new}))


token_order: Order = none_strongest(_compare)
"""Compares callables that check tokens. None is the strongest: no token is accepted."""
