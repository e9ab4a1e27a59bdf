"""CORS headers by others: Flask-CORS, Flask-RESTX, Flask-RESTful, and the views and hooks of the app.

The nearest to the view decides. Where `cors` and another stand on the same app, blueprint or view, `cors` decides. So:

- A `cors` is not in force where a decorator or a Flask-CORS stands nearer to the view.
- A Flask-CORS does nothing where a `cors` is in force that is as near or nearer.
- What a view or a hook of its blueprint wrote stays, unless the `cors` is on the view itself.
- What a hook of the app wrote gives way, whether it runs before the policies or after them.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any, Literal, TypeAlias

from flask_cors.core import FLASK_CORS_EVALUATED

from ..core import hooks as policy_hooks
from ..core.app_state import AppState
from ..core.marks import is_shim
from ..core.plan import blueprint_names
from ..core.policy import Scope, Target
from ..core.request_run import Leave, Run, Slot, current_run
from ..core.views import method_functions
from ..core.wrappers import unwrapped
from ..support.header_fields import Pair, append, drop
from ..typing import Response, ViewFunction
from .response_headers import ALLOW_ORIGIN, BY_POLICY, OWN_NAMES, Engine, find_fields, own_pairs

_DECORATORS = frozenset({"flask_cors.decorator", "flask_restx.cors", "flask_restful.utils.cors"})
"""Modules whose decorators send CORS headers, and answer OPTIONS."""
_ALLOW_ORIGIN = ALLOW_ORIGIN.lower()
_EXTENSION = "flask_cors.extension"
"""The module whose hooks send the CORS headers of an app or a blueprint."""
KIND = "cors"
OUTER = ("app", "path", "blueprint")
"""The scopes around a view."""


# Which is nearer ---------------------------------------------------------------------------------------------------


def other_is_nearer(target: Target, scope: Scope) -> bool:
    """Return whether something nearer to the view of `target` than `scope` sends CORS headers."""
    view = target.app.view_functions.get(target.endpoint) if target.endpoint is not None else None
    if view is None or scope.kind == "method":
        return False
    if any(map(_is_decorated, method_functions(view, target.method))):
        return True
    if scope.kind not in OUTER:
        return False
    return _is_decorated(view) or any(nearness > _nearness(scope) for nearness in _extensions_around(target))


def _is_decorated(function: ViewFunction) -> bool:
    return any(map(_is_from_decorator, unwrapped(function)))


def _is_from_decorator(function: object) -> bool:
    return _module_of(function) in _DECORATORS


def _module_of(function: object) -> str:
    """Return the module that `function` was written in. `functools.wraps` changes its ``__module__``."""
    return str(getattr(function, "__globals__", {}).get("__name__", ""))


def _nearness(scope: Scope) -> int:
    """Return a number for a scope, the larger the nearer it is to the view."""
    if scope.kind == "blueprint":
        return _nearness_of_blueprint(scope.name)
    return {"app": 0, "path": 1}.get(scope.kind, sys.maxsize)


def _nearness_of_blueprint(name: str) -> int:
    return 2 + name.count(".")


def _extensions_around(target: Target) -> Iterator[int]:
    """Yield the nearness of the blueprints around the endpoint of `target` that have a Flask-CORS of their own."""
    for name in blueprint_names(target):
        if any(map(_is_extension, target.app.after_request_funcs.get(name, ()))):
            yield _nearness_of_blueprint(name)


def _is_extension(hook: object) -> bool:
    return any(_module_of(each) == _EXTENSION for each in unwrapped(hook))


def answers_options(state: AppState, view: ViewFunction) -> bool:
    """Return whether a decorator of another package answers OPTIONS in place of `view`.

    Only policies may stand around it: anything else that runs on OPTIONS is a view like any other.
    """
    outermost = next(each for each in unwrapped(view) if not is_shim(each))
    if not _is_from_decorator(outermost):
        return False
    inside = inspect.getclosurevars(outermost).nonlocals
    if _module_of(outermost) == "flask_cors.decorator":
        from flask_cors.core import get_cors_options

        return "_options" in inside and get_cors_options(state.app, inside["_options"]).automatic_options
    return inside.get("automatic_options") is True


# Beside the hooks of others ------------------------------------------------------------------------------------------

Said: TypeAlias = "list[Pair] | Literal[False]"
"""The CORS headers that something has decided on, which may be none at all; False if nothing has decided."""
SAID: Slot[Said] = Slot("cors.said")
"""The headers of the view and the hooks of its blueprints. Noted where hooks of the app run before the policies."""


class OtherHooks:
    """The other ``after_request`` hooks of an app, arranged before its first request so that the nearest decides.

    A resource of the app's state, made when the first `cors` meets the app.
    """

    def __init__(self, state: AppState) -> None:
        self._app = state.app
        self._some_follow = False
        state.once_planned.append(self._arrange)

    def step(self, engine: Engine, place: Scope) -> Leave:
        """Return the step that writes the headers of ordinary responses.

        :param place: where the policy stands. Around a view, it leaves the last word to that.
        """
        view_decides = place.kind in OUTER

        def leave(run: Run, response: Response) -> None:
            found = find_fields(response.headers)
            said: Said = False
            if view_decides:
                noted: Said | None = run.kept.get(SAID)
                said = _said_on(response, found) if noted is None else noted
            pairs = engine.pairs(run) if said is False else said
            engine.write(response, pairs, found)
            if self._some_follow:
                run.outgoing += (functools.partial(_restore, pairs),)

        return leave

    def _arrange(self) -> None:
        app = self._app
        for name, hooks in app.after_request_funcs.items():
            near = _nearness_of_blueprint(name) if name else 0
            hooks[:] = [_standing_back(hook, _as_it_is, near) if _is_extension(hook) else hook for hook in hooks]
        for method in ("handle_exception", "handle_user_exception"):
            handler = vars(app).get(method, _as_it_is)
            original = inspect.getclosurevars(handler).nonlocals.get("f") if _is_extension(handler) else None
            if original is not None:
                setattr(app, method, _standing_back(handler, original, 0))
        self._arrange_app_hooks(app.after_request_funcs[None])

    def _arrange_app_hooks(self, hooks: list[Any]) -> None:
        """Look at the response before the other hooks of the app do, and after them, where there are any."""
        own = [index for index, hook in enumerate(hooks) if _module_of(hook) == policy_hooks.__name__]
        last, leaving = own[0], own[-1]  # Flask calls them in reverse
        self._some_follow = any(not _is_extension(hook) for hook in hooks[last + 1 : leaving])
        if any(not _is_extension(hook) for hook in hooks[leaving + 1 :]):
            hooks.append(_note_said)


def _said_on(response: Response, present: Collection[str]) -> Said:
    by = getattr(response, FLASK_CORS_EVALUATED, None)
    if by is not BY_POLICY and (by or _ALLOW_ORIGIN in present):
        return own_pairs(response.headers)
    return False


def _note_said(response: Response) -> Response:
    """Note the CORS headers of a response that no hook of the app has seen."""
    run = current_run()
    if run is not None:
        SAID.put(run, _said_on(response, find_fields(response.headers)))
    return response


def _restore(pairs: list[Pair], _run: Run, response: Response) -> None:
    """Put `pairs` back if a hook of the app has changed them."""
    drop(response.headers, OWN_NAMES)
    append(response.headers, pairs)


def _standing_back(call: Any, instead: Callable[..., Any], near: int) -> Callable[..., Any]:
    """Return `call`, in place of which `instead` is called where a `cors` is in force that is at least as `near`."""

    @functools.wraps(call)
    def unless_cors_is_as_near(*args: Any) -> Any:
        return (instead if _nearness_in_force() >= near else call)(*args)

    return unless_cors_is_as_near


def _as_it_is(response: Response) -> Response:
    return response


def _nearness_in_force() -> int:
    """Return the nearness of the scope whose `cors` is in force for the current request, or -1."""
    run = current_run()
    placed = getattr(run.plan, "policies", ()) if run is not None else ()
    return max((_nearness(each.place) for each in placed if each.policy.kind == KIND), default=-1)
