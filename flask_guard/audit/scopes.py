"""The scopes around the entries of an inventory, with every mark in them."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.facts import EVERY_METHOD, Entry, Inventory
from ..core.plan import LeftOut, collect, merge
from ..core.policy import Scope, Target


def target_of(inventory: Inventory, entry: Entry) -> Target:
    """Return the target whose plan an entry has."""
    method = "GET" if entry.method == EVERY_METHOD else entry.method
    return Target(inventory.state, entry.endpoint, method, paths=entry.below)


def scopes_of(inventory: Inventory) -> Iterator[tuple[Entry, list[Scope]]]:
    """Yield each entry and the scopes around it, outermost first. An app without a Guard has them, too."""
    for entry in inventory.entries:
        yield entry, list(collect(target_of(inventory, entry)))


def left_out(inventory: Inventory, entry: Entry) -> list[LeftOut]:
    """Return the policies that were written around an entry and are not in force there."""
    target = target_of(inventory, entry)
    return merge(list(collect(target)), target)[1]
