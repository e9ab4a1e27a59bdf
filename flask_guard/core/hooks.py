"""The hooks by which an app runs plans."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Flask, Request

from ..support.header_fields import field_names
from ..typing import Response, Teardown
from .app_state import AppState
from .denials import Denied
from .plan import Plan
from .plan_lookup import plan_and_rule
from .report_mode import announce
from .request_run import ATTRIBUTE, Run, this_request

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

log: logging.Logger = logging.getLogger("flask_guard")

NOTHING = Plan(None, "")
"""The plan of a request while the app's policies are switched off, or while its own cannot be made."""


def install_hooks(app: Flask, state: AppState) -> None:
    """Set the hooks, at this place among the app's own.

    The plan is found, and the clock started, in a URL value preprocessor, because those run before every
    ``before_request`` hook: a request that an earlier hook answers still gets its headers and its log record.
    Flask calls ``after_request`` hooks in reverse, so the first one sees the response last.
    """
    app.url_value_preprocessor(_begin(state))
    app.before_request(_enter(state))
    app.after_request(_leave(state))
    app.after_request_funcs[None].insert(0, _see_out)
    app.teardown_request(_teardown)


# The hooks are plain functions, and as flat as they are, because every request goes through them.

current_request: Callable[[], Request] = this_request._get_current_object


def _begin(state: AppState) -> Callable[[str | None, object], None]:
    plans = state.plans

    def begin(endpoint: str | None, _values: object) -> None:
        """Find the plan, and start the clock."""
        request = current_request()
        plan = plans.get((endpoint, request.method)) if state.serving and not state.disabled else None
        if plan is not None:
            Run(state, plan, request, request.url_rule)
        else:
            _begin_slowly(state, request)

    return begin


def _begin_slowly(state: AppState, request: Request) -> Run:
    run = Run(state, NOTHING, request, request.url_rule)
    if state.config.enabled and not state.disabled:
        state.start_serving()
        run.plan, run.rule = plan_and_rule(state, request)
    return run


def _enter(state: AppState) -> Callable[[], ResponseReturnValue | None]:
    def enter() -> ResponseReturnValue | None:
        """Run what comes before the view."""
        request = current_request()
        run: Run = request.__dict__.get(ATTRIBUTE) or _begin_slowly(state, request)
        try:
            for step in run.plan.enter:
                answer = step(run)
                if answer is not None:
                    return answer
        except Denied as denial:
            denial.error_format = state.config.error_format
            run.denial = denial
            announce(run, denial)
            raise
        run.entered = True
        return None

    return enter


def _leave(state: AppState) -> Callable[[Response], Response]:
    def leave(response: Response) -> Response:
        """Run what acts on the response."""
        request = current_request()
        run: Run = request.__dict__.get(ATTRIBUTE) or _begin_slowly(state, request)
        run.outgoing = ()  # it may be the second time: a hook that fails here is answered with a 500, which leaves too
        if run.denial is not None:
            _keep_fields(run.denial, response)
        for step in run.plan.leave:
            response = step(run, response) or response
        return response

    return leave


def _see_out(response: Response) -> Response:
    """Show the response as it goes out to those that asked for it."""
    run: Run | None = current_request().__dict__.get(ATTRIBUTE)
    if run is not None:
        for call in run.outgoing:
            call(run, response)
    return response


def _teardown(error: BaseException | None) -> None:
    """Run what must run whatever happened, and let go of the run: else it and the request would be a cycle."""
    run: Run | None = current_request().__dict__.pop(ATTRIBUTE, None)
    if run is not None:
        for step in run.plan.teardown:
            _run_teardown(step, run, error)


def _run_teardown(step: Teardown, run: Run, error: BaseException | None) -> None:
    try:
        step(run, error)
    except Exception:
        log.exception("a policy failed while the request was torn down")


def _keep_fields(denial: Denied, response: Response) -> None:
    """Put back what a denial must carry, such as its challenge, if the app's own error handler has rendered it."""
    if response.status_code == denial.code:
        present = field_names(response.headers)
        for name, value in denial.headers:
            if name.lower() not in present:
                response.headers.add(name, value)
