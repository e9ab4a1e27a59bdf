"""The hooks by which an app runs plans."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask

from ..support.header_fields import field_names, pairs_of
from ..typing import Response
from .app_state import AppState
from .config import ENABLED
from .denials import Denied
from .denied_answer import denied_answer
from .flask_versions import current_context
from .plan_lookup import find_plan
from .report_mode import note_denial
from .request_run import ATTRIBUTE, NOTHING, Run, Teardown
from .start import start_serving

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

log: logging.Logger = logging.getLogger("flask_guard")


def install_hooks(app: Flask, state: AppState) -> None:
    """Set the hooks, at this place among the app's own.

    The plan is found, and the clock started, in a URL value preprocessor, because those run before every
    ``before_request`` hook: a request that an earlier hook answers still gets its headers and its log record.
    Flask calls ``after_request`` hooks in reverse, so the first one sees the response last. Where no hook of the app
    comes between, one hook does the work of the two, before the view and after it.
    """
    preprocessors, before, after = (
        app.url_value_preprocessors,
        app.before_request_funcs[None],
        app.after_request_funcs[None],
    )
    begin, leave = _begin(state), _leave(state)
    preprocess, enter = _preprocess(begin), _enter(begin)

    def join() -> None:
        if before[0] is enter and [each for hooks in preprocessors.values() for each in hooks] == [preprocess]:
            preprocessors[None].clear()
        if after[:2] == [_see_out, leave]:
            state.has_last_word = True
            del after[0]

    app.url_value_preprocessor(preprocess)
    app.before_request(enter)
    app.after_request(leave)
    after.insert(0, _see_out)
    app.teardown_request(_teardown)
    state.once_planned.append(join)


# The hooks are plain functions, and as flat as they are, because every request goes through them.


def _begin(state: AppState) -> Callable[[Any], Run | None]:
    plans = state.plans

    def begin(context: Any) -> Run | None:
        """Find the plan, and start the clock. Return None if the plan is quiet."""
        request = context.request
        rule, method = request.url_rule, request.method
        plan = plans.get((rule.endpoint, method)) if rule is not None and not state.blocks else None
        if plan is None or not state.serving or state.error is not None:
            return _begin_slowly(state, context)
        if plan.quiet:
            request.__dict__[ATTRIBUTE] = context, plan, rule, method
            return None
        run = request.__dict__[ATTRIBUTE] = Run(state, plan, request, rule, context, method)
        return run

    return begin


def _preprocess(begin: Callable[[Any], Run | None]) -> Callable[[str | None, object], None]:
    def preprocess(_endpoint: str | None, _values: object) -> None:
        begin(current_context())

    return preprocess


def _begin_slowly(state: AppState, context: Any) -> Run:
    """Begin a request whose plan is not at hand, or that a hook of the app ended before it could begin.

    :raises ConfigError: if a mistake keeps the app from serving; the same one for every request.
    """
    state, request = state.here(), context.request
    run = request.__dict__[ATTRIBUTE] = Run(state, NOTHING, request, request.url_rule, context, request.method)
    off = state.off_here()
    if state.config[ENABLED] and not (off is not None and off.keys is None):
        start_serving(state)
        if state.error is not None:
            raise state.error
        run.plan, run.rule = find_plan(state, request, context.url_adapter)
    return run


def _enter(begin: Callable[[Any], Run | None]) -> Callable[[], ResponseReturnValue | None]:
    def enter() -> ResponseReturnValue | None:
        """Run the part of the plan before the view."""
        context = current_context()
        run: Any = context.request.__dict__.get(ATTRIBUTE) or begin(context)
        if type(run) is not Run:
            return None
        try:
            for step in run.plan.enter:
                answer = step(run)
                if answer is not None:
                    return answer if isinstance(answer, Response) else _response_of(run, step, answer)
        except Denied as denial:
            note_denial(run, denial)
            response = denied_answer(run, denial)
            if response is None:
                raise
            return response
        run.entered = True
        return None

    return enter


def _leave(state: AppState) -> Callable[[Response], Response]:
    def leave(response: Response) -> Response:
        """Run the part of the plan on the response."""
        context = current_context()
        run: Any = context.request.__dict__.get(ATTRIBUTE) or _begin_slowly(state, context)
        if type(run) is not Run:
            return response
        if run.left:  # a hook that failed after this was answered with a 500, which leaves too
            run.outgoing = ()
        run.left = True
        if run.denial is not None:
            _keep_fields(run.denial, response)
        for step in run.plan.leave:
            replaced = step(run, response)
            if replaced is not None:
                response = replaced if isinstance(replaced, Response) else _response_of(run, step, replaced)
        if state.has_last_word:
            for call in run.outgoing:
                call(run, response)
        return response

    return leave


def _see_out(response: Response) -> Response:
    """Show the response as it goes out to those that asked for it."""
    run: Any = current_context().request.__dict__.get(ATTRIBUTE)
    if type(run) is Run:
        for call in run.outgoing:
            call(run, response)
    return response


def _teardown(error: BaseException | None) -> None:
    """Run the teardowns whatever happened, and let go of the run: else it and the request would be a cycle.

    A copy of the request context, as `flask.copy_current_request_context` makes one for a thread, ends nothing.
    """
    context = current_context()
    kept = context.request.__dict__
    run: Any = kept.get(ATTRIBUTE)
    if type(run) is not Run:
        if run is not None and run[0] is context:
            del kept[ATTRIBUTE]
    elif run.context is context:
        del kept[ATTRIBUTE]
        run.context = None
        for step in run.plan.teardown:
            _run_teardown(step, run, error)
        if run.denial is not None or run.would_deny:
            _cut_tracebacks(run, error)


def _cut_tracebacks(run: Run, error: BaseException | None) -> None:
    """Let go of the frames that raised denials: they hold the denials in turn, and the request."""
    for denial in (run.denial, *run.would_deny) if run.would_deny else (run.denial,):
        if denial is not None and denial is not error:
            denial.__traceback__ = None


def _run_teardown(step: Teardown, run: Run, error: BaseException | None) -> None:
    try:
        step(run, error)
    except Exception:
        log.exception("a policy failed while the request was torn down")


def _response_of(run: Run, step: object, answer: object) -> Response:
    calls = (*run.plan.enter, *run.plan.leave)
    name = next(name for call, name in zip(calls, run.plan.sources, strict=True) if call is step)
    return made_response(run.state.app, f"policy {name}", answer)


def made_response(app: Flask, source: str, answer: Any) -> Response:
    """Return the response that `source` gave as any of the values that a view may return.

    :raises TypeError: if the value is none of them. The message has its type only, because the value may be secret.
    """
    try:
        response = app.make_response(answer)
    except (TypeError, ValueError, AttributeError) as error:
        types = [type(each).__name__ for each in answer] if isinstance(answer, tuple) else []
        shown = f"({', '.join(types)})" if types else type(answer).__name__
        raise TypeError(f"{source} returned a value that is not a response: {shown}. {_VALUES}") from error
    if not 100 <= response.status_code <= 999:
        raise TypeError(f"{source} returned a response with the status {response.status!r}. {_VALUES}")
    return response


_VALUES = (
    "Return None to go on, or what a view may return: a Response, a string, a dict, a list, or (body, status, headers)"
)


def _keep_fields(denial: Denied, response: Response) -> None:
    """Put back the fields that a denial carries, such as its challenge, if an error handler of the app rendered it.

    With another status, only the fields of which it still says something true.
    """
    pairs = pairs_of(response.headers)
    for pair in denial.headers:
        if pair not in pairs:
            _put_back(denial, response)
            return


def _put_back(denial: Denied, response: Response) -> None:
    present = field_names(response.headers)
    for name, value in denial.headers:
        field = name.lower()
        if field not in present and (response.status_code == denial.code or _suits(field, response.status_code)):
            response.headers.add(name, value)


def _suits(field: str, status: int) -> bool:
    """Return whether a field of a denial suits a response with another status.

    A challenge may be on any response to which credentials make a difference, and must be on a 401 (RFC 9110, section
    11.6.1). ``Retry-After`` suits whatever a later request may escape (section 10.2.3). An app that answers 404 or 410
    says that there is nothing, and both would contradict it.
    """
    if field == "www-authenticate":
        return 400 <= status < 500 and status not in _NOTHING_THERE
    return field == "retry-after" and status >= 400 and status not in _NOTHING_THERE


_NOTHING_THERE = (404, 410)
