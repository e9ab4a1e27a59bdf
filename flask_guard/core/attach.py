"""The application of a policy to a view, a class, a blueprint or an app, with a safety net.

A decorator returns a *shim* that carries *marks*. Plans are made from marks. The shim is the safety net: its call is
refused unless the plan that ran for this request was made from its marks.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, cast

from flask import Blueprint, Flask, current_app
from flask.sansio.blueprints import BlueprintSetupState
from flask.sansio.scaffold import Scaffold
from flask.views import MethodView, View

from ..errors import ConfigError, NotGuarded
from ..support.callables import synchronous
from ..support.log import log
from ..typing import TargetT, ViewFunction
from .app_state import AppState
from .config import ENABLED
from .flask_versions import current_context, current_flask
from .marks import (
    APPLIED,
    FALLBACKS,
    MARKS,
    Applied,
    Fallback,
    Mark,
    applied_to,
    carried_marks,
    fallbacks_on,
    note_in_module,
    own_class_marks,
    scaffold_marks,
    use_in_a_view,
)
from .path_scopes import PATHS
from .request_run import ATTRIBUTE, NOTHING, Run, this_request
from .url_patterns import Mount
from .wrappers import inside, stands_among_decorators

SERVED = "__guard_served__"
"""Marks a class of which some app has served views."""


def attach(mark: Mark, target: TargetT, under: str | None = None) -> TargetT:
    """Put `mark` on `target`; return the target, or for a function its shim.

    :param under: the path of an app below which the mark holds; None for the whole app.
    """
    if isinstance(target, Scaffold):
        _mark_scaffold(mark, target, under)
        return target
    if isinstance(target, type):
        _mark_class(mark, target)
        return target
    return cast(TargetT, _mark_function(mark, cast(ViewFunction, target)))


def is_target(value: object) -> bool:
    """Return whether a policy can be applied to `value`."""
    if isinstance(value, type):
        return issubclass(value, View)
    return isinstance(value, Scaffold) or callable(value)


# Blueprints and apps ---------------------------------------------------------------------------------------------


def _mark_scaffold(mark: Mark, target: Scaffold, under: str | None) -> None:
    by_path: dict[str, tuple[Mark, ...]] = getattr(target, PATHS, {})
    marks = scaffold_marks(target) if under is None else by_path.get(under, ())
    _refuse_conflict(mark, marks)
    if mark.what.needs_guard:
        _watch_scaffold(mark, target, first=not any(each.what.needs_guard for each in marks))
    if under is None:
        setattr(target, MARKS, (*marks, mark))
    else:
        setattr(target, PATHS, {**by_path, under: (*marks, mark)})


def _watch_scaffold(mark: Mark, target: Scaffold, *, first: bool) -> None:
    try:
        if isinstance(target, Blueprint):
            _watch_blueprint(mark, target, first=first)
        else:
            _watch_app(mark, cast(Flask, target))
    except AssertionError:  # of Flask, for a late set-up
        raise ConfigError(
            f"{mark}: {_named(target)} has been registered or has served a request already."
            " Apply policies to it before that"
        ) from None


def _watch_blueprint(mark: Mark, blueprint: Blueprint, *, first: bool) -> None:
    """Note where `blueprint` is registered, and make it refuse to serve on an app without a Guard."""

    def registered(setup: BlueprintSetupState) -> None:
        state = AppState.of(cast(Flask, setup.app))
        mount = Mount.of(setup) if first else None
        if mount is not None:
            state.mounts.append(mount)
        if state.guard is not None:
            check_mark(mark, state)

    blueprint.record(registered)
    if first:
        blueprint.before_request(_refusal(mark, blueprint))


def _watch_app(mark: Mark, app: Flask) -> None:
    """Make `app` refuse to serve without a Guard."""
    state = AppState.of(app)
    if state.serving:
        raise AssertionError
    if state.guard is None:
        app.before_request(_refusal(mark, app))
    else:
        state.forget_compiled()
        check_mark(mark, state)


def _refusal(mark: Mark, target: Scaffold) -> Callable[[], None]:
    def refuse_without_guard() -> None:
        if _current_state().guard is None:
            raise not_guarded(_named(target), (mark,))

    return refuse_without_guard


def _named(target: Scaffold) -> str:
    return f"{'blueprint' if isinstance(target, Blueprint) else 'app'} {target.name!r}"


def check_mark(mark: Mark, state: AppState) -> None:
    """Raise ConfigError, with the place where `mark` was written, if it cannot work on the app of `state`."""
    try:
        mark.what.check_app(state)
    except ConfigError as error:
        raise ConfigError(f"{mark.what.name} at {mark.site}: {error}") from error


# Class-based views -----------------------------------------------------------------------------------------------


def _mark_class(mark: Mark, cls: type[View]) -> None:
    if cls in (View, MethodView):
        raise ConfigError(
            f"{mark}: {cls.__name__} is the base of every class-based view; apply it to a class of your own"
        )
    if SERVED in cls.__dict__:
        raise ConfigError(f"{mark}: {cls.__qualname__} has served requests already. Apply policies to it before that")
    marks = own_class_marks(cls)
    _refuse_conflict(mark, marks)
    if not marks:
        _check_in_as_view(cls)
    setattr(cls, MARKS, (mark, *marks))


def _check_in_as_view(owner: type[View]) -> None:
    original = owner.__dict__.get("as_view")

    def as_view(cls: type[View], name: str, *args: Any, **kwargs: Any) -> ViewFunction:
        make = original.__get__(None, cls) if original else super(owner, cls).as_view  # type: ignore[misc]
        view = make(name, *args, **kwargs)
        return _shim(view, carried_marks(view), _guarding(own_class_marks(owner)), call=view)

    owner.as_view = classmethod(as_view)  # type: ignore[assignment, method-assign]


# Functions -------------------------------------------------------------------------------------------------------


def _mark_function(mark: Mark, function: ViewFunction) -> ViewFunction:
    marks = carried_marks(function)
    _refuse_conflict(mark, marks)
    applied = applied_to(function)
    genuine = applied is not None and applied.shim is function
    checked = _guarding((mark,)) | (applied.checked if applied and genuine else frozenset())
    shim = _shim(function, (mark, *marks), checked, call=applied.inner if applied and genuine else function)
    mark.shim = weakref.ref(shim)
    if mark.what.is_guarding:
        _leave_fallbacks(mark, function)
    note_in_module(mark)
    return shim


def _leave_fallbacks(mark: Mark, function: ViewFunction) -> None:
    """Leave `mark` on the decorated function, and on every function inside."""
    for found in inside(function, is_view=lambda _: False):
        if found.through is not None and not isinstance(found.function, FunctionType):
            continue
        owner = getattr(found.function, "__func__", found.function)  # a bound method has no attributes
        others = tuple(each for each in fallbacks_on(owner) if each.mark.written != mark.written)
        fallback = Fallback(mark, stands_among_decorators(mark.site, owner), found.through)
        try:
            setattr(owner, FALLBACKS, (*others, fallback))
        except (AttributeError, TypeError):
            raise ConfigError(
                f"{mark}: {found.function!r} cannot carry a policy. Write a function that calls it, and decorate that"
            ) from None


def _shim(
    function: ViewFunction, marks: tuple[Mark, ...], checked: frozenset[Mark], *, call: ViewFunction
) -> ViewFunction:
    """Return a function in place of `function`, which checks that `checked` are in force, and then calls `call`."""
    is_async = inspect.iscoroutinefunction(call)

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            run = vars(this_request._get_current_object())[ATTRIBUTE]
        except (RuntimeError, KeyError):
            run = None
        if checked and (type(run) is not Run or not run.entered or not checked <= run.plan.covers):
            _refuse_unless_switched_off(function, checked)
        return _call_async(call)(*args, **kwargs) if is_async else call(*args, **kwargs)

    vars(guarded).pop(FALLBACKS, None)
    setattr(guarded, APPLIED, Applied(guarded, call, marks, checked))
    return guarded


def _call_async(view: ViewFunction) -> ViewFunction:
    """Return an ``async`` view as the app calls it, or unchanged where a wrapper awaits it."""
    import asyncio  # a slow import, needed only for async views

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return synchronous(current_flask(), view, f"view {_name_of(view)}")
    return view


def _current_state() -> AppState:
    return AppState.of(current_flask())


def _refuse_unless_switched_off(function: ViewFunction, checked: frozenset[Mark]) -> None:
    if current_app and (state := _current_state()).guard is not None:
        off = state.off_here()
        if not state.config[ENABLED] or (off is not None and off.keys is None):
            return
    raise not_guarded(f"{function.__module__}.{_name_of(function)}", tuple(checked))


def _name_of(function: ViewFunction) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)


# Both ------------------------------------------------------------------------------------------------------------


def refuse_other_rules(state: AppState) -> Callable[[str], None]:
    """Return the function that is called with each endpoint whose view is looked up.

    It raises NotGuarded if a hook has sent the request there after the plan of another endpoint or method was chosen.
    """

    def look(endpoint: str) -> None:
        try:
            request = current_context().request
        except (LookupError, RuntimeError):  # no context, or from Flask 3.2 on one without a request
            return
        run = request.__dict__.get(ATTRIBUTE)
        if run is None:
            return
        plan, method = (run.plan, run.method) if type(run) is Run else (run[1], run[3])
        if plan.endpoint == endpoint and request.method == method:
            return
        rule = request.url_rule
        if plan is NOTHING or rule is None or rule.endpoint != endpoint:
            return
        if request.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
            return  # Flask answers without the view, so a hook looks it up
        instead = state.plans.get((endpoint, request.method))
        if plan.quiet and instead is not None and instead.quiet:
            return
        raise _not_guarded(
            f"endpoint {endpoint!r}",
            "",
            "A hook has set request.url_rule or request.method after the policies were chosen. Set them in WSGI"
            " middleware, or not at all",
        )

    return look


def _guarding(marks: Iterable[Mark]) -> frozenset[Mark]:
    return frozenset(mark for mark in marks if mark.what.is_guarding)


def _refuse_conflict(mark: Mark, others: Iterable[Mark]) -> None:
    for other in others:
        if reason := mark.what.conflict_with(other.what):
            raise ConfigError(f"{mark} and {other}: {reason}")


def not_guarded(what: str, marks: tuple[Mark, ...]) -> NotGuarded:
    """Log and return the error for a view whose policies did not run."""
    policies = "; ".join(sorted(str(mark) for mark in marks))
    if not current_app:
        fix = "It was called outside a request: tests may call it inside 'with app.app_context(), guard.disabled():'"
    elif _current_state().guard is None:
        fix = "This app has no Guard: call Guard(app) (or guard.init_app(app)) where the app is made"
    elif not any(mark.carried or mark.reached for mark in marks):
        fix = (
            f"It is not the view of any endpoint.{use_in_a_view(marks)} If it is a view, the decorator between the"
            " policy and the route hides it: give that decorator's wrapper @functools.wraps(view), or write the policy"
            " above it"
        )
    else:
        fix = (
            f"It was called by another view or hook.{use_in_a_view(marks)} Or the decorator between the policy and the"
            " route hides it: give that decorator's wrapper @functools.wraps(view), or write the policy above it"
        )
    return _not_guarded(what, f" ({policies})", fix)


def _not_guarded(what: str, policies: str, fix: str) -> NotGuarded:
    message = f"{what} was not served, because its policies did not run for this request{policies}. {fix}"
    log.error(message)
    return NotGuarded(message)
