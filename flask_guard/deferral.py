"""`defer`: work that need not hold up the response, such as sending a mail.

Deferred calls run in this process, on a few threads, which start when there is work and end without work. A process
that is killed loses its calls. Work that must survive a crash belongs in a queue: Celery, RQ or Dramatiq.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Any, ParamSpec

from flask import Request, current_app, request, request_finished, request_tearing_down
from werkzeug.local import LocalProxy

from .core.app_state import AppState
from .core.concern import Concern
from .core.config import GuardConfig, Setting
from .core.flask_versions import CONTEXTS, current_context, current_flask
from .core.request_run import this_request
from .signals import defer_queue_full
from .support.callables import synchronous, while_alive
from .support.log import log
from .support.options import number, one_of, whole_number
from .support.response_body import size_if_complete, watch_body
from .support.sigterm import call_at_sigterm
from .typing import Flask, Response

P = ParamSpec("P")

ATTRIBUTE = "_flask_guard_deferred"
"""The attribute of a request that holds its deferred calls."""
WORKERS: Setting[int] = Setting("GUARD_DEFER_WORKERS", 4, whole_number(at_least=1))
"""The largest number of threads that `defer` uses in each process."""
QUEUE: Setting[int] = Setting("GUARD_DEFER_QUEUE", 1000, whole_number(at_least=1))
"""The largest number of deferred calls that wait for a thread."""
FULL: Setting[str] = Setting("GUARD_DEFER_FULL", "run", one_of("run", "drop"))
"""The fate of a call without room: ``run`` in line, or ``drop``."""
DRAIN: Setting[float] = Setting("GUARD_DEFER_DRAIN", 5.0, number(0, sys.float_info.max, "seconds"))
"""The seconds for which the end of the process waits for deferred calls."""

IDLE = 0.25
"""Seconds for which a thread waits for work before it ends. A new thread takes a tenth of a millisecond."""
NO_REQUEST = "a deferred function has no request: pass the values that it needs as arguments"
OUTSIDE = ("outside of request context", "no request in this context")
"""The words of Flask, before 3.2 and from then on, where a request is missing."""


def defer(function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Call `function` after the response has been sent.

    ::

        @app.post("/orders")
        def create_order():
            order = save(request.get_json())
            defer(send_confirmation, order.id)
            return {"id": order.id}, 201

    The function runs on a thread when the body has been sent or given up, even if the request failed. For a response
    without a body, it runs when the request is torn down. Outside of a request it runs immediately. Deferred calls run
    in no fixed order.

    The function has a new app context and a copy of the current context variables, such as the request's id. The
    request has ended, so ``flask.request`` raises RuntimeError: pass the values that the function needs. A proxy among
    the arguments, such as ``current_user``, is replaced by its object. The function may be ``async``. An exception is
    logged on the logger ``flask_guard``, and never raised.

    At most ``GUARD_DEFER_WORKERS`` calls run at a time in one process, and ``GUARD_DEFER_QUEUE`` wait. A further call
    runs in line or is dropped, by ``GUARD_DEFER_FULL``, and the signal ``defer_queue_full`` is sent.

    A process that ends, or gets SIGTERM, waits for deferred calls for up to ``GUARD_DEFER_DRAIN`` seconds, and logs the
    calls that were cut off. SIGTERM is handled if the Guard is made in the main thread, and neither the server nor the
    application handles it. Another handler must end the process like ``sys.exit()``.

    While the app is ``TESTING``, calls run in line as soon as the response is ready, and have ended when the test
    client returns. A rehearsed request, such as that of ``flask guard explain``, defers nothing.

    :raises RuntimeError: outside of an app context, and for an app without a Guard.
    :raises TypeError: if an argument is the request.
    """
    if not current_app:
        raise RuntimeError("defer() needs an app context: call it in a request, or inside 'with app.app_context():'")
    app: Flask = current_flask()
    state = AppState.of(app)
    if state.guard is None:
        raise RuntimeError(f"defer() needs a Guard on the app {app.name!r}: call Guard(app) where the app is made")
    if state.here().rehearses is not None:
        return
    deferred = state.resource(Deferred)
    job = Job(app, function, tuple(map(_settled, args)), {name: _settled(value) for name, value in kwargs.items()})
    if request and current_context().app is app:
        vars(this_request._get_current_object()).setdefault(ATTRIBUTE, Batch(deferred)).add(job)
    else:
        deferred.run(job)


def _settled(value: Any) -> Any:
    """Return `value`, or the object of a proxy."""
    settled = value._get_current_object() if isinstance(value, LocalProxy) else value
    if isinstance(settled, Request):
        raise TypeError(f"the request cannot be an argument of a deferred function: it has ended then; {NO_REQUEST}")
    return settled


class Job:
    """One deferred call."""

    __slots__ = ("_app", "_args", "_call", "_context", "_kwargs", "function")

    def __init__(
        self, app: Flask, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.function: Callable[..., object] = function
        self._app = app
        self._call: Callable[..., object] = synchronous(app, function, f"the deferred {_name_of(function)}")
        self._args = args
        self._kwargs = kwargs
        self._context = _context_without_request()

    def run(self) -> None:
        """Call the function. An exception is logged."""
        self._context.run(self._run)

    def _run(self) -> None:
        try:
            with self._app.app_context():
                self._call(*self._args, **self._kwargs)
        except (Exception, SystemExit) as error:
            lost_request = isinstance(error, RuntimeError) and any(words in str(error) for words in OUTSIDE)
            log.exception("deferred %s failed%s", self, f": {NO_REQUEST}" if lost_request else "")

    def __str__(self) -> str:
        """Return the function's name. Arguments may be secret."""
        return _name_of(self.function)


def _name_of(function: Any) -> str:
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _context_without_request() -> Context:
    """Return a copy of this context without Flask's variables: the request and its app context will have ended."""
    copied = Context()
    for variable, value in copy_context().items():
        if not isinstance(value, CONTEXTS):
            copied.run(variable.set, value)
    return copied


class Batch:
    """The deferred calls of one request."""

    def __init__(self, deferred: Deferred) -> None:
        self.attached: bool = False
        self._deferred = deferred
        self._jobs: list[Job] | None = []

    def add(self, job: Job) -> None:
        """Keep `job` until the response has been sent. If it has been sent already, run `job`."""
        if self._jobs is None:
            self._deferred.run(job)
        else:
            self._jobs.append(job)

    def release(self) -> None:
        jobs, self._jobs = self._jobs, None
        for job in jobs or ():
            self._deferred.run(job)


class Deferred:
    """Runs the deferred calls of one app."""

    def __init__(self, state: AppState) -> None:
        self._app = state.app
        self._config = state.config
        self._pools: dict[int, Pool] = {}
        self._has_threads = _runs_threads()
        if not self._has_threads:
            log.warning("uWSGI runs no threads, so deferred calls run in line: set enable-threads = true")
        atexit.register(while_alive(self, Deferred.drain))
        request_finished.connect(self._attach, state.app)
        request_tearing_down.connect(self._release, state.app)

    def run(self, job: Job) -> None:
        """Run `job` on the pool; in tests, or if a full pool is configured so, in line."""
        if self._app.testing or not self._has_threads:
            job.run()
        elif not self._pool().submit(job):
            self._overflow(job)

    def _pool(self) -> Pool:
        """Return the pool of this process: a forked process has no threads of its parent."""
        process = os.getpid()
        return self._pools.get(process) or self._pools.setdefault(process, Pool(self._config))

    def drain(self) -> None:
        pool = self._pools.get(os.getpid())
        if pool is not None:
            pool.drain()

    def _overflow(self, job: Job) -> None:
        dropped = self._config[FULL] == "drop"
        try:
            defer_queue_full.send(self._app, function=job.function, dropped=dropped)
        except Exception:
            log.exception("a receiver of defer_queue_full failed")
        if not dropped:
            job.run()

    def _attach(self, _app: Flask, response: Response, **_: Any) -> None:
        """Release the request's batch at the end of `response`, which no later hook replaces.

        The end is the end of the body and not its closing: some servers, such as asgiref's WsgiToAsgi, close no bodies.
        """
        batch: Batch | None = vars(this_request._get_current_object()).get(ATTRIBUTE)
        if batch is None:
            return
        if self._app.testing:
            batch.release()
            return
        size = size_if_complete(request, response)
        if size == 0:
            return
        if size is not None and response.content_length is None:
            response.content_length = size  # as Werkzeug does for an unwatched body
        batch.attached = True
        release = batch.release
        watch_body(request, response, lambda _ending: release())

    def _release(self, _app: Flask, **_: Any) -> None:
        """Release the batch of a request that ends without a body."""
        batch: Batch | None = vars(this_request._get_current_object()).get(ATTRIBUTE)
        if batch is not None and not batch.attached:
            batch.release()


class Pool:
    """A few threads with a bounded queue. The lock is reentrant, because a signal may interrupt its holder."""

    def __init__(self, config: GuardConfig) -> None:
        self._most_threads = config[WORKERS]
        self._most_jobs = config[WORKERS] + config[QUEUE]
        lock = threading.RLock()
        self._has_work = threading.Condition(lock)
        self._is_done = threading.Condition(lock)
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._threads = 0
        self._idle = 0
        self._overflowing = False
        self._drain_seconds = config[DRAIN]

    def submit(self, job: Job) -> bool:
        """Run `job` soon. Return False if the queue is full."""
        with self._has_work:
            if self._is_full():
                return False
            self._waiting.append(job)
            if self._idle >= len(self._waiting) or self._threads >= self._most_threads:
                self._has_work.notify()
                return True
            self._threads += 1
        return self._start_thread(job)

    def _is_full(self) -> bool:
        full = len(self._waiting) + len(self._running) >= self._most_jobs
        if full and not self._overflowing:
            log.warning("the queue of deferred calls is full: %d are waiting or running", self._most_jobs)
        self._overflowing = full
        return full

    def _start_thread(self, job: Job) -> bool:
        try:
            threading.Thread(target=self._work, name="flask_guard-defer", daemon=True).start()
        except RuntimeError:  # the system is out of threads, or the interpreter is ending
            with self._has_work:
                self._threads -= 1
                if self._threads == 0 and job in self._waiting:
                    self._waiting.remove(job)
                    return False
        return True

    def _work(self) -> None:
        while job := self._next():
            try:
                job.run()
            finally:
                with self._is_done:
                    self._running.remove(job)
                    self._is_done.notify_all()

    def _next(self) -> Job | None:
        with self._has_work:
            self._idle += 1
            self._has_work.wait_for(lambda: self._waiting, IDLE)
            self._idle -= 1
            if not self._waiting:
                self._threads -= 1
                return None
            job = self._waiting.popleft()
            self._running.append(job)
            return job

    def drain(self) -> None:
        """Wait for all calls, at most as long as the configuration allows. Log the calls that are left."""
        seconds = self._drain_seconds
        with self._is_done:
            self._is_done.wait_for(lambda: not self._waiting and not self._running, seconds)
            left = ", ".join(map(str, (*self._running, *self._waiting)))
        if left:
            log.warning("deferred calls were cut off or never begun after %g s: %s", seconds, left)


# The end of the process ----------------------------------------------------------------------------------------------


def _drain(app: Flask) -> None:
    deferred = AppState.of(app).resources.get(Deferred)
    if deferred is not None:
        deferred.drain()


def _runs_threads() -> bool:
    """Return whether threads run. uWSGI needs an option for threads."""
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is None or not {"enable-threads", "threads"}.isdisjoint(map(os.fsdecode, uwsgi.opt))


CONCERN: Concern = Concern(
    settings=(WORKERS, QUEUE, FULL, DRAIN), check=lambda state: call_at_sigterm(state.app, _drain)
)
