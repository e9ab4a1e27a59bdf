"""The registered views of an app, and the marks in force for each.

A guarded app has a :class:`Views` in place of its dict of view functions, so that the line that registers a view raises
the error about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flask.views import http_method_funcs

from ..typing import Flask, ViewFunction
from .app_state import AppState
from .marks import Fallback, Mark, applied_to, carried_marks, fallbacks_on, own_class_marks
from .wrappers import inside, unwrapped


class Views(dict[str, ViewFunction]):
    """The view functions of a guarded app, by endpoint.

    :param registered: called with each new view.
    :param looked_up: called with the endpoint before each call of a view.
    """

    def __init__(
        self,
        views: dict[str, ViewFunction],
        registered: Callable[[ViewFunction], None],
        looked_up: Callable[[str], None],
    ) -> None:
        super().__init__(views)
        self._registered = registered
        self._looked_up = looked_up

    def __getitem__(self, endpoint: str) -> ViewFunction:
        self._looked_up(endpoint)
        return dict.__getitem__(self, endpoint)

    def __setitem__(self, endpoint: str, view: ViewFunction) -> None:
        super().__setitem__(endpoint, view)
        self._registered(view)


def is_static_view(app: Flask, endpoint: str) -> bool:
    """Return whether Flask itself serves an endpoint, from the static folder of the app or of a blueprint."""
    owner, _, name = endpoint.rpartition(".")
    scaffold = app.blueprints.get(owner) if owner else app
    return name == "static" and scaffold is not None and scaffold.has_static_folder


class ViewMarks:
    """Finds the marks in force for the views of one app. A service: it is made again after registrations."""

    def __init__(self, state: AppState) -> None:
        views = state.app.view_functions.values()
        self._views = {id(function) for view in views for function in unwrapped(view)}

    def is_view(self, function: object) -> bool:
        """Return whether `function`, or a function inside, is registered as a view."""
        if id(function) in self._views:
            return True
        return any(id(each) in self._views for each in unwrapped(function))

    def of(self, view: ViewFunction) -> tuple[Mark, ...]:
        """Return the marks in force where `view` is registered, outermost first.

        The fallbacks come first: they were written above the route. The marks of the view follow, then the marks that
        opaque wrappers hide. A hidden exemption does not count.
        """
        carried = dict.fromkeys(carried_marks(view))
        fallbacks: list[Fallback] = []
        for found in inside(view, self.is_view):
            applied = applied_to(found.function)
            hidden = applied.marks if applied is not None and found.through is not None else ()
            carried.update(dict.fromkeys(mark for mark in hidden if mark.what.is_guarding))
            fallbacks += reversed(fallbacks_on(found.function))
        written = {mark.written for mark in carried}
        left = dict.fromkeys(each.mark for each in fallbacks if each.mark.written not in written and self._holds(each))
        return (*left, *carried)

    def _holds(self, fallback: Fallback) -> bool:
        """Return whether a fallback holds where its function is registered.

        A fallback among the function's own decorators holds for every endpoint of the function. Another one yields to
        its shim, or to the decorated wrapper, if one of these is registered.
        """
        if fallback.own:
            return True
        return not fallback.mark.carried and (fallback.through is None or not self.is_view(fallback.through))


def class_marks(view: ViewFunction) -> Iterator[tuple[type, tuple[Mark, ...]]]:
    """Yield the classes behind a class-based view, base classes first, each with its marks."""
    cls: type | None = getattr(view, "view_class", None)
    for base in reversed(cls.__mro__ if cls else ()):
        yield base, own_class_marks(base)


def method_functions(view: ViewFunction, method: str) -> list[Any]:
    """Return the functions of a class-based view that serve `method`, outermost first."""
    cls: type | None = getattr(view, "view_class", None)
    if cls is None:
        return []
    handler = getattr(cls, method.lower(), None) if method.lower() in http_method_funcs else None
    if handler is None and method == "HEAD":
        handler = getattr(cls, "get", None)
    return [function for function in (getattr(cls, "dispatch_request", None), handler) if function is not None]
