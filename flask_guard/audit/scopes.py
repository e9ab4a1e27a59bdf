"""The scopes around the entries of an inventory, and the marks in them."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask

from ..core.facts import Entry, Inventory
from ..core.marks import Mark, marks_in_module
from ..core.plan import LeftOut, collect, merge
from ..core.policy import Scope, Target
from ..core.start import has_other_apps
from ..core.view_code import functions_in


def target_of(inventory: Inventory, entry: Entry) -> Target:
    return Target(inventory.state, entry.endpoint, entry.sent_method, paths=entry.below)


def scopes_of(inventory: Inventory) -> Iterator[tuple[Entry, list[Scope]]]:
    """Yield each entry and the scopes around it, outermost first, also for an app without a Guard."""
    for entry in inventory.entries:
        yield entry, list(collect(target_of(inventory, entry)))


def marks_on_functions(app: Flask) -> Iterator[Mark]:
    """Yield the marks on functions in the modules of the views, where the decorated function still exists."""
    functions = [each for view in app.view_functions.values() for each in functions_in(view)]
    for namespace in {id(each.__globals__): each.__globals__ for each in functions}.values():
        if not has_other_apps(namespace, app):  # their marks would be taken for those of `app`
            yield from (
                mark for mark in marks_in_module(namespace) if mark.shim is not None and mark.shim() is not None
            )


def left_out(target: Target) -> list[LeftOut]:
    """Return the policies around a target that are not in force there."""
    return merge(list(collect(target)), target)[1]
