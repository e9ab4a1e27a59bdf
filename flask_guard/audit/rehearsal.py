"""A rehearsal: one request runs in this process, through the real plan, and each step is noted.

Nothing that flask_guard keeps changes. Limits are read and not charged, and no failure, strike or use of a key is
counted. Nothing is deferred, logged or signalled. The hooks of the app and of other packages run as for any request.
The view runs unless the caller leaves it out.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from types import CodeType, FrameType
from typing import Any

from flask import Flask, request
from flask.testing import EnvironBuilder
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule
from werkzeug.test import run_wsgi_app

from ..core.app_state import AppState
from ..core.plan import Plan
from ..core.request_run import Run, current_run
from ..core.start import start_serving
from ..core.tracing import TRACE, StepTrace
from ..wsgi.rewritten import close_body
from .decorators import Layer, layers_of, module_of
from .foreign import Hook

OWN = "flask_guard"
PROBLEM = "application/problem+json"
MOST_READ = 65_536
"""Bytes of a problem document that are read. Other bodies are not read."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to rehearse.

    :ivar path: the path with its query, or a whole URL.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    data: bytes = field(default=b"", repr=False)
    address: str = "127.0.0.1"

    def environ(self, app: Flask) -> dict[str, Any]:
        """Return the request as WSGI has it."""
        builder = EnvironBuilder(
            app,
            self.path,
            method=self.method,
            headers=Headers(list(self.headers)),
            data=self.data,
            environ_overrides={"REMOTE_ADDR": self.address},
        )
        with closing(builder):
            return builder.get_environ()


@dataclass(slots=True)
class Passage:
    """The passage of a request through one function: a hook, or the view with its decorators.

    :ivar status: the status of the answer, or of the HTTP error that ended the passage.
    :ivar error: the exception that ended the passage.
    :ivar answered: whether the function answered the request, or raised an exception.
    """

    us: float = 0.0
    status: int | None = None
    error: BaseException | None = None
    answered: bool = False


@dataclass(slots=True)
class Rehearsed:
    """The outcome of a rehearsed request.

    :ivar run: the passage through the plan. None without a Guard.
    :ivar hooks: the ``before_request`` hooks that ran, other than the Guard's.
    :ivar view: the passage through the view and its decorators. None if the request did not get there.
    :ivar layers: the decorators around the view that ran, outside in, and the view, if the view ran.
    :ivar left_out: whether the view would have run, and was left out.
    :ivar error: the exception that no handler took.
    """

    asked: Asked
    status: int = 500
    reason: str = "INTERNAL SERVER ERROR"
    headers: list[tuple[str, str]] = field(default_factory=list)
    problem: bytes = b""
    run: Run | None = None
    rule: Rule | None = None
    hooks: list[tuple[Hook, Passage]] = field(default_factory=list)
    view: Passage | None = None
    layers: list[Layer] = field(default_factory=list)
    entered: set[CodeType] = field(default_factory=set)
    left_out: bool = False
    error: BaseException | None = None

    @property
    def endpoint(self) -> str | None:
        """Return the endpoint whose view was called, or would have been."""
        return self.rule.endpoint if self.rule is not None else None

    @property
    def steps(self) -> tuple[StepTrace, ...]:
        """Return the trace of each step of the plan; nothing without a Guard."""
        return traces_of(self.run) if self.run is not None else ()


def rehearse(app: Flask, asked: Asked, *, run_view: bool = True) -> Rehearsed:
    """Run `asked` through `app`, and return the outcome.

    :param run_view: whether the view and its decorators run if the request gets there.
    :raises ConfigError: if a mistake keeps the app from serving.
    """
    state, seen = AppState.of(app), Rehearsed(asked)
    environ = asked.environ(app)
    with ExitStack() as stack:
        if state.guard is not None:
            start_serving(state)
            if state.error is not None:
                raise state.error
            stack.enter_context(state.rehearsal())
        stack.enter_context(_watching(app, seen, run_view))
        stack.enter_context(_keeping_quiet(app))
        try:
            body, status, headers = run_wsgi_app(app, environ)
        except Exception as error:  # noqa: BLE001  # part of the outcome: in debug mode Flask lets it propagate
            seen.error = error
            return seen
        seen.status, seen.reason = int(status[:3]), status[4:]
        seen.headers = list(headers.items())
        try:
            if headers.get("Content-Type", "").partition(";")[0] == PROBLEM:
                seen.problem = b"".join(body)[:MOST_READ]
        finally:
            close_body(body)
    return seen


@contextmanager
def _keeping_quiet(app: Flask) -> Iterator[None]:
    """Drop the log records of this thread by the package, and Flask's record of an unhandled exception.

    Records by views and hooks of the app are kept.
    """
    thread, log_exception = threading.get_ident(), app.log_exception

    def drop(_record: logging.LogRecord) -> bool:
        return threading.get_ident() != thread

    def log_elsewhere(*details: Any) -> None:
        if threading.get_ident() != thread:
            log_exception(*details)

    log = logging.getLogger(OWN)
    log.addFilter(drop)
    try:
        with _replaced(app, "log_exception", log_elsewhere):
            yield
    finally:
        log.removeFilter(drop)


@contextmanager
def _replaced(app: Flask, name: str, value: Any) -> Iterator[None]:
    """Set an attribute of the app. At the end, its own one or that of its class is there again."""
    own = vars(app).get(name)
    setattr(app, name, value)
    try:
        yield
    finally:
        if own is None:
            delattr(app, name)
        else:
            setattr(app, name, own)


def traces_of(run: Run) -> tuple[StepTrace, ...]:
    """Return the traces of a run; for a run that reached no step, one for each policy of the plan."""
    policies = run.plan.policies if isinstance(run.plan, Plan) else ()
    return TRACE.get(run) or tuple(StepTrace((placed,)) for placed in policies)


# Watching the app ----------------------------------------------------------------------------------------------------


@contextmanager
def _watching(app: Flask, seen: Rehearsed, run_view: bool) -> Iterator[None]:
    """Note in `seen` the way of this thread's requests through hooks and view. Other threads are not watched."""
    thread, hooks, dispatch = threading.get_ident(), app.before_request_funcs, app.dispatch_request

    def watched_dispatch(*context: Any) -> Any:
        if threading.get_ident() != thread or not _reaches_view():
            return dispatch(*context)
        return _through_view(app, seen, run_view, lambda: dispatch(*context))

    watched = {name: [_watched(app, seen, each, name, thread) for each in found] for name, found in hooks.items()}
    watched[None] = [_noting_run(seen, lambda: None, thread), *watched.get(None, [])]
    with _replaced(app, "before_request_funcs", watched), _replaced(app, "dispatch_request", watched_dispatch):
        yield


def _noting_run(seen: Rehearsed, hook: Any, thread: int) -> Any:
    """Return `hook`, which may be the one that begins the run, with a note of the run after it."""

    def noting() -> Any:
        try:
            return hook()
        finally:
            if threading.get_ident() == thread and seen.run is None:
                seen.rule, seen.run = request.url_rule, current_run()

    return noting


def _watched(app: Flask, seen: Rehearsed, hook: Any, name: str | None, thread: int) -> Any:
    if module_of(hook).partition(".")[0] == OWN:
        return _noting_run(seen, hook, thread)

    def watched() -> Any:
        if threading.get_ident() != thread:
            return app.ensure_sync(hook)()
        passage = Passage()
        seen.hooks.append((Hook(hook, "app" if name is None else f"blueprint {name}"), passage))
        return _passed(app, passage, lambda: app.ensure_sync(hook)())

    return watched


def _passed(app: Flask, passage: Passage, call: Callable[[], Any]) -> Any:
    """Return the answer of `call` as a response, or None without one, and note in `passage` how the call ended."""
    start = perf_counter()
    try:
        answer = call()
    except Exception as error:
        passage.error, passage.answered = error, True
        passage.status = error.code if isinstance(error, HTTPException) else 500
        raise
    finally:
        passage.us = round((perf_counter() - start) * 1e6, 1)
    if answer is None:
        return None
    response = app.make_response(answer)
    passage.answered, passage.status = True, response.status_code
    return response


def _reaches_view() -> bool:
    """Return whether a view is about to be called, and not Flask's own answer."""
    rule = request.url_rule
    automatic = request.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False)
    return request.routing_exception is None and not automatic


def _through_view(app: Flask, seen: Rehearsed, run_view: bool, call: Callable[[], Any]) -> Any:
    endpoint = request.endpoint
    view = app.view_functions.get(endpoint) if endpoint is not None else None
    seen.layers = layers_of(app, view, request.method) if view is not None else []
    if not run_view:
        seen.left_out = True
        return app.response_class(status=200)
    passage = seen.view = Passage()
    with _noting_calls(app, {each.code for each in seen.layers if each.code is not None}, seen.entered):
        return _passed(app, passage, call)


@contextmanager
def _noting_calls(app: Flask, wanted: set[CodeType], entered: set[CodeType]) -> Iterator[None]:
    """Note which of the functions with the code `wanted` are called in this thread, or in an event loop for it."""
    thread, to_sync = threading.get_ident(), app.async_to_sync

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code in wanted:
            entered.add(frame.f_code)

    def noting_to_sync(function: Callable[..., Any]) -> Any:
        async def noted(*args: Any, **kwargs: Any) -> Any:  # in the thread of the event loop
            with _profiling(note):
                return await function(*args, **kwargs)

        return to_sync(noted if threading.get_ident() == thread else function)

    with _replaced(app, "async_to_sync", noting_to_sync), _profiling(note):
        yield


@contextmanager
def _profiling(note: Callable[[FrameType, str, Any], None]) -> Iterator[None]:
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)
