"""The start of an app, before its first request: plans are made, and the last mistakes are found.

Policies, views and blueprints may be registered until then. After the start, requests run the plans.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from flask import Blueprint, Flask

from ..errors import ConfigError
from ..support.log import log
from ..support.text import names
from ..typing import ViewFunction
from .app_state import AppState
from .attach import SERVED, check_mark
from .marks import Mark, carried_marks, marks_in_module, scaffold_marks, use_in_a_view
from .plan import paths_of
from .plan_lookup import endpoint_plan, kept_plan
from .policy import Target
from .view_code import functions_in, methods_of
from .views import class_marks, method_functions
from .wrappers import stands_among_decorators


def check_view(state: AppState, view: ViewFunction) -> None:
    """Note the marks of a registered view, and check that its policies can work on the app.

    :raises ConfigError: if a policy cannot work.
    """
    functions = [view, *(each for method in methods_of(view) for each in method_functions(view, method))]
    marks = [mark for _, of_class in class_marks(view) for mark in of_class]
    for function in functions:
        for mark in carried_marks(function):
            mark.carried = mark.reached = True
            marks.append(mark)
    for mark in dict.fromkeys(marks):
        check_mark(mark, state)


def check_app(state: AppState) -> None:
    """Check that every policy so far can work on the app.

    :raises ConfigError: if a policy cannot work.
    """
    for view in list(state.app.view_functions.values()):
        check_view(state, view)
    for target in (state.app, *state.app.blueprints.values()):
        for mark in scaffold_marks(target):
            check_mark(mark, state)


def start_serving(state: AppState) -> None:
    """Make the plans of every endpoint.

    :raises ConfigError: if a policy cannot work. Every later request raises the same error.
    """
    with state.lock:
        if state.serving:
            return
        state.forget_compiled()
        for prepare in state.at_start:
            prepare(state)
        try:
            check_app(state)
            _make_plans(state)
            _report_rules_on_both_sides(state)
            for act in state.once_planned:
                act()
            _look_for_unreached_marks(state)
        except ConfigError as error:
            state.error = error
            log.error("%r serves nothing until this mistake is fixed: %s", state.app.name, error)
        _report_unknown_modes(state)
        state.serving = True


def _make_plans(state: AppState) -> None:
    """Make the plan of each endpoint and method. Plans of HEAD and OPTIONS are made at their first request."""
    scopes = state.service(paths_of)
    everywhere = tuple(scope.path for scope in scopes.all)
    for rule in state.app.url_map.iter_rules():
        methods = rule.methods or {"GET"}
        for method in sorted(methods - {"HEAD", "OPTIONS"} or methods):
            try:
                plan = endpoint_plan(state, rule, method)
            except ConfigError as error:
                raise ConfigError(f"{method} {rule.rule} (endpoint {rule.endpoint!r}): {error}") from error
            marks: set[Hashable] = set(plan.covers)
            if scopes.depends_on_path(rule.endpoint):
                marks |= kept_plan(Target(state, rule.endpoint, method, paths=everywhere)).covers
            for mark in marks:
                assert isinstance(mark, Mark)  # noqa: S101
                if not mark.reached:
                    mark.reached = True
                    check_mark(mark, state)
        view = state.app.view_functions.get(rule.endpoint)
        for cls, _ in class_marks(view) if view is not None else ():
            if cls.__module__ != "flask.views" and cls is not object:
                setattr(cls, SERVED, True)


def _report_rules_on_both_sides(state: AppState) -> None:
    """Report the endpoints with rules inside and outside of a scope by path."""
    scopes = state.service(paths_of)
    for scope in scopes.all:
        for endpoint in sorted(state.app.view_functions):
            relations = scopes.relations(scope, endpoint)
            if "inside" in relations and len(relations) > 1:
                log.warning(
                    "endpoint %r has rules inside and outside of path %s: the policies there hold for all of them",
                    endpoint,
                    scope.path,
                )


def _report_unknown_modes(state: AppState) -> None:
    """Report the kinds in ``GUARD_MODES`` that are neither built in nor the name of a policy of the app."""
    known = {name for plan in state.plans.values() for name in plan.names}
    unknown = sorted(state.unknown_kinds - known)
    if unknown:
        log.warning("GUARD_MODES names %s, and no policy of %r has that name", names(unknown), state.app.name)


# Marks that reach nothing -------------------------------------------------------------------------------------------


def _look_for_unreached_marks(state: AppState) -> None:
    """Refuse or report the policies that were written on functions and hold for no endpoint.

    :raises ConfigError: for a policy that a decorator of a registered function hides.
    """
    functions = {id(each): each for view in state.app.view_functions.values() for each in functions_in(view)}
    for function in functions.values():
        for mark in marks_in_module(function.__globals__):
            if mark.what.is_guarding and not mark.reached and stands_among_decorators(mark.site, function):
                raise ConfigError(
                    f"{mark} holds for no endpoint, because a decorator between the policy and the route hides"
                    f" {function.__qualname__}: give that decorator's wrapper @functools.wraps(view), or write the"
                    " policy directly above 'def'"
                )
    for namespace in {id(each.__globals__): each.__globals__ for each in functions.values()}.values():
        if not has_other_apps(namespace, state.app):
            _report_unreached(namespace)


def _report_unreached(namespace: dict[str, Any]) -> None:
    for mark in marks_in_module(namespace):
        is_there = mark.shim is not None and mark.shim() is not None
        if mark.what.is_guarding and is_there and not mark.reached and not mark.reported:
            mark.reported = True
            log.error(
                "%s holds for no endpoint: the function that it was written on is not registered as a view.%s",
                mark,
                use_in_a_view((mark,)),
            )


def has_other_apps(namespace: dict[str, Any], app: Flask) -> bool:
    """Return whether a module has other apps, or blueprints that are not registered on `app`."""
    known = {id(app), *map(id, app.blueprints.values())}
    return any(type(each) in (Flask, Blueprint) and id(each) not in known for each in namespace.values())
