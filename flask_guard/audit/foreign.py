"""Protection by other packages and by the app itself, recognised by the hooks and extensions of the app.

The purpose of a hook or decorator of the app itself is ``unknown``: it may or may not refuse requests. No package is
imported for the recognition, and no code of the app runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from ..core.facts import WRITING, Foreign
from ..core.view_code import functions_in, may_answer, mentions
from ..typing import ViewFunction
from .decorators import Layer, closure_of, layers_of, module_of, shown_origins, site_of_code
from .example_paths import example_path

DESCRIBED = ("flask_guard", "flask_limiter", "flask_talisman", "flask_wtf", "flask_cors")
"""Packages whose hooks have facts of their own, and so are not listed as hooks."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A ``before_request`` hook that may answer.

    :ivar scope: ``app``, or ``blueprint api``.
    :ivar early: whether the hook runs before the policies of the Guard.
    """

    function: Callable[..., Any]
    scope: str
    early: bool = False

    @property
    def name(self) -> str:
        """Return the name, such as ``shop.auth.load_user``."""
        written = getattr(self.function, "__func__", self.function)
        name = getattr(written, "__qualname__", type(written).__qualname__).replace("<locals>.", "")
        return f"{module_of(written)}.{name}"

    @property
    def site(self) -> str | None:
        return site_of_code(getattr(getattr(self.function, "__func__", self.function), "__code__", None))

    def fact(self) -> Foreign:
        is_idle = not may_answer(self.function)
        return Foreign(self.name, "unknown", "a before_request hook that may refuse", self.scope, self.site, is_idle)


class ForeignFacts:
    """The protection of one app by others than the Guard."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._limiters = _limiters_of(app)
        self._talisman = tuple(_talisman(app))
        self._csrf = app.extensions.get("csrf") if _checks_csrf(app) else None
        self._has_cors = any(True for name in app.after_request_funcs for _ in _cors_hooks(app, name))
        self.hooks: tuple[Hook, ...] = tuple(hook for name in app.before_request_funcs for hook in hooks_of(app, name))

    def of_entry(self, rule: Rule, view: ViewFunction | None, method: str) -> tuple[Foreign, ...]:
        """Return the facts that hold for requests of one rule and method."""
        layers = layers_of(self._app, view, method) if view is not None else []
        return tuple(dict.fromkeys(self._facts(rule, view, method, layers)))

    def _facts(self, rule: Rule, view: ViewFunction | None, method: str, layers: list[Layer]) -> Iterator[Foreign]:
        owners = (None, *_blueprints(rule.endpoint))
        yield from self._talisman
        if self._csrf is not None and self._csrf_holds(rule.endpoint, view, method):
            yield self._csrf_fact()
        elif method in WRITING and self._app.config.get("WTF_CSRF_ENABLED", True) and view is not None:
            for form in forms_checked_in(view, method):
                yield Foreign("Flask-WTF", "csrf", f"the token of {form}")
        if self._has_cors:
            path = example_path(rule)
            for owner in owners:
                yield from _cors_hooks(self._app, owner, path)
        for limiter in self._limiters:
            yield from _limits_of(self._app, limiter, rule.endpoint, method, layers)
        scopes = {_scope(owner) for owner in owners}
        yield from (hook.fact() for hook in self.hooks if hook.scope in scopes)
        yield from (_for_method(each.foreign, method) for each in layers if each.foreign is not None)

    # Flask-WTF -------------------------------------------------------------------------------------------------------

    def _csrf_fact(self) -> Foreign:
        methods = ", ".join(sorted(self._app.config.get("WTF_CSRF_METHODS", ())))
        return Foreign("Flask-WTF", "csrf", f"CSRFProtect: {methods}", "app")

    def _csrf_holds(self, endpoint: str, view: ViewFunction | None, method: str) -> bool:
        """Return whether Flask-WTF checks a request. Only private attributes list the exempt views."""
        exempt_views = getattr(self._csrf, "_exempt_views", ())
        exempt_blueprints = getattr(self._csrf, "_exempt_blueprints", ())
        blueprint = self._app.blueprints.get(endpoint.rpartition(".")[0])
        name = f"{getattr(view, '__module__', '')}.{getattr(view, '__name__', '')}"
        is_exempt = name in exempt_views or (blueprint is not None and blueprint in exempt_blueprints)
        return method in self._app.config.get("WTF_CSRF_METHODS", ()) and not is_exempt


def _for_method(fact: Foreign, method: str) -> Foreign:
    """Return the fact about a decorator for one method: those of the known packages let OPTIONS in."""
    if method != "OPTIONS" or fact.purpose != "authentication":
        return fact
    return replace(fact, purpose="unknown", detail=f"{fact.detail}: lets OPTIONS in", is_idle=True)


def forms_checked_in(view: ViewFunction, method: str) -> Iterator[str]:
    """Yield the names of the forms of Flask-WTF whose token the code of a view checks."""
    for function in functions_in(view, method):
        words = set(mentions(function))
        if words.isdisjoint(("validate_on_submit", "validate")) or "csrf" in words:  # Form(meta={"csrf": False})
            continue
        for word in sorted(words):
            form = function.__globals__.get(word)
            if isinstance(form, type) and any(_is_flask_form(base) for base in form.__mro__) and _has_token(form):
                yield word


def _has_token(form: type[Any]) -> bool:
    """Return whether forms of a class have a token. Forms with ``csrf = False`` in ``class Meta`` have none."""
    metas = [vars(base)["Meta"] for base in form.__mro__ if "Meta" in vars(base)]
    says = next((vars(each)["csrf"] for meta in metas for each in meta.__mro__ if "csrf" in vars(each)), True)
    return says is not False


def _is_flask_form(base: type[Any]) -> bool:
    return base.__name__ == "FlaskForm" and base.__module__.partition(".")[0] == "flask_wtf"


def _checks_csrf(app: Flask) -> bool:
    extension = app.extensions.get("csrf")
    is_known = extension is not None and module_of(type(extension)).partition(".")[0] == "flask_wtf"
    return is_known and bool(app.config.get("WTF_CSRF_ENABLED")) and bool(app.config.get("WTF_CSRF_CHECK_DEFAULT"))


# Hooks -------------------------------------------------------------------------------------------------------------


def hooks_of(app: Flask, blueprint: str | None) -> Iterator[Hook]:
    """Yield the ``before_request`` hooks of the app or of a blueprint, without those of known packages."""
    functions = app.before_request_funcs.get(blueprint, ())
    own = [position for position, each in enumerate(functions) if module_of(each) == "flask_guard.core.hooks"]
    for position, function in enumerate(functions):
        if module_of(function).partition(".")[0] not in DESCRIBED:
            yield Hook(function, _scope(blueprint), early=bool(own) and position < own[0])


def _scope(blueprint: str | None) -> str:
    return "app" if blueprint is None else f"blueprint {blueprint}"


def _blueprints(endpoint: str) -> list[str]:
    parts = endpoint.split(".")[:-1]
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _talisman(app: Flask) -> Iterator[Foreign]:
    for function in app.after_request_funcs.get(None, ()):
        talisman = getattr(function, "__self__", None)
        if talisman is not None and module_of(type(talisman)).partition(".")[0] == "flask_talisman":
            redirects = getattr(talisman, "force_https", False) and not app.debug
            csp = "with" if getattr(talisman, "content_security_policy", None) else "without"
            yield Foreign("Flask-Talisman", "headers", f"{csp} CSP{', redirects to https' if redirects else ''}", "app")


def _cors_hooks(app: Flask, blueprint: str | None, path: str | None = None) -> Iterator[Foreign]:
    """Yield the facts about Flask-CORS as an extension.

    :param path: the path that a fact must cover. None for every fact.
    """
    for function in app.after_request_funcs.get(blueprint, ()):
        resources = closure_of(function).get("resources") if module_of(function).startswith("flask_cors") else None
        for pattern, options in resources or ():
            if path is None or function.__globals__["try_match_pattern"](path, pattern):
                origins = "*" if getattr(options, "allow_all_origins", False) else shown_origins(options.origins)
                shown = getattr(pattern, "pattern", pattern)
                credentials = ", with credentials" if options.supports_credentials else ""
                detail = f"CORS({shown}), origins {origins}{credentials}"
                yield Foreign("Flask-CORS", "cors", detail, _scope(blueprint))
                if path is not None:
                    break


# Flask-Limiter -------------------------------------------------------------------------------------------------------


def _limiters_of(app: Flask) -> list[Any]:
    """Return the Limiters that limit requests of `app`."""
    return [each for each in app.extensions.get("limiter", ()) if each.initialized and each.enabled]


def _limits_of(app: Flask, limiter: Any, endpoint: str, method: str, layers: Iterable[Layer]) -> Iterator[Foreign]:
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
    if not exempt & ExemptionScope.APPLICATION:
        yield from _limit_facts(limiter, _listed(manager, "application_limits"), method, "application")
    yield from _limit_facts(limiter, decorated, method, "decorated")
    yield from _limit_facts(limiter, of_blueprint, method, "blueprint")
    is_counted = any(_counts(each, method) for each in explicit)
    takes_defaults = not is_counted or not any(each.override_defaults for each in explicit)
    if takes_defaults and not misplaced and not exempt & ExemptionScope.DEFAULT:
        yield from _limit_facts(limiter, _listed(manager, "default_limits"), method, "default")


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


def _limit_facts(limiter: Any, limits: list[Any], method: str, where: str) -> Iterator[Foreign]:
    filtered = ", unless a request_filter says otherwise" if getattr(limiter, "_request_filters", ()) else ""
    for each in limits:
        if _counts(each, method):
            condition = ", with exempt_when" if each.exempt_when else ""
            scope = "view" if where == "decorated" else "blueprint" if where == "blueprint" else "app"
            yield Foreign("Flask-Limiter", "limit", f"{each.limit} ({where}{condition}{filtered})", scope)
