"""One request's passage through its plan, and the check that it happened."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from flask import Request, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.local import LocalProxy
    from werkzeug.routing import Rule

    from ..typing import Response
    from .app_state import AppState
    from .denials import Denied
    from .plan import Plan

ATTRIBUTE = "_flask_guard_run"
"""Where a request carries its run. On the request object: one app called inside another's view has its own."""

this_request: LocalProxy[Request] = cast("LocalProxy[Request]", request)


class Run:
    """What happened to one request so far.

    ``rule`` is the URL rule that serves the request; for a preflight, the one that would serve the announced request,
    or None if the path lacks that method. ``values`` is the policies' own: each keeps what its ``leave`` needs there.
    ``outgoing`` is called with the response as it goes out, after every ``after_request`` hook: a ``leave`` that has to
    see that, and not only what the policies made of it, adds to it.
    """

    __slots__ = ("denial", "entered", "outgoing", "plan", "request", "rule", "started", "state", "values", "would_deny")

    def __init__(self, state: AppState, plan: Plan, request: Request, rule: Rule | None) -> None:
        self.state: AppState = state
        self.plan: Plan = plan
        self.request: Request = request
        self.rule: Rule | None = rule
        self.started: float = perf_counter()
        self.entered: bool = False
        self.denial: Denied | None = None
        self.would_deny: tuple[Denied, ...] = ()
        self.values: dict[str, Any] = {}
        self.outgoing: tuple[Callable[[Run, Response], None], ...] = ()
        request.__dict__[ATTRIBUTE] = self


def run_of(request: Request) -> Run | None:
    """Return the run of `request`, or None if no Guard has seen it."""
    return cast("Run | None", vars(request).get(ATTRIBUTE))


def current_run() -> Run | None:
    """Return the run of the current request, or None outside a guarded request."""
    return run_of(this_request._get_current_object()) if request else None
