"""Scanning the templates of an app for code and URLs that the content security policies in force would block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from jinja2 import TemplateError, meta

from ..core.app_state import AppState
from ..core.plan import Plan
from ..core.plan_lookup import endpoint_plan, kept_plan
from ..core.policy import Target
from ..core.view_code import codes_in
from ..core.wrappers import inside
from ..errors import ConfigError
from .csp import Csp, strict_dynamic
from .csp_match import allows_inline, allows_url, deciding
from .page_uses import PAGE, Use, uses_in, uses_in_style
from .secure_headers import SecureHeaders

EXTENSIONS = ("html", "htm", "xhtml", "svg", "j2", "jinja", "jinja2")
DEEPEST = 3
"""Calls between a view and the function that names a template."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a template that a policy in force would block, or may block.

    :ivar file: the file of the template.
    :ivar endpoints: the endpoints whose views render the template; empty if none is seen to.
    :ivar decides: the directive that decides, with its sources.
    :ivar fix: what to do about it.
    """

    template: str
    file: str
    use: Use
    endpoints: tuple[str, ...]
    decides: str
    fix: str


@dataclass(frozen=True, slots=True)
class Page:
    """A template, and the policies of the endpoints that render it."""

    name: str
    file: str
    source: str
    policies: tuple[tuple[Csp, tuple[str, ...]], ...]


def blocked_uses(template: str, policy: Csp) -> Iterator[Use]:
    """Yield the code and the URLs in a page or a template that `policy` would block.

    A URL that the template does not tell is among them, as it may be blocked.
    """
    for use in uses_in(template):
        if not _is_allowed(use, policy):
            yield use
        elif use.directive.startswith("style-src") and not use.url:
            yield from (each for each in uses_in_style(use) if not _is_allowed(each, policy))


def _is_allowed(use: Use, policy: Csp) -> bool:
    if not use.url:
        return allows_inline(policy, use.directive, use.content, has_nonce=use.has_nonce)
    if not use.is_known:
        return deciding(policy, use.directive) is None
    return allows_url(policy, use.directive, use.url, PAGE, has_nonce=use.has_nonce)


def scan(state: AppState) -> list[Finding]:
    """Return the findings in the templates of an app, by file and line."""
    return [finding for page in pages_of(state) for finding in _findings(page)]


def _findings(page: Page) -> Iterator[Finding]:
    for policy, endpoints in page.policies:
        for use in blocked_uses(page.source, policy):
            directive = deciding(policy, use.directive) or use.directive
            decides = " ".join((directive, *(policy.sources(directive) or ())))
            yield Finding(page.name, page.file, use, endpoints, decides, _fix(use, directive, policy))


def _fix(use: Use, directive: str, policy: Csp) -> str:
    if not use.is_known:
        return f"its URL is not in the template: see that {directive} allows its host"
    if use.url:
        if strict_dynamic in (policy.sources(directive) or ()):
            return 'add nonce="{{ csp_nonce() }}"'
        url = urlsplit(use.url)
        return (
            f"add {f'{url.scheme}://{url.netloc}' if url.netloc else f'{url.scheme}:'} to {directive}, or host it here"
        )
    if use.directive == "script-src-attr":
        return "call addEventListener() in a script"
    if use.directive == "style-src-attr":
        return "use a class"
    if use.content.lower().startswith("javascript:"):
        return "use a button, and addEventListener() in a script"
    return f"add nonce=\"{{{{ csp_nonce() }}}}\", and 'nonce' to {directive}; or move it into a file"


# Which policies hold for which template ----------------------------------------------------------------------------


def pages_of(state: AppState) -> list[Page]:
    """Return the templates of an app. One that no view is seen to render gets the policy of the app.

    :raises ConfigError: if the template loader of the app cannot list them.
    """
    env = state.app.jinja_env
    try:
        names = env.list_templates(extensions=EXTENSIONS)
    except TypeError as error:
        raise ConfigError(f"the templates of {state.app.name!r} cannot be listed: {error}") from None
    sources = {name: env.loader.get_source(env, name)[:2] for name in names if env.loader is not None}
    referenced = {name: _referenced(env, source) & set(names) for name, (source, _) in sources.items()}
    by_template: dict[str, dict[Csp, list[str]]] = {name: {} for name in names}
    for endpoint, policy in _policies(state):
        for name in _with_referenced(_named(state.app, endpoint, set(names)), referenced):
            by_template[name].setdefault(policy, []).append(endpoint)
    of_app = _policy_of(kept_plan(Target(state, None, "GET")), Target(state, None, "GET"))
    pages = []
    for name, (source, file) in sources.items():
        held = by_template[name] or ({of_app: []} if of_app is not None else {})
        pages.append(Page(name, file or name, source, tuple((each, tuple(at)) for each, at in held.items())))
    return pages


def _policies(state: AppState) -> Iterator[tuple[str, Csp]]:
    """Yield the endpoints whose responses have a policy, once each, with it."""
    seen = set()
    for rule in state.app.url_map.iter_rules():
        method = next(iter(sorted((rule.methods or {"GET"}) - {"HEAD", "OPTIONS"})), None)
        if method is not None and rule.endpoint not in seen:
            seen.add(rule.endpoint)
            target = Target(state, rule.endpoint, method)
            policy = _policy_of(endpoint_plan(state, rule, method), target)
            if policy is not None:
                yield rule.endpoint, policy


def _policy_of(plan: Plan, target: Target) -> Csp | None:
    """Return the content security policy in force, enforced or only reported."""
    for placed in plan.policies:
        if isinstance(placed.policy, SecureHeaders):
            return next((policy for _, policy in placed.policy.fields_in(target).policies), None)
    return None


def _referenced(env: Any, source: str) -> set[str]:
    """Return the templates that one extends, includes or imports by name."""
    try:
        return {name for name in meta.find_referenced_templates(env.parse(source)) if name is not None}
    except TemplateError:
        return set()


def _with_referenced(names: set[str], referenced: dict[str, set[str]]) -> set[str]:
    found, new = set(), set(names)
    while new:
        found |= new
        new = {each for name in new for each in referenced.get(name, ())} - found
    return found


def _named(app: Flask, endpoint: str, names: set[str]) -> set[str]:
    """Return the templates that a view names, itself or in the functions that it calls."""
    view = app.view_functions.get(endpoint)
    cls = getattr(view, "view_class", None)
    members = [each for base in cls.__mro__[:-1] for each in vars(base).values()] if cls is not None else []
    functions = [found.function for root in (view, *members) for found in inside(root, is_view=lambda _: False)]
    texts = {each for each in members if isinstance(each, str)}
    return names & texts.union(*(_constants(function, DEEPEST) for function in functions))


def _constants(function: Any, depth: int) -> set[str]:
    """Return the text constants of a function, and of those of its module that it names."""
    codes = list(codes_in(function)) if depth else []
    constants = [each for code in codes for each in code.co_consts]
    constants += [each for constant in constants if isinstance(constant, tuple) for each in constant]
    found, namespace = {each for each in constants if isinstance(each, str)}, getattr(function, "__globals__", {})
    for name in codes[0].co_names if codes else ():
        called = namespace.get(name)
        if getattr(called, "__module__", None) == function.__module__ and called is not function:
            found |= _constants(called, depth - 1)
    return found
