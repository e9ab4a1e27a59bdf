"""The inventory: every URL rule and method of an app, with the policies that protect it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from ..core.app_state import AppState
from ..core.config import ENABLED
from ..core.facts import EVERY_METHOD, Entry, Foreign, Inventory, stated_by
from ..core.plan import Plan, paths_of
from ..core.plan_lookup import endpoint_plan, is_answered_for, kept_plan
from ..core.policy import Target
from .decorators import code_of, innermost, site_of_code
from .example_paths import example_below
from .foreign import ForeignFacts
from .mounted_apps import mounts_of


def take_inventory(app: Flask) -> Inventory:
    """Return the inventory of `app`, with or without a Guard.

    :raises ConfigError: if a policy of the app cannot work.
    """
    state, foreign = AppState.of(app), ForeignFacts(app)
    rules = sorted(app.url_map.iter_rules(), key=lambda rule: (rule.rule, host_of(rule), sorted(rule.methods or ())))
    entries = tuple(entry for rule in rules for entry in _entries(state, rule, foreign))
    return Inventory(
        app,
        entries,
        foreign=_everywhere(entries),
        hooks=tuple(hook.name for hook in foreign.hooks if hook.scope == "app"),
        has_guard=state.guard is not None,
        is_enabled=state.config[ENABLED],
        mounts=tuple(mounts_of(app)),
    )


def _entries(state: AppState, rule: Rule, foreign: ForeignFacts) -> Iterator[Entry]:
    view = state.app.view_functions.get(rule.endpoint)
    for method in methods_of(state, rule):
        asked = "GET" if method == EVERY_METHOD else method
        facts = (*foreign.of_entry(rule, view, asked), *stated_by(view))
        site = site_of(view, asked)
        for below, plan in _plans(state, rule, asked):
            yield Entry(
                rule.rule, method, rule.endpoint, plan, facts, below=below, site=site, host=host_of(rule), view=view
            )


def _everywhere(entries: tuple[Entry, ...]) -> tuple[Foreign, ...]:
    """Return the facts about the whole app that hold at every entry."""
    facts = [fact for fact in (entries[0].foreign if entries else ()) if fact.scope == "app"]
    return tuple(fact for fact in facts if all(fact in entry.foreign for entry in entries))


def host_of(rule: Rule) -> str:
    """Return the host or subdomain of a rule; an empty string for all."""
    return rule.host or rule.subdomain or ""


def methods_of(state: AppState, rule: Rule) -> list[str]:
    """Return the methods of a rule that a view answers.

    HEAD counts as GET. OPTIONS is left out where Flask, or a decorator such as Flask-CORS's, answers it.
    """
    if rule.methods is None:
        return [EVERY_METHOD]
    methods = set(rule.methods)
    if is_answered_for(state, rule):
        methods.discard("OPTIONS")
    if "GET" in methods:
        methods.discard("HEAD")
    return sorted(methods)


def _plans(state: AppState, rule: Rule, method: str) -> Iterator[tuple[tuple[str, ...], Plan | None]]:
    """Yield the plan of a rule and method, and further plans if scopes by path cover some of its paths."""
    if state.guard is None:
        yield (), None
        return
    yield (), endpoint_plan(state, rule, method)
    scopes = state.service(paths_of)
    if scopes.depends_on_path(rule.endpoint):
        some = [each.path for each in scopes.all if scopes.relation(each, rule.rule) == "maybe"]
        for paths in dict.fromkeys(scopes.covering(example_below(rule, path)) for path in some):
            below = tuple(path for path in paths if path in some)
            if below:
                yield below, kept_plan(Target(state, rule.endpoint, method, paths=paths))


def site_of(view: Callable[..., Any] | None, method: str = "GET") -> str | None:
    """Return the ``file:line`` of the function that serves `method`. None if it is not written in Python."""
    return site_of_code(code_of(innermost(view, method))) if view is not None else None
