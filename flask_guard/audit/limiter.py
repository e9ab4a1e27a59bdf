"""The limits of an app's own Flask-Limiter for an endpoint, as its request hook and decorators find them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from flask import Flask

from ..core.facts import Foreign
from .decorators import Layer, closure_of, module_of

NAME = "Flask-Limiter"


def limiters_of(app: Flask) -> list[Any]:
    """Return the Limiters that limit requests of `app`."""
    return [each for each in app.extensions.get("limiter", ()) if each.initialized and each.enabled]


def limits_of(app: Flask, limiter: Any, endpoint: str, method: str, layers: Iterable[Layer]) -> Iterator[Foreign]:
    """Yield the limits of one endpoint and method.

    Flask-Limiter acts in a ``before_request`` hook and in the wrapper of a decorated view. If the wrapper is not
    registered, as for a decorator above ``@app.route``, only the limits of the application hold.
    """
    if endpoint.rpartition(".")[2] == "static":
        return
    from flask_limiter import ExemptionScope

    manager, blueprint = limiter.limit_manager, endpoint.rpartition(".")[0]
    exempt = manager.exemption_scope(app, endpoint, blueprint or None)
    name = next((closure_of(each.function).get("name") for each in layers if _is_limit(each.function)), None)
    decorated = _listed(manager, "decorated_limits", name) if name else []
    misplaced = not name and _qualified_name(app, endpoint) in getattr(limiter, "_marked_for_limiting", ())
    overriding = any(each.override_defaults for each in decorated)
    of_blueprint = (
        [] if misplaced or not blueprint or overriding else _listed(manager, "blueprint_limits", app, blueprint)
    )
    explicit = [*decorated, *of_blueprint]
    counted = [each for each in explicit if _counts(each, method)]
    if not exempt & ExemptionScope.APPLICATION:
        yield from _facts(limiter, _listed(manager, "application_limits"), method, "application")
    yield from _facts(limiter, [each for each in decorated if each in counted], method, "decorated")
    yield from _facts(limiter, [each for each in of_blueprint if each in counted], method, "blueprint")
    takes_defaults = not counted or not any(each.override_defaults for each in explicit)
    if takes_defaults and not misplaced and not exempt & ExemptionScope.DEFAULT:
        yield from _facts(limiter, _listed(manager, "default_limits"), method, "default")


def _is_limit(function: Any) -> bool:
    return module_of(function).partition(".")[0] == "flask_limiter" and "name" in closure_of(function)


def _qualified_name(app: Flask, endpoint: str) -> str:
    view = app.view_functions.get(endpoint)
    parts = [getattr(view, each, "") for each in ("__module__", "__name__", "__qualname__")]
    return ".".join(parts)


def _listed(manager: Any, name: str, *arguments: Any) -> list[Any]:
    """Return limits of the manager. A callable of the app that returns a rate may need a request, and fail here."""
    found = getattr(manager, name)
    try:
        return list(found(*arguments) if callable(found) else found)
    except Exception:  # noqa: BLE001  # whatever that callable raises
        return [_Dynamic]


class _Dynamic:
    """A placeholder for limits whose rate depends on the request."""

    limit = "a rate from a callable"
    methods = None
    exempt_when = None
    override_defaults = True


def _counts(limit: Any, method: str) -> bool:
    return limit.methods is None or method.lower() in limit.methods


def _facts(limiter: Any, limits: list[Any], method: str, where: str) -> Iterator[Foreign]:
    filtered = ", unless a request_filter says otherwise" if getattr(limiter, "_request_filters", ()) else ""
    for each in limits:
        if _counts(each, method):
            condition = ", with exempt_when" if each.exempt_when else ""
            scope = "view" if where == "decorated" else "blueprint" if where == "blueprint" else "app"
            yield Foreign(NAME, "limit", f"{each.limit} ({where}{condition}{filtered})", scope)
