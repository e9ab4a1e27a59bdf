"""Orders of the values of an option, from weaker to stronger protection.

An order takes the old and the new value of an option, and returns the relation of the new value to the old one. Values
are plain: text, numbers, booleans, None, and lists or mappings of these (:func:`plain`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from typing import Any, Literal, TypeAlias

Comparison: TypeAlias = Literal["same", "weaker", "stronger", "different"]
"""The relation of a new value to an old one; ``different`` for values without an order."""

Order: TypeAlias = Callable[[Any, Any], Comparison]

HIDDEN = "…"
"""The mask of a secret."""
_SECRET = re.compile(
    r"secret|token|passw|credential|private|signing|signature|(^|_)(?<!partition_)key$|apikey$", re.IGNORECASE
)
"""Names of options that may hold a secret."""
_USER = re.compile(r"(?<=://)[^/\s?#]*@")
"""The user and password in a URL."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
REVERSED: Mapping[Comparison, Comparison] = {
    "same": "same",
    "weaker": "stronger",
    "stronger": "weaker",
    "different": "different",
}


def together(comparisons: Iterable[Comparison]) -> Comparison:
    """Return the comparison of a whole from the comparisons of its parts: opposite ones make it different."""
    found = set(comparisons) - {"same"}
    return "same" if not found else found.pop() if len(found) == 1 else "different"


# Making orders --------------------------------------------------------------------------------------------------------


def by(at_least: Callable[[Any, Any], bool]) -> Order:
    """Return the order in which a new value is at least as strong as an old one where `at_least(old, new)` says so.

    The order is partial if `at_least` is reflexive and transitive. Two values are the same if each is at least as
    strong as the other.
    """

    def compare(old: Any, new: Any) -> Comparison:
        if at_least(old, new):
            return "same" if at_least(new, old) else "stronger"
        return "weaker" if at_least(new, old) else "different"

    return compare


def reversed_order(order: Order) -> Order:
    """Return the opposite of `order`."""
    return lambda old, new: REVERSED[order(old, new)]


def none_weakest(order: Order) -> Order:
    """Return an order in which None is weaker than every other value."""
    return by(lambda old, new: old is None or (new is not None and order(old, new) in ("same", "stronger")))


def none_strongest(order: Order) -> Order:
    """Return an order in which None is stronger than every other value."""
    return by(lambda old, new: new is None or (old is not None and order(old, new) in ("same", "stronger")))


def ranked(*weakest_first: Any) -> Order:
    """Return the order of listed values, the weakest first. An unlisted value is different from all others."""

    def compare(old: Any, new: Any) -> Comparison:
        if old == new:
            return "same"
        if old not in weakest_first or new not in weakest_first:
            return "different"
        return "stronger" if weakest_first.index(new) > weakest_first.index(old) else "weaker"

    return compare


# Orders ---------------------------------------------------------------------------------------------------------------


def unordered(old: Any, new: Any) -> Comparison:
    """Compare values without an order: a change makes them different."""
    return "same" if old == new else "different"


def irrelevant(_old: Any, _new: Any) -> Comparison:
    """Compare values without effect on protection, such as the name of a logger: all are the same."""
    return "same"


def _is_smaller(old: Any, new: Any) -> bool:
    if _is_number(old) and _is_number(new):
        return bool(new <= old)
    return type(old) is type(new) and bool(old == new)  # True is not a number, although it equals 1


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


smaller_is_stronger: Order = by(_is_smaller)
"""Compare numbers, such as a largest size; None is the weakest. A callable is different from all."""
larger_is_stronger: Order = reversed_order(smaller_is_stronger)
"""Compare numbers, such as the duration of a ban; None is the strongest."""
true_is_stronger: Order = ranked(False, True)
false_is_stronger: Order = ranked(True, False)


def members(value: Any) -> frozenset[str]:
    """Return the members of a plain collection, as text. A single value is its only member; None has no members."""
    listed = () if value is None else value if isinstance(value, list) else [value]
    return frozenset(each if isinstance(each, str) else repr(each) for each in listed)


more_is_stronger: Order = by(lambda old, new: members(new) >= members(old))
"""Compare collections, such as required scopes: more members are stronger."""

fewer_is_stronger: Order = by(lambda old, new: "*" in members(old) or members(new) <= members(old))
"""Compare collections, such as accepted content types: fewer members are stronger. ``*`` stands for all."""

fewer_is_stronger_unless_empty: Order = by(
    lambda old, new: not members(old) or (bool(members(new)) and members(new) <= members(old))
)
"""Compare collections, of which the empty one restricts nothing, and is the weakest."""

fewer_is_stronger_if_listed: Order = by(
    lambda old, new: old == new or (old is not None and new is not None and members(new) <= members(old))
)
"""Compare collections. None, which stands for something else, is different from all of them."""


def _lies_in(network: Any, others: list[Any]) -> bool:
    if network in others:
        return True
    if not all(isinstance(each, str) for each in (network, *others)):
        return False
    try:
        inner, outers = ip_network(network), [ip_network(each) for each in others]
    except ValueError:  # a callable
        return False
    return any(inner.version == each.version and inner.subnet_of(each) for each in outers)  # type: ignore[arg-type]


def _lie_in(old: Any, new: Any) -> bool:
    outer = old if isinstance(old, list) else [old]
    return all(_lies_in(each, outer) for each in (new if isinstance(new, list) else [new]))


fewer_networks_are_stronger: Order = by(_lie_in)
"""Compare accepted networks, such as ``10.0.0.0/8``. A callable is different from every list that is not empty."""
fewer_networks_are_stronger_unless_empty: Order = by(lambda old, new: not old or (bool(new) and _lie_in(old, new)))
"""Compare accepted networks, of which the empty list restricts nothing, and is the weakest."""


# Plain values ---------------------------------------------------------------------------------------------------------


def plain(value: Any, name: str = "") -> Any:
    """Return `value` as JSON can hold it, the same in every process: a callable by its name, a set sorted.

    :param name: the name of the option. A name like that of a secret hides its text.
    """
    if isinstance(value, (str, bytes)) and _SECRET.search(name):
        return HIDDEN
    if isinstance(value, str):
        return _USER.sub(f"{HIDDEN}@", value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(each, str(key)) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(each, name) for each in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [plain(each, name) for each in value]
    if isinstance(value, re.Pattern):
        return f"pattern {value.pattern}"
    if hasattr(value, "as_plain"):
        return plain(value.as_plain(), name)
    if callable(value):
        named = value if hasattr(value, "__qualname__") else type(value)
        return f"callable {named.__module__}.{named.__qualname__}"
    return _ADDRESS.sub("", str(value))


def represented(name: str, value: object) -> str:
    """Return the repr of an option, with masks for all that may be a secret."""
    if _SECRET.search(name) and value is not None and not callable(value):
        return HIDDEN
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {represented(str(key), each)}' for key, each in value.items())}}}"
    if isinstance(value, functools.partial):
        return f"partial({represented(name, value.func)}, {HIDDEN})"
    return _USER.sub(f"{HIDDEN}@", repr(value))


def in_order(value: Any, order: Order) -> Any:
    """Return a plain value, with its members sorted if `order` ignores their sequence, as of a set."""
    if isinstance(value, list):
        members = sorted(value, key=repr)
        return members if order(value, members) == "same" else value
    return value
