"""The explanation of one request, as one document: ``flask guard explain --json``.

The document has the schema ``flask_guard.explain/1``. Later versions of the same number only add to it::

    {"schema": "flask_guard.explain/1", "app": "shop", "guard": true, "enabled": true,
     "request": {"method": "POST", "path": "/orders?dry=…", "headers": [["Authorization", "Bearer …"]], "address": …},
     "routing": {"outcome": "endpoint", "text": …, "rule": "/orders", "endpoint": …, "site": …, "methods": […],
                 "location": "", "suggestions": [], "mount": null},
     "policies": [{…as in flask_guard.routes/1, "verdict": "denied", "reason": "missing", "status": 401,
                   "enter_us": 12.5, "leave_us": 3.1, "added": [["X-Request-ID", "…"]], "removed": [],
                   "with_previous": false, "merged": false}, …],
     "left_out": [{"text": …, "scope": …, "site": …, "why": "replaced", "by": "limit(10/minute)", "by_site": …}, …],
     "others": [FOREIGN, …],
     "hooks": [{"name": …, "scope": "app", "site": …, "us": 3.2, "status": null, "error": null}, …],
     "view": {"outcome": "ran" | "left out" | "not reached", "us": 80.1, "status": 201},
     "answer": {"status": 401, "reason": "UNAUTHORIZED", "headers": [[name, value], …], "detail": "…"},
     "decision": {"by": "policy", "name": "require_api_key", "site": …, "why": …, "fix": ["…"]},
     "would_deny": [{"policy": …, "reason": …}]}

Outcomes of routing are ``endpoint``, ``automatic`` (Flask answers OPTIONS itself), ``redirect``, ``wrong method``, ``no
rule``, ``refused`` and ``mount``. A document about a mount has only ``request`` and ``routing``. Verdicts are
``allowed``, ``denied``, ``would deny``, ``answered``, ``failed``, ``not reached`` and ``response only``. The reasons
for leaving a policy out are ``replaced``, ``merged`` (into a nearer one), ``exempt``, ``repeated``, ``not concerned``
and ``switched off``. Policies compiled into one step share its costs and fields, and the first of them has both in the
document. Credentials and query values are masked. The text of an exception is left out if the request has a body.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias, cast, get_args

from flask import Flask

from ..core.app_state import AppState
from ..core.config import ENABLED
from ..core.facts import Purpose
from ..core.plan import LeftOut, Plan
from ..core.policy import SAFE_METHODS, Policy
from ..core.tracing import StepTrace, Verdict
from ..typing import Mode
from .decisions import By, decide, detail_of
from .foreign import ForeignFacts
from .inventory import site_of
from .masking import secrets_in, shown_request_value, shown_url, shown_value, without
from .matching import Match, Outcome, route
from .mounted_apps import name_of
from .rehearsal import Asked, Rehearsed, rehearse
from .scopes import left_out
from .wording import describe_placed, shown

SCHEMA = "flask_guard.explain/1"

RunView: TypeAlias = Literal["if safe", "always", "never"]
Why: TypeAlias = Literal["replaced", "exempt", "repeated", "not concerned", "switched off", "merged"]
ViewOutcome: TypeAlias = Literal["ran", "left out", "not reached"]

WORDS = frozenset(word for words in (Outcome, Verdict, Why, ViewOutcome, By, Purpose, Mode) for word in get_args(words))
"""The words of the document that programs read. A credential that equals such a word does not mask the word."""


def explain(app: Flask, asked: Asked, *, run_view: RunView = "if safe") -> dict[str, Any]:
    """Return the explanation of a request: routing, every policy with its verdict, the answer, and the remedy.

    :param run_view: whether the view and its decorators run if every policy lets the request through. By default, they
        run for methods that change no state.
    :raises ConfigError: if a mistake keeps the app from serving.
    """
    document = _explained(app, asked, run_view)
    secrets = secrets_in(asked.headers, asked.path, AppState.of(app).credentials)
    return cast("dict[str, Any]", without(secrets, document, WORDS))


def _explained(app: Flask, asked: Asked, run_view: RunView) -> dict[str, Any]:
    match = route(app, asked)
    document = _head(app, asked, match)
    if match.outcome == "mount":
        return document
    runs = run_view == "always" or (run_view == "if safe" and asked.method in SAFE_METHODS)
    seen = rehearse(app, asked, run_view=runs)
    plan = seen.run.plan if seen.run is not None and isinstance(seen.run.plan, Plan) else None
    return document | {
        "policies": [each for step in seen.steps for each in _describe_step(step, app)],
        "left_out": [_describe_left_out(each, plan) for each in left_out(plan.target)] if plan is not None else [],
        "others": [each.describe() for each in _others(app, match, asked)],
        "hooks": [_describe_hook(hook, passage) for hook, passage in seen.hooks],
        "view": _describe_view(seen),
        "answer": {
            "status": seen.status,
            "reason": seen.reason,
            "headers": _shown_fields(seen.headers),
            "detail": detail_of(seen),
        },
        "decision": decide(match, seen).describe(),
        "would_deny": [
            {"policy": each.policy, "reason": each.reason} for each in (seen.run.would_deny if seen.run else ())
        ],
    }


def _head(app: Flask, asked: Asked, match: Match) -> dict[str, Any]:
    state = AppState.of(app)
    return {
        "schema": SCHEMA,
        "app": app.name,
        "guard": state.guard is not None,
        "enabled": state.config[ENABLED],
        "request": {
            "method": asked.method,
            "path": shown_url(asked.path),
            "headers": [[name, shown_request_value(name, value)] for name, value in asked.headers],
            "address": asked.address,
        },
        "routing": _describe_match(app, match, asked.method),
    }


def _describe_match(app: Flask, match: Match, method: str) -> dict[str, Any]:
    endpoint = match.rule.endpoint if match.rule is not None else None
    view = app.view_functions.get(endpoint) if endpoint is not None else None
    return {
        "outcome": match.outcome,
        "text": match.text,
        "rule": match.rule.rule if match.rule is not None else None,
        "endpoint": endpoint,
        "site": site_of(view, method),
        "methods": list(match.methods),
        "location": shown_url(match.location) if match.location else "",
        "suggestions": list(match.suggestions),
        "mount": {"path": match.mount[0], "app": name_of(match.mount[1])} if match.mount is not None else None,
    }


# The plan ------------------------------------------------------------------------------------------------------------


def _describe_step(step: StepTrace, app: Flask) -> Iterator[dict[str, Any]]:
    """Yield the policies of one step. The first has the costs and fields of the step."""
    state = AppState.of(app)
    effect = {"added": _shown_fields(step.added), "removed": _shown_fields(step.removed)}
    no_effect: dict[str, Any] = {"enter_us": None, "leave_us": None, "added": [], "removed": []}
    for position, placed in enumerate(step.placed):
        yield {
            **describe_placed(placed, state),
            **step.describe(),
            **(effect if position == 0 else no_effect),
            "with_previous": position > 0,
            "merged": placed.policy != placed.mark.what,
        }


def _describe_left_out(each: LeftOut, plan: Plan) -> dict[str, Any]:
    by = each.by
    laid_over = by is not None and any(placed.mark is by and placed.policy != by.what for placed in plan)
    return {
        "text": shown(each.placed.policy),
        "scope": each.placed.scope,
        "site": each.placed.site,
        "why": "merged" if laid_over else each.why,
        "by": None if by is None else shown(by.what) if isinstance(by.what, Policy) else repr(by.what),
        "by_site": str(by.site) if by is not None else None,
    }


def _others(app: Flask, match: Match, asked: Asked) -> Iterable[Any]:
    foreign = ForeignFacts(app)
    if match.rule is None:
        return [hook.fact() for hook in foreign.hooks if hook.scope == "app"]
    return foreign.of_entry(match.rule, app.view_functions.get(match.rule.endpoint), asked.method)


# The request and its answer ------------------------------------------------------------------------------------------


def _shown_fields(fields: Iterable[tuple[str, str]]) -> list[list[str]]:
    return [[name, shown_value(name, value)] for name, value in fields]


def _describe_hook(hook: Any, passage: Any) -> dict[str, Any]:
    return {
        "name": hook.name,
        "scope": hook.scope,
        "site": hook.site,
        "us": passage.us,
        "status": passage.status,
        "error": type(passage.error).__name__ if passage.error is not None else None,
    }


def _describe_view(seen: Rehearsed) -> dict[str, Any]:
    if seen.view is None:
        return {"outcome": "left out" if seen.left_out else "not reached", "us": None, "status": None}
    ran = not seen.layers or seen.layers[-1].code is None or seen.layers[-1].code in seen.entered
    return {"outcome": "ran" if ran else "not reached", "us": seen.view.us, "status": seen.view.status}
