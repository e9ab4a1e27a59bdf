"""`defer`: work that need not hold up the response, such as sending a mail.

It runs in this process, on a few threads that are made when there is work and end when there is none. What is deferred
is lost if the process is killed, so work that must survive that belongs in a queue: Celery, RQ or Dramatiq.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
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
from .support.options import number, one_of, whole_number
from .support.response_body import watch_body
from .typing import Flask, Response

P = ParamSpec("P")
log: logging.Logger = logging.getLogger("flask_guard")

ATTRIBUTE = "_flask_guard_deferred"
"""Where a request carries what it has deferred."""
WORKERS: Setting[int] = Setting("GUARD_DEFER_WORKERS", 4, whole_number(at_least=1))
"""The largest number of threads that `defer` uses in each process."""
QUEUE: Setting[int] = Setting("GUARD_DEFER_QUEUE", 1000, whole_number(at_least=1))
"""The largest number of deferred calls that wait for a thread."""
FULL: Setting[str] = Setting("GUARD_DEFER_FULL", "run", one_of("run", "drop"))
"""Whether one more call runs in line, or is dropped."""
DRAIN: Setting[float] = Setting("GUARD_DEFER_DRAIN", 5.0, number(0, sys.float_info.max, "seconds"))
"""The seconds that deferred calls have to end when the process does."""

CONCERN: Concern = Concern(settings=(WORKERS, QUEUE, FULL, DRAIN))

IDLE = 0.25
"""Seconds for which a thread waits for more work before it ends. Another is made in a tenth of a millisecond."""
NO_REQUEST = "a deferred function has no request: read what it needs before, and pass that"


def defer(function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Call `function` after the response has been sent.

    ::

        @app.post("/orders")
        def create_order():
            order = save(request.get_json())
            defer(send_confirmation, order.id)
            return {"id": order.id}, 201

    It runs on a thread, once the body has been sent or given up, or, for a request that ends without a response, when
    the request is torn down: also if the request failed. Outside of a request, in an app context, it runs at once. No
    order is promised among several.

    It has an app context of its own, and the context variables of where it was deferred, the request's id among them.
    It has no request: that one is over. Pass what it needs; ``flask.request`` raises RuntimeError. Arguments that are
    proxies, such as ``current_user``, are replaced by what they stand for. It may be ``async``. What it raises is
    logged on the logger ``flask_guard``, and never raised.

    At most ``GUARD_DEFER_WORKERS`` run at a time in one process, and ``GUARD_DEFER_QUEUE`` wait. One more runs in line,
    or is dropped, as ``GUARD_DEFER_FULL`` says, and the signal ``defer_queue_full`` is sent. When the process ends it
    waits for them, up to ``GUARD_DEFER_DRAIN`` seconds, and logs what had to be left.

    While the app is ``TESTING`` it runs in line, without a thread, as soon as the response is ready: what it does has
    been done when the test client returns.

    :raises RuntimeError: outside of an app context, or if the app has no Guard.
    :raises TypeError: if an argument is the request.
    """
    if not current_app:
        raise RuntimeError("defer() needs an app context: call it in a request, or inside 'with app.app_context():'")
    app: Flask = current_flask()
    state = AppState.of(app)
    if state.guard is None:
        raise RuntimeError(f"defer() needs a Guard on the app {app.name!r}: call Guard(app) where the app is made")
    deferred = state.resource(Deferred)
    job = Job(app, function, tuple(map(_settled, args)), {name: _settled(value) for name, value in kwargs.items()})
    if request and current_context().app is app:
        vars(this_request._get_current_object()).setdefault(ATTRIBUTE, Batch(deferred)).add(job)
    else:
        deferred.run(job)


def _settled(value: Any) -> Any:
    """Return what `value` stands for, if it is a proxy."""
    settled = value._get_current_object() if isinstance(value, LocalProxy) else value
    if isinstance(settled, Request):
        raise TypeError(f"the request cannot be passed to a deferred function, as it is over by then; {NO_REQUEST}")
    return settled


class Job:
    """One deferred call."""

    __slots__ = ("_app", "_args", "_call", "_context", "_kwargs", "function")

    def __init__(
        self, app: Flask, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.function: Callable[..., object] = function
        self._app = app
        self._call: Callable[..., object] = app.ensure_sync(function)
        self._args = args
        self._kwargs = kwargs
        self._context = _context_without_request()

    def run(self) -> None:
        """Call the function. What it raises is logged."""
        self._context.run(self._run)

    def _run(self) -> None:
        try:
            with self._app.app_context():
                self._call(*self._args, **self._kwargs)
        except (Exception, SystemExit) as error:
            lost_request = isinstance(error, RuntimeError) and "outside of request context" in str(error)
            log.exception("deferred %s failed%s", self, f": {NO_REQUEST}" if lost_request else "")

    def __str__(self) -> str:
        """Return the function's name. Arguments may be secret."""
        function = self.function
        while isinstance(function, partial):
            function = function.func
        named = function if hasattr(function, "__qualname__") else type(function)
        return f"{named.__module__}.{named.__qualname__}"


def _context_without_request() -> Context:
    """Return a copy of this context, but for Flask's own: the request will be over, and its app context with it."""
    copied = Context()
    for variable, value in copy_context().items():
        if not isinstance(value, CONTEXTS):
            copied.run(variable.set, value)
    return copied


class Batch:
    """What one request has deferred."""

    def __init__(self, deferred: Deferred) -> None:
        self.attached: bool = False
        self._deferred = deferred
        self._jobs: list[Job] | None = []

    def add(self, job: Job) -> None:
        """Keep `job` until the response has been sent, or run it if that has happened."""
        if self._jobs is None:
            self._deferred.run(job)
        else:
            self._jobs.append(job)

    def release(self) -> None:
        """Run what there is."""
        jobs, self._jobs = self._jobs, None
        for job in jobs or ():
            self._deferred.run(job)


class Deferred:
    """Runs what one app defers."""

    def __init__(self, state: AppState) -> None:
        self._app = state.app
        self._config = state.config
        self._pools: dict[int, Pool] = {}
        request_finished.connect(self._attach, state.app)
        request_tearing_down.connect(self._release, state.app)

    def run(self, job: Job) -> None:
        """Run `job` on the pool; in line in tests, or if the pool is full and that is wanted."""
        if self._app.testing:
            job.run()
        elif not self._pool().submit(job):
            self._overflow(job)

    def _pool(self) -> Pool:
        """Return the pool of this process: the threads of one that has forked were not taken along."""
        process = os.getpid()
        return self._pools.get(process) or self._pools.setdefault(process, Pool(self._config))

    def _overflow(self, job: Job) -> None:
        dropped = self._config[FULL] == "drop"
        try:
            defer_queue_full.send(self._app, function=job.function, dropped=dropped)
        except Exception:
            log.exception("a receiver of defer_queue_full failed")
        if not dropped:
            job.run()

    def _attach(self, _app: Flask, response: Response, **_: Any) -> None:
        """See to it that the end of `response`, which no hook will replace any more, releases the request's batch."""
        batch: Batch | None = vars(this_request._get_current_object()).get(ATTRIBUTE)
        if batch is None:
            return
        if self._app.testing:
            batch.release()
            return
        batch.attached = True
        if response.direct_passthrough:  # the server is handed the body itself, and closes only that
            release = batch.release
            watch_body(request, response, lambda _ending: release())
        else:
            response.call_on_close(batch.release)
            weakref.finalize(response, batch.release).atexit = False  # asgiref's WsgiToAsgi closes no bodies

    def _release(self, _app: Flask, **_: Any) -> None:
        """Release the batch of a request that ends without a response."""
        batch: Batch | None = vars(this_request._get_current_object()).get(ATTRIBUTE)
        if batch is not None and not batch.attached:
            batch.release()


class Pool:
    """A few threads, and a bounded queue before them."""

    def __init__(self, config: GuardConfig) -> None:
        self._most_threads = config[WORKERS]
        self._most_jobs = config[WORKERS] + config[QUEUE]
        lock = threading.Lock()
        self._has_work = threading.Condition(lock)
        self._is_done = threading.Condition(lock)
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._threads = 0
        self._idle = 0
        self._overflowing = False
        atexit.register(_drain_at_exit, weakref.ref(self), os.getpid(), config[DRAIN])

    def submit(self, job: Job) -> bool:
        """Run `job` soon. Return False if there is no room for it."""
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
            log.warning("%d deferred calls are waiting or running: there is no room for more", self._most_jobs)
        self._overflowing = full
        return full

    def _start_thread(self, job: Job) -> bool:
        try:
            threading.Thread(target=self._work, name="flask_guard-defer", daemon=True).start()
        except RuntimeError:  # the system has no thread to give, or the interpreter is ending
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

    def drain(self, seconds: float) -> list[Job]:
        """Wait until nothing is left, for `seconds` at most. Return what is."""
        with self._is_done:
            self._is_done.wait_for(lambda: not self._waiting and not self._running, seconds)
            return [*self._running, *self._waiting]


def _drain_at_exit(pool: weakref.ref[Pool], process: int, seconds: float) -> None:
    found = pool() if os.getpid() == process else None
    left = found.drain(seconds) if found is not None else []
    if left:
        log.warning(
            "deferred calls were cut off or never begun, as %g s had passed: %s", seconds, ", ".join(map(str, left))
        )
