"""Which plan a request gets, where that is not simply the plan of its endpoint and method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask.globals import request_ctx
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from .plan import Place, Plan, make_plan
from .policy import Phase

if TYPE_CHECKING:
    from flask import Request
    from werkzeug.routing import MapAdapter, Rule

    from .app_state import AppState

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
"""Methods with plans of their own; the first that a path has stands for it when a request names one that it lacks."""


def plan_and_rule(state: AppState, request: Request) -> tuple[Plan, Rule | None]:
    """Return the plan of `request` and the URL rule that serves it.

    A preflight gets the plan of the request that it announces, a 405 that of an endpoint that the path does have, a
    404 below a guarded blueprint's prefix that blueprint's, and any other the app's.
    """
    adapter: MapAdapter | None = request_ctx.url_adapter
    if adapter is None:
        return _unmatched(state, request, preflight=False), None
    if is_preflight(request):
        return _preflight(state, request, adapter)
    if request.url_rule is not None:
        return endpoint_plan(state, request.url_rule, request.method), request.url_rule
    rule = _other_rule(adapter)
    if rule is not None:
        return endpoint_plan(state, rule, _method_of(rule)), None
    return _unmatched(state, request, preflight=False), None


def is_preflight(request: Request) -> bool:
    """Return whether `request` is a CORS preflight (Fetch, section 3.2.2)."""
    return request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.environ


def endpoint_plan(state: AppState, rule: Rule, method: str) -> Plan:
    """Return the plan of the endpoint of `rule`, made at the first call for each method that the rule has."""
    automatic = method == "OPTIONS" and getattr(rule, "provide_automatic_options", False)
    place = Place(state, rule.endpoint, method, automatic=automatic)
    if method not in (rule.methods or METHODS):
        return make_plan(place)
    if method == "OPTIONS":  # two rules of one endpoint may differ in who answers it
        return _kept_plan(place)
    with state.lock:
        key = (rule.endpoint, method)
        if key not in state.plans:
            state.plans[key] = make_plan(place)
        return state.plans[key]


def _kept_plan(place: Place) -> Plan:
    key = (place.endpoint, place.method, place.blueprint, place.preflight, place.automatic)
    plans = place.state.unusual_plans
    with place.state.lock:
        if key not in plans:
            plans[key] = make_plan(place)
        return plans[key]


def _preflight(state: AppState, request: Request, adapter: MapAdapter) -> tuple[Plan, Rule | None]:
    method = request.environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"].upper()
    rule = _rule_for(adapter, method) if method else None
    served = rule or _other_rule(adapter)
    if served is None:
        return _unmatched(state, request, preflight=True), None
    announced = method if rule else _method_of(served)
    plan = _kept_plan(Place(state, served.endpoint, announced, preflight=True))
    own = request.url_rule
    if own is not None and not getattr(own, "provide_automatic_options", False) and not _answers_preflights(plan):
        return endpoint_plan(state, own, "OPTIONS"), own
    return plan, rule


def _answers_preflights(plan: Plan) -> bool:
    return any(placed.policy.phase is Phase.CORS for placed in plan.policies)


def _rule_for(adapter: MapAdapter, method: str) -> Rule | None:
    try:
        return adapter.match(method=method, return_rule=True)[0]
    except HTTPException:
        return None


def _other_rule(adapter: MapAdapter) -> Rule | None:
    """Return a rule that matches the path with some method."""
    try:
        adapter.match(method="--")
    except MethodNotAllowed as error:
        valid = set(error.valid_methods or ())
        return next((rule for each in METHODS if each in valid and (rule := _rule_for(adapter, each))), None)
    except HTTPException:
        pass
    return None


def _method_of(rule: Rule) -> str:
    return next((each for each in METHODS if each in (rule.methods or METHODS)), "GET")


def _unmatched(state: AppState, request: Request, *, preflight: bool) -> Plan:
    method = request.method if request.method in METHODS else "GET"
    return _kept_plan(Place(state, None, method, blueprint=_blueprint_above(state, request), preflight=preflight))


def _blueprint_above(state: AppState, request: Request) -> str | None:
    """Return the guarded blueprint that is mounted most closely above the request's path."""
    subdomain = getattr(request_ctx.url_adapter, "subdomain", None) or ""
    above = [mount for mount in state.mounts if mount.covers(request.path, subdomain)]
    return max(above, key=lambda mount: mount.rank).blueprint if above else None
