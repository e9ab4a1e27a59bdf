"""The outcome of routing a request: an endpoint, a redirect, a 404, a 405, or an app mounted beside this one."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect, Rule

from ..core.app_state import AppState
from ..core.facts import EVERY_METHOD
from ..core.url_patterns import VARIABLE
from ..support.text import did_you_mean, printable
from .example_paths import example_url
from .inventory import host_of, methods_of
from .masking import shown_url
from .mounted_apps import mount_above
from .rehearsal import Asked

Outcome: TypeAlias = Literal["endpoint", "automatic", "redirect", "wrong method", "no rule", "refused", "mount"]
"""The outcome of routing. Flask itself answers an ``automatic`` OPTIONS."""

CLOSE = 0.6
"""The similarity from which a rule is suggested for an unknown path, from 0 to 1."""
OF_VARIABLE = 0.7
"""The similarity of a variable part of a rule and any segment."""
MOST_SUGGESTED = 3


@dataclass(frozen=True, slots=True)
class Match:
    """The outcome of routing one request.

    :ivar methods: the methods that the path takes.
    :ivar location: the URL of a redirect.
    :ivar suggestions: the rules most similar to a path that no rule matches.
    :ivar mount: the prefix and the application of the mount that takes the request.
    """

    outcome: Outcome
    text: str
    rule: Rule | None = None
    methods: tuple[str, ...] = ()
    location: str = ""
    suggestions: tuple[str, ...] = ()
    mount: tuple[str, Any] | None = None


def route(app: Flask, asked: Asked) -> Match:
    request = app.request_class(asked.environ(app))
    path, method = printable(request.path), asked.method
    mount = mount_above(app, request.path)
    if mount is not None:
        return Match("mount", f"{mount[0]} is mounted beside this app: no policy of this app sees {path}.", mount=mount)
    try:
        adapter = app.create_url_adapter(request)
        if adapter is None:
            return Match("no rule", "Neither SERVER_NAME nor any rule names this host.")
        rule = adapter.match(return_rule=True)[0]
    except RequestRedirect as redirect:
        return Match("redirect", f"Routing sends {path} to {shown_url(redirect.new_url)}.", location=redirect.new_url)
    except MethodNotAllowed as error:
        methods = tuple(sorted(error.valid_methods or ()))
        return Match("wrong method", f"{path} takes {', '.join(methods)}, and not {method}.", methods=methods)
    except NotFound:
        return Match("no rule", f"No rule matches {path}.", suggestions=tuple(like(app, request.path)))
    except HTTPException as error:
        return Match("refused", f"Flask refuses the request before routing: {error.description}")
    methods = tuple(sorted(rule.methods or ()))
    if method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
        return Match("automatic", f"Flask answers OPTIONS for {rule.rule} itself.", rule, methods)
    return Match("endpoint", f"{rule.rule} is served by {rule.endpoint}.", rule, methods)


def like(app: Flask, path: str) -> list[str]:
    """Return the rules similar to `path`, the most similar first."""
    scored = {rule.rule: _likeness(rule.rule, path) for rule in app.url_map.iter_rules()}
    best = sorted(scored, key=lambda rule: (-scored[rule], rule))
    return [rule for rule in best if scored[rule] >= CLOSE][:MOST_SUGGESTED]


def _likeness(rule: str, path: str) -> float:
    """Return the similarity of a rule and a path, from 0 to 1: as a whole, or segment by segment."""
    wanted, given = rule.lower().strip("/").split("/"), path.lower().strip("/").split("/")
    whole = 0.0 if VARIABLE.search(rule) else _ratio("/".join(wanted), "/".join(given))
    if len(wanted) != len(given):
        return whole
    return max(whole, sum(map(_segment_likeness, wanted, given)) / len(wanted))


def _segment_likeness(wanted: str, given: str) -> float:
    return OF_VARIABLE if VARIABLE.search(wanted) else _ratio(wanted, given)


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


# From the command line -----------------------------------------------------------------------------------------------


def path_of(app: Flask, target: str, method: str | None) -> tuple[str, str]:
    """Return the path or URL, and the method, of a request to `target`, which is a path, a URL or an endpoint.

    :param method: the method. By default GET, or another method of the endpoint.
    :raises LookupError: for an unknown endpoint or method, and for a rule that no example path fits.
    """
    if target.startswith("/") or urlsplit(target).netloc:
        return target, method or "GET"
    if target not in app.view_functions:
        hint = did_you_mean(target, app.view_functions)
        raise LookupError(f"unknown endpoint {target!r}{hint}; a path begins with a slash")
    rules = list(app.url_map.iter_rules(target))
    possible = [each for rule in rules for each in methods_of(AppState.of(app), rule)]
    asked = method or ("GET" if not possible or {"GET", EVERY_METHOD} & set(possible) else possible[0])
    rule = next((rule for rule in rules if rule.methods is None or asked in rule.methods), None)
    if rule is None:
        raise LookupError(f"endpoint {target!r} does not take {asked}")
    url = example_url(rule)
    if url is None:
        raise LookupError(f"no example value fits {rule.rule}: write a path instead of the endpoint")
    host = host_of(rule)
    if not host:
        return url, asked
    server = host if app.url_map.host_matching else f"{host}.{app.config.get('SERVER_NAME') or 'localhost'}"
    return f"{app.config['PREFERRED_URL_SCHEME']}://{server}{url}", asked
