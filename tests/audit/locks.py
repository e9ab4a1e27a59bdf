"""Locks of small apps, and what changes from one to another."""

from __future__ import annotations

import dataclasses
from typing import Any

from flask import Flask

from flask_guard import Guard
from flask_guard.audit.changes import Change, changes, kinds_of
from flask_guard.audit.inventory import take_inventory
from flask_guard.audit.lock import Lock, as_text, make_lock, parse
from flask_guard.core.facts import Foreign

SITE = "https://app.example.com"


def app_with(*policies: Any, foreign: tuple[Foreign, ...] = (), **config: Any) -> tuple[Lock, Any]:
    """Return the lock of an app whose one view has `policies`, and the classes of its policies."""
    app = Flask("shop", static_folder=None)
    app.config.update({"GUARD_CORS_ORIGINS": SITE, **config})
    Guard(app)
    view: Any = lambda: "answer"  # noqa: E731
    for policy in reversed(policies):
        view = policy(view)
    app.add_url_rule("/things", "things", view, methods=["POST"])
    inventory = take_inventory(app)
    if foreign:
        entries = tuple(dataclasses.replace(each, foreign=foreign) for each in inventory.entries)
        inventory = dataclasses.replace(inventory, entries=entries)
    return make_lock(inventory), kinds_of(inventory)


def compared(old: tuple[Any, ...], new: tuple[Any, ...]) -> list[Change]:
    """Return the changes from a view with some policies to one with others."""
    (before, classes), (after, more) = app_with(*old), app_with(*new)
    return changes(parse(as_text(before)), after, {**classes, **more})


def kinds(found: list[Change]) -> list[str]:
    return [each.kind for each in found]
