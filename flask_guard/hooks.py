"""The hooks by which an app runs plans."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flask import Flask, Request

from .plan import Plan
from .problems import Denied
from .routing import plan_and_rule
from .run import ATTRIBUTE, Run, this_request
from .shadow import announce
from .state import AppState
from .typing import Response, Teardown

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

log: logging.Logger = logging.getLogger("flask_guard")

NOTHING = Plan(None, "")
"""The plan of a request while the app's policies are switched off, or while its own cannot be made."""


def install_hooks(app: Flask, state: AppState) -> None:
    """Set the hooks, at this place among the app's own.

    The plan is found, and the clock started, in a URL value preprocessor, because those run before every
    ``before_request`` hook: a request that an earlier hook answers still gets its headers and its log record.
    """
    hooks = _Hooks(state)
    app.url_value_preprocessor(hooks.begin)
    app.before_request(hooks.enter)
    app.after_request(hooks.leave)
    app.teardown_request(hooks.teardown)


class _Hooks:
    """The four moments of a request. They are as flat as they are because every request goes through them."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._plans = state.plans
        self._request = this_request._get_current_object

    def begin(self, endpoint: str | None, _values: object) -> None:
        """Find the plan, and start the clock."""
        state = self._state
        request = self._request()
        plan = self._plans.get((endpoint, request.method)) if state.serving and not state.disabled else None
        if plan is not None:
            Run(state, plan, request, request.url_rule)
        else:
            self._begin_slowly(request)

    def _begin_slowly(self, request: Request) -> Run:
        state = self._state
        run = Run(state, NOTHING, request, request.url_rule)
        if state.config.enabled and not state.disabled:
            state.start_serving()
            run.plan, run.rule = plan_and_rule(state, request)
        return run

    def enter(self) -> ResponseReturnValue | None:
        """Run what comes before the view."""
        request = self._request()
        run: Run = request.__dict__.get(ATTRIBUTE) or self._begin_slowly(request)
        try:
            for step in run.plan.enter:
                answer = step(run)
                if answer is not None:
                    return answer
        except Denied as denial:
            denial.error_format = self._state.config.error_format
            run.denial = denial
            announce(run, denial)
            raise
        run.entered = True
        return None

    def leave(self, response: Response) -> Response:
        """Run what acts on the response."""
        request = self._request()
        run: Run = request.__dict__.get(ATTRIBUTE) or self._begin_slowly(request)
        if run.denial is not None:
            _keep_fields(run.denial, response)
        for step in run.plan.leave:
            response = step(run, response) or response
        return response

    def teardown(self, error: BaseException | None) -> None:
        """Run what must run whatever happened, and let go of the run: else it and the request would be a cycle."""
        run: Run | None = self._request().__dict__.pop(ATTRIBUTE, None)
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
        for name, value in denial.headers:
            if name not in response.headers:
                response.headers[name] = value
