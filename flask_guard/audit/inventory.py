"""The inventory: every URL rule and method of an app, with the policies that protect it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from ..core.app_state import AppState
from ..core.facts import EVERY_METHOD, Entry, Inventory
from ..core.plan import Plan, paths_of
from ..core.plan_lookup import endpoint_plan, kept_plan
from ..core.policy import Target


def take_inventory(app: Flask) -> Inventory:
    """Return the inventory of `app`, with or without a Guard.

    :raises ConfigError: if a policy of the app cannot work.
    """
    state = AppState.of(app)
    rules = sorted(app.url_map.iter_rules(), key=lambda rule: (rule.rule, sorted(rule.methods or ())))
    entries = tuple(entry for rule in rules for entry in _entries(state, rule))
    return Inventory(app, entries, has_guard=state.guard is not None)


def _entries(state: AppState, rule: Rule) -> Iterator[Entry]:
    view = state.app.view_functions.get(rule.endpoint)
    for method in methods_of(rule):
        asked = "GET" if method == EVERY_METHOD else method
        for below, plan in _plans(state, rule, asked):
            yield Entry(rule.rule, method, rule.endpoint, plan, below=below, site=site_of(view), view=view)


def methods_of(rule: Rule) -> list[str]:
    """Return the methods of a rule that a view answers, without the HEAD that is a GET."""
    if rule.methods is None:
        return [EVERY_METHOD]
    methods = set(rule.methods)
    if getattr(rule, "provide_automatic_options", False):
        methods.discard("OPTIONS")
    if "GET" in methods:
        methods.discard("HEAD")
    return sorted(methods)


def _plans(state: AppState, rule: Rule, method: str) -> Iterator[tuple[tuple[str, ...], Plan | None]]:
    """Yield the plan of a rule and method; and another one where a scope by path covers some of its paths."""
    if state.guard is None:
        yield (), None
        return
    yield (), endpoint_plan(state, rule, method)
    scopes = state.service(paths_of)
    if scopes.depends_on_path(rule.endpoint):
        some = tuple(each.path for each in scopes.all if "maybe" in scopes.relations(each, rule.endpoint))
        yield some, kept_plan(Target(state, rule.endpoint, method, paths=some))


def site_of(view: Callable[..., Any] | None) -> str | None:
    """Return the ``file:line`` of a view, below its decorators; None if it is not written in Python."""
    view = getattr(view, "view_class", view)
    try:
        found = inspect.unwrap(view) if callable(view) and not isinstance(view, type) else view
        file = inspect.getsourcefile(found)  # type: ignore[arg-type]
        line = inspect.getsourcelines(found)[1]  # type: ignore[arg-type]
    except (TypeError, OSError):
        return None
    return f"{file}:{max(line, 1)}"
