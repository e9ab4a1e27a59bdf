"""The routes of an app and the protection of each, as one document: ``flask guard routes --json``.

The document has the schema ``flask_guard.routes/1``. Later versions of the same number only add to it::

    {"schema": "flask_guard.routes/1",
     "app": "shop", "guard": true, "enabled": true,
     "everywhere": [FOREIGN, …],        protection by others that covers every route
     "hooks": ["shop.auth.load_user"],  before_request hooks of the app, which may refuse
     "mounts": [{"path": "/metrics", "app": "…"}],
     "routes": [{"path": "/orders", "method": "POST", "endpoint": "api.create", "blueprint": "api", "host": "",
                 "below": [],           the scopes by path, if the route is about the paths of the rule below them only
                 "site": "shop/api.py:12", "writes": true, "unguarded_write": false,
                 "policies": [{"name": "limit", "text": "limit(10/minute)", "options": {…}, "mode": "enforce",
                               "phase": "LIMIT", "scope": "view api.create", "site": "shop/api.py:10"}, …],
                 "foreign": [FOREIGN, …]}, …]}

with FOREIGN as ``{"by": "Flask-Login", "purpose": "authentication", "detail": "login_required", "scope": "view",
"site": null}``. Hooks and decorators that may or may not refuse requests have the purpose ``unknown``. Policies are
listed in the order in which they act, with the options that are not the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ..core.app_state import AppState
from ..core.facts import Entry, Inventory
from ..core.policy import Placed
from .wording import describe_placed

SCHEMA = "flask_guard.routes/1"


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice of routes. An empty criterion chooses all.

    :ivar blueprint: the name of a blueprint, for its routes and the routes of nested blueprints.
    :ivar path: a path, for all paths from there down, or a pattern with ``*``.
    :ivar having: names of policies, or of packages such as ``Flask-Login``, that a route must all have.
    :ivar lacking: names that a route must not have.
    :ivar unguarded_writes: whether a route must change state without authentication or CSRF protection.
    """

    blueprint: str = ""
    path: str = ""
    methods: tuple[str, ...] = ()
    having: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    unguarded_writes: bool = False

    def of(self, inventory: Inventory) -> list[Entry]:
        return [entry for entry in inventory.entries if self._takes(entry, inventory)]

    def _takes(self, entry: Entry, inventory: Inventory) -> bool:
        return (
            (not self.blueprint or f"{entry.endpoint}.".startswith(f"{self.blueprint}."))
            and (not self.path or _lies_below(entry.path, self.path))
            and (not self.methods or entry.method in self.methods or entry.method == "*")
            and all(_has(entry, name) for name in self.having)
            and not any(_has(entry, name) for name in self.lacking)
            and (not self.unguarded_writes or is_unguarded_write(entry, inventory))
        )


def _lies_below(path: str, wanted: str) -> bool:
    if "*" in wanted:
        return fnmatchcase(path, wanted)
    return f"{path.rstrip('/')}/".startswith(f"{wanted.rstrip('/')}/")


def _has(entry: Entry, name: str) -> bool:
    ours = {placed.policy.name for placed in entry.plan or ()}
    return name in ours or name.lower() in {each.by.lower() for each in entry.foreign}


def is_unguarded_write(entry: Entry, inventory: Inventory) -> bool:
    """Return whether a route changes state without known authentication or CSRF protection."""
    if not entry.is_writing or entry.has("authentication") or entry.has("csrf"):
        return False
    return not (inventory.is_enabled and inventory.serves(entry, "authentication", "csrf"))


def describe_routes(inventory: Inventory, entries: Iterable[Entry] | None = None) -> dict[str, Any]:
    """Return the document.

    :param entries: the entries to describe. By default, all of the inventory.
    """
    describe = entry_describer(inventory)
    return {
        "schema": SCHEMA,
        "app": inventory.app.name,
        "guard": inventory.has_guard,
        "enabled": inventory.is_enabled,
        "everywhere": [each.describe() for each in inventory.foreign],
        "hooks": list(inventory.hooks),
        "mounts": [{"path": path, "app": name} for path, name in inventory.mounts],
        "routes": [describe(entry) for entry in (inventory.entries if entries is None else entries)],
    }


def entry_describer(inventory: Inventory) -> Callable[[Entry], dict[str, Any]]:
    """Return a function that describes a route. A policy of many routes is described once."""
    state = AppState.of(inventory.app)
    known: dict[tuple[int, str], dict[str, Any]] = {}

    def of(placed: Placed) -> dict[str, Any]:
        key = (id(placed.policy), placed.scope)
        if key not in known:
            known[key] = describe_placed(placed, state)
        return known[key] | {"site": placed.site}

    return lambda entry: _describe_entry(entry, inventory, of)


def _describe_entry(entry: Entry, inventory: Inventory, of: Callable[[Placed], dict[str, Any]]) -> dict[str, Any]:
    return {
        "path": entry.path,
        "method": entry.method,
        "endpoint": entry.endpoint,
        "blueprint": entry.endpoint.rpartition(".")[0] or None,
        "host": entry.host,
        "below": list(entry.below),
        "site": entry.site,
        "writes": entry.is_writing,
        "unguarded_write": is_unguarded_write(entry, inventory),
        "policies": [of(placed) for placed in entry.plan or ()],
        "foreign": [each.describe() for each in entry.foreign],
    }
