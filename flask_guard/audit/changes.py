"""Changes between two locks, in words, each with a verdict such as weaker or stronger.

Each option of a policy declares a partial order, from weaker to stronger. A change without an order is different.
Several policies of one kind are all in force. Together they are at least as strong as the old ones if each old one is
matched by a new one that is at least as strong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ..concerns import built_in_policies
from ..core.facts import Inventory
from ..core.policy import Policy
from ..support.orders import REVERSED, Comparison
from .findings import open_entries
from .lock import APP, FOREIGN, SWITCHED_OFF, Line, Lock, make_lock, named

Kind: TypeAlias = Literal["weaker", "different", "unguarded", "stronger", "new", "gone"]
"""The sort of a change. An unguarded endpoint is new."""

KINDS: tuple[Kind, ...] = ("weaker", "different", "unguarded", "stronger", "new", "gone")
"""The worst first."""
WORSE: frozenset[Kind] = frozenset(("weaker", "different", "unguarded"))

_OPENING = frozenset((SWITCHED_OFF, f"{FOREIGN} cors"))

Kinds: TypeAlias = Mapping[str, type[Policy]]
"""The classes of the policies that an app may have, by name."""


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between two locks, at an endpoint or ``app``, in words."""

    kind: Kind
    where: str
    message: str


def changes_since(old: Lock, inventory: Inventory) -> list[Change]:
    """Return the changes from a lock to an app as it is now, the worst first."""
    opened = {id(entry) for entry in open_entries(inventory)}
    unguarded = {name for name, entry in named(inventory) if id(entry) in opened}
    return changes(old, make_lock(inventory), kinds_of(inventory), unguarded)


def kinds_of(inventory: Inventory) -> Kinds:
    """Return the classes of the built-in policies and of those that an app has."""
    kinds: dict[str, type[Policy]] = {each.name: type(each) for each in built_in_policies()}
    kinds.update({each.policy.name: type(each.policy) for entry in inventory.entries for each in entry.plan or ()})
    return kinds


def changes(old: Lock, new: Lock, kinds: Kinds, unguarded: Collection[str] = ()) -> list[Change]:
    """Return the changes from one lock to another, the worst first.

    :param unguarded: the endpoints of the new lock that are open, and that write or have no policy at all.
    """
    found = list(_compare_blocks(APP, (old, old.app), (new, new.app), kinds))
    for name in sorted({*old.blocks, *new.blocks}):
        if name not in old.blocks:
            found.append(_added(name, new.blocks[name], name in unguarded))
        elif name not in new.blocks:
            found.append(Change("gone", name, f"{name} is gone"))
        else:
            found += _compare_blocks(name, (old, old.blocks[name]), (new, new.blocks[name]), kinds)
    return sorted(found, key=lambda each: (KINDS.index(each.kind), each.where, each.message))


def _added(name: str, lines: Sequence[Line], unguarded: bool) -> Change:
    policies = ", ".join(dict.fromkeys(line.name for line in lines)) or "nothing"
    if unguarded:
        return Change("unguarded", name, f"{name} is new, open to everyone, and has {policies}")
    return Change("new", name, f"{name} is new, and has {policies}")


Side: TypeAlias = tuple[Lock, Sequence[Line]]


def _compare_blocks(where: str, old: Side, new: Side, kinds: Kinds) -> Iterator[Change]:
    for name in sorted({_group(line) for _, lines in (old, new) for line in lines}):
        before = [old[0].options(line) for line in old[1] if _group(line) == name]
        after = [new[0].options(line) for line in new[1] if _group(line) == name]
        if before == after:
            continue
        relation = compare_all(name, before, after, kinds)
        if relation != "same":
            yield Change(relation, where, f"{where}: {_in_words(name, before, after)}")


def _group(line: Line) -> str:
    """Return the name of the lines that are compared with each other: a policy, or a purpose of other packages."""
    return f"{FOREIGN} {line.options.get('purpose')}" if line.name == FOREIGN else line.name


def compare_all(
    name: str, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], kinds: Kinds
) -> Comparison:
    """Return how all policies of one name together changed. Each policy is given by its options."""
    kind = kinds.get(name)
    presence: Comparison = kind.presence if kind is not None else "weaker" if name in _OPENING else "stronger"
    if not old or not new:
        return "same" if bool(old) == bool(new) or presence == "same" else presence if new else REVERSED[presence]

    def covers(outer: Iterable[Mapping[str, Any]], inner: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether each of `outer` has one among `inner` that is at least as strong."""
        return all(any(_compare(kind, each, other) in ("same", "stronger") for other in inner) for each in outer)

    at_least, at_most = covers(old, new), covers(new, old)
    if at_least:
        return "same" if at_most else "stronger"
    return "weaker" if at_most else "different"


def _compare(kind: type[Policy] | None, old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    if kind is None:  # another package's, or a policy whose class is gone
        return "same" if old == new else "different"
    return kind.compare(old, new)


# Words ----------------------------------------------------------------------------------------------------------------


def _in_words(name: str, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> str:
    if name == SWITCHED_OFF:
        return "every policy is switched off" if new else "the policies are switched on again"
    if not new:
        return " and ".join(f"{_shown(name, each)} is gone" for each in old)
    if not old:
        return " and ".join(f"{_shown(name, each)} is new" for each in new)
    if len(old) == len(new) == 1:
        options = [each for each in sorted({*old[0], *new[0]}) if old[0].get(each) != new[0].get(each)]
        return f"{name} has {', '.join(_changed(each, old[0], new[0]) for each in options)}"
    gone = [_shown(name, each) for each in old if each not in new]
    came = [_shown(name, each) for each in new if each not in old]
    return "; ".join(f"{each} is {word}" for word, group in (("gone", gone), ("new", came)) for each in group)


def _changed(option: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    return f"{option}={_text(new.get(option))} instead of {_text(old.get(option))}"


def _shown(name: str, options: Mapping[str, Any]) -> str:
    if name.startswith(f"{FOREIGN} "):
        return f"{options.get('by')} ({options.get('purpose')})"
    return name


def _text(value: Any) -> str:
    text = "none" if value is None else str(Line("", {"": value}))[2:-1]
    return text if len(text) <= 200 else f"{text[:199]}…"
