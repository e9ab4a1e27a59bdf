"""Whether an option became weaker or stronger: partial orders on values as JSON holds them.

An order takes the old and the new value of an option, and returns the relation of the new one to the old. Values are
plain: text, numbers, booleans, None, and lists or mappings of these (:func:`plain`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

Comparison: TypeAlias = Literal["same", "weaker", "stronger", "different"]
"""The relation of a new value to an old one. Different ones cannot be ordered."""

Order: TypeAlias = Callable[[Any, Any], Comparison]

_REVERSED: Mapping[Comparison, Comparison] = {
    "same": "same",
    "weaker": "stronger",
    "stronger": "weaker",
    "different": "different",
}


def together(comparisons: Iterable[Comparison]) -> Comparison:
    """Return the comparison of a whole by those of its parts: parts in both directions make it different."""
    found = set(comparisons) - {"same"}
    return "same" if not found else found.pop() if len(found) == 1 else "different"


def reversed_order(order: Order) -> Order:
    """Return the order in which stronger is weaker."""
    return lambda old, new: _REVERSED[order(old, new)]


def unordered(old: Any, new: Any) -> Comparison:
    """Compare values of which none is weaker than another."""
    return "same" if old == new else "different"


def irrelevant(_old: Any, _new: Any) -> Comparison:
    """Compare values that do not matter for protection, such as the name of a logger."""
    return "same"


def ranked(*weakest_first: Any) -> Order:
    """Return the order of listed values, the weakest first. One that is not listed is different from all."""

    def compare(old: Any, new: Any) -> Comparison:
        if old == new:
            return "same"
        if old not in weakest_first or new not in weakest_first:
            return "different"
        return "stronger" if weakest_first.index(new) > weakest_first.index(old) else "weaker"

    return compare


def smaller_is_stronger(old: Any, new: Any) -> Comparison:
    """Compare numbers, such as a largest size; None is no bound, and the weakest."""
    first, second = (float("inf") if value is None else value for value in (old, new))
    return "same" if first == second else "stronger" if second < first else "weaker"


larger_is_stronger: Order = reversed_order(smaller_is_stronger)
"""Compare numbers, such as a shortest length. None is the strongest."""

true_is_stronger: Order = ranked(False, True)
false_is_stronger: Order = ranked(True, False)


def more_is_stronger(old: Any, new: Any) -> Comparison:
    """Compare collections, such as required scopes: one that has all of the other's members and more is stronger."""
    first, second = _members(old), _members(new)
    if first == second:
        return "same"
    return "stronger" if second > first else "weaker" if second < first else "different"


fewer_is_stronger: Order = reversed_order(more_is_stronger)
"""Compare collections, such as accepted content types."""


def fewer_is_stronger_unless_empty(old: Any, new: Any) -> Comparison:
    """Compare collections in which no member means that there is no restriction, which is the weakest."""
    first, second = _members(old), _members(new)
    if bool(first) != bool(second):
        return "stronger" if second else "weaker"
    return fewer_is_stronger(old, new)


def _members(value: Any) -> frozenset[str]:
    listed = () if value is None else value if isinstance(value, list) else [value]
    return frozenset(map(repr, listed))


def plain(value: Any) -> Any:
    """Return `value` as JSON can hold it, the same in every process: a callable is its name, a set is sorted."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(each) for each in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, re.Pattern):
        return f"pattern {value.pattern}"
    if callable(value):
        named = value if hasattr(value, "__qualname__") else type(value)
        return f"callable {named.__module__}.{named.__qualname__}"
    return str(value)
