"""Which plan a request gets, where that is not simply the plan of its endpoint and method."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from urllib.parse import unquote, urlsplit

from flask import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import MapAdapter, RequestRedirect, Rule

from .app_state import AppState
from .plan import Plan, make_plan, paths_of
from .policy import Target
from .url_patterns import MountedPaths

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
"""The first of these that a path has stands for it when a request names a method that it lacks."""
MOST_REDIRECTS = 5
"""Redirects in a row that are followed to the endpoint that they lead to."""
MOST_INVENTED = 100
"""Plans that are kept for methods outside `METHODS` of rules that take every method."""


def find_plan(state: AppState, request: Request, adapter: MapAdapter | None) -> tuple[Plan, Rule | None]:
    """Return the plan of `request` and the URL rule that serves it.

    A preflight gets the plan of the request that it announces, a redirect that routing makes that of the endpoint that
    it leads to, a 405 that of an endpoint that the path does have, a 404 below a guarded blueprint's prefix that
    blueprint's, and any other the app's.
    """
    if adapter is None:
        return _unmatched(state, request, adapter), None
    if is_preflight(request):
        return _preflight(state, request, adapter)
    if request.url_rule is not None:
        return endpoint_plan(state, request.url_rule, request.method, request.path), request.url_rule
    if isinstance(request.routing_exception, RequestRedirect):
        rule = _rule_for(adapter, request.method)
        if rule is not None:
            return endpoint_plan(state, rule, request.method, request.path), None
    rule = _other_rule(adapter)
    if rule is not None:
        return endpoint_plan(state, rule, _method_of(rule), request.path), None
    return _unmatched(state, request, adapter), None


def is_preflight(request: Request) -> bool:
    """Return whether `request` is a CORS preflight (Fetch, section 3.2.2)."""
    return request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.environ


def endpoint_plan(state: AppState, rule: Rule, method: str, path: str | None = None) -> Plan:
    """Return the plan of the endpoint of `rule`, made at the first call for each method.

    :param path: the path of the request, on which the plan depends where a scope by path covers some paths of a rule.
    """
    automatic = method == "OPTIONS" and is_answered_for(state, rule)
    target = Target(state, rule.endpoint, method, automatic=automatic, paths=_paths(state, rule.endpoint, path))
    return kept_plan(target)


def _paths(state: AppState, endpoint: str | None, path: str | None) -> tuple[str, ...]:
    """Return the scopes by path that hold for a request because of its path."""
    scopes = state.service(paths_of)
    if path is None or not scopes.all or (endpoint is not None and not scopes.depends_on_path(endpoint)):
        return ()
    return scopes.covering(path)


def is_answered_for(state: AppState, rule: Rule) -> bool:
    """Return whether Flask, or a decorator around the view of `rule`, answers OPTIONS in place of that view."""
    if getattr(rule, "provide_automatic_options", False):
        return True
    view = state.app.view_functions.get(rule.endpoint)
    return view is not None and any(answers(state, view) for answers in state.answer_options)


def kept_plan(target: Target) -> Plan:
    """Return the plan of `target`, made at the first call."""
    state = target.state
    off = state.off_here()
    if off is not None and off.keys:
        target = dataclasses.replace(target, off=off.keys)
    key = plan_key(target)
    found: Plan | None = state.plans.get(key)
    if found is not None:
        return found
    with state.lock:
        if key not in state.plans:
            plan = make_plan(target)
            if target.method not in METHODS and not _may_keep(target):
                return plan
            state.plans[key] = plan
        kept: Plan = state.plans[key]
        return kept


def plan_key(target: Target) -> Hashable:
    """Return the key of a plan: short for the usual requests, whose plan is looked up with it at once.

    OPTIONS is not usual: it may be a preflight, and two rules of one endpoint may differ in what answers it.
    """
    special = target.preflight or target.automatic or target.off or target.method == "OPTIONS"
    usual = target.endpoint is not None and not special
    if usual and (paths := target.state.service(paths_of)).all and paths.depends_on_path(target.endpoint or ""):
        usual = False
    return (target.endpoint, target.method) if usual else target


def _may_keep(target: Target) -> bool:
    """Return whether a plan for an unusual method may be kept. Clients can invent methods without end."""
    rules = target.app.url_map.iter_rules(target.endpoint) if target.endpoint is not None else ()
    if any(rule.methods is not None and target.method in rule.methods for rule in rules):
        return True
    return sum(1 for plan in target.state.plans.values() if plan.method not in METHODS) < MOST_INVENTED


def _preflight(state: AppState, request: Request, adapter: MapAdapter) -> tuple[Plan, Rule | None]:
    method = request.environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"].upper()
    own, kept = request.url_rule, state.service(_PreflightPlans)
    if own is not None and not state.blocks and kept.serves(own, method):
        plan = kept.plans.get((own.endpoint, method)) or kept.find(own, method)
        if plan is not None:
            return plan, own
    rule = _rule_for(adapter, method) if method else None
    served = rule or _other_rule(adapter)
    if served is None:
        return _unmatched(state, request, adapter, preflight=True), None
    announced = method if rule else _method_of(served)
    paths = _paths(state, served.endpoint, request.path)
    plan = kept_plan(Target(state, served.endpoint, announced, preflight=True, automatic=True, paths=paths))
    if own is not None and not getattr(own, "provide_automatic_options", False) and not _answers_preflights(plan):
        return endpoint_plan(state, own, "OPTIONS", request.path), own
    return plan, rule


class _PreflightPlans:
    """The plans of preflights whose own rule also serves the announced request: most, and no other rule is searched.

    :ivar plans: by endpoint and announced method. They answer the preflight, whatever its path.
    """

    def __init__(self, state: AppState) -> None:
        self.plans: dict[tuple[str, str], Plan] = {}
        self._state = state
        rules = state.app.url_map.iter_rules()
        self._all_take_options = all(rule.methods is None or "OPTIONS" in rule.methods for rule in rules)

    def serves(self, rule: Rule, method: str) -> bool:
        """Return whether `rule`, which serves OPTIONS on a path, serves `method` there.

        Where all rules take OPTIONS, the paths of those that routing tries before it are others.
        """
        return self._all_take_options and rule.methods is not None and method in rule.methods

    def find(self, rule: Rule, method: str) -> Plan | None:
        """Return the plan, and keep it; None if the plan does not answer, or depends on the path."""
        if self._state.service(paths_of).depends_on_path(rule.endpoint):
            return None
        plan = kept_plan(Target(self._state, rule.endpoint, method, preflight=True, automatic=True))
        if not _answers_preflights(plan):
            return None
        self.plans[rule.endpoint, method] = plan
        return plan


def _answers_preflights(plan: Plan) -> bool:
    return any(placed.policy.answers_preflights for placed in plan)


def _rule_for(adapter: MapAdapter, method: str) -> Rule | None:
    """Return the rule that serves `method` on the path, or where a redirect of that leads."""
    try:
        return _match(adapter, method)
    except HTTPException:
        return None


def _other_rule(adapter: MapAdapter) -> Rule | None:
    """Return a rule that matches the path with some method."""
    try:
        _match(adapter, "--")
    except MethodNotAllowed as error:
        valid = set(error.valid_methods or ())
        return next((rule for each in METHODS if each in valid and (rule := _rule_for(adapter, each))), None)
    except HTTPException:
        pass
    return None


def _match(adapter: MapAdapter, method: str) -> Rule:
    """Return the rule that serves `method` on the path, after the redirects that routing makes.

    :raises HTTPException: if there is none, or it is on another host or beyond too many redirects.
    """
    path = None
    for _ in range(MOST_REDIRECTS):
        try:
            return adapter.match(path, method=method, return_rule=True)[0]
        except RequestRedirect as redirect:
            path = _path_of(adapter, redirect.new_url)
    raise NotFound


def _path_of(adapter: MapAdapter, url: str) -> str:
    """Return the path of an absolute URL within the app."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc != adapter.get_host(None) or not path.startswith(adapter.script_name):
        raise NotFound
    return "/" + path[len(adapter.script_name) :]


def _method_of(rule: Rule) -> str:
    return next((each for each in METHODS if each in (rule.methods or METHODS)), "GET")


def _unmatched(state: AppState, request: Request, adapter: MapAdapter | None, *, preflight: bool = False) -> Plan:
    method = request.method if request.method in METHODS else "GET"
    above = state.service(_mounted_paths).blueprint_above(request.path, getattr(adapter, "subdomain", None) or "")
    paths = _paths(state, None, request.path)
    return kept_plan(Target(state, None, method, blueprint=above, preflight=preflight, paths=paths))


def _mounted_paths(state: AppState) -> MountedPaths:
    return MountedPaths(state.mounts, state.app.url_map)
