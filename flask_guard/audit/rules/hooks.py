"""General rules about the app's own hooks and about the client addresses that it trusts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from ...core.facts import AuditRule, Checks, Finding, Inventory
from ...core.view_code import functions_in, may_answer, mentions
from ...support.text import names
from ..foreign import hooks_of
from ..inventory import site_of
from ..mounted_apps import wsgi_layers

EARLY_HOOK = AuditRule(
    "FG020",
    "warning",
    "A hook answers before every policy",
    "Requests that the hook answers meet no limit, no ban and no key, so attempts against it are not slowed down.",
    "Register the hook after Guard(app), or write it as a @middleware.",
    ("ASVS 8.3.1", "API8:2023"),
)
FORWARDED = AuditRule(
    "FG026",
    "warning",
    "Forwarded headers are read, and no proxy is trusted",
    "Any client can write X-Forwarded-For and similar headers, and so choose its address.",
    "Let ProxyFix read the headers: app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1), and use request.remote_addr.",
    ("ASVS 4.1.3", "API8:2023"),
)
_FORWARDED = frozenset(
    name
    for header in ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded")
    for name in (header, header.lower(), f"HTTP_{header.upper().replace('-', '_')}")
) | {"access_route"}
_INSTALLED = frozenset(("site-packages", "dist-packages"))


def _early_hooks(inventory: Inventory) -> Iterator[Finding]:
    for hook in hooks_of(inventory.app, None):
        if hook.early and not _is_foreign(hook.function, inventory.app) and may_answer(hook.function):
            message = f"{hook.name} is a before_request hook that runs before every policy, and may answer"
            yield EARLY_HOOK.about(f"hook {hook.name}", message, hook.site)


def _is_foreign(function: Callable[..., Any], app: Flask) -> bool:
    """Return whether a function belongs to an installed package, and not to the app."""
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    package = (getattr(function, "__module__", None) or type(function).__module__).partition(".")[0]
    return package != app.import_name.partition(".")[0] and not _INSTALLED.isdisjoint(PurePath(file).parts)


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _forwarded(inventory: Inventory) -> Iterator[Finding]:
    app = inventory.app
    if any(isinstance(layer, ProxyFix) for layer in wsgi_layers(app)):
        return
    hooks = [hook for group in app.before_request_funcs.values() for hook in group]
    functions = [each for view in (*app.view_functions.values(), *hooks) for each in functions_in(view)]
    for function in {id(each): each for each in functions if not _is_foreign(each, app)}.values():
        read = sorted(_FORWARDED.intersection(mentions(function)))
        if read:
            message = f"{_name(function)} reads {names(read)}, which any client can write"
            yield FORWARDED.about(f"function {_name(function)}", message, site_of(function))


CHECKS: Checks = ((EARLY_HOOK, _early_hooks), (FORWARDED, _forwarded))
