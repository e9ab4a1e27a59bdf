"""SIGTERM: ending the process in order, where the server would not."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeAlias, cast

Handler: TypeAlias = "Callable[[int, FrameType | None], object]"
OWN_SIGNALS = frozenset({"uwsgi", "mod_wsgi"})
"""Modules of servers that handle signals themselves, without Python's knowledge."""


def call_at_sigterm(owner: Any, call: Callable[[Any], object]) -> None:
    """Call `call` with `owner`, as long as that exists, before SIGTERM ends the process.

    Nothing is done where the server or the application has a handler: that ends the process as ``sys.exit()`` does.
    """
    if threading.current_thread() is not threading.main_thread() or not OWN_SIGNALS.isdisjoint(sys.modules):
        return
    handler = signal.getsignal(signal.SIGTERM)
    if getattr(handler, "__module__", "").startswith("uvicorn.") and hasattr(signal, "pthread_sigmask"):
        signal.signal(signal.SIGTERM, _ending_in_order(cast("Handler", handler)))
    if handler is signal.SIG_DFL:
        handler = CallAtSigterm()
        signal.signal(signal.SIGTERM, handler)
    if isinstance(handler, CallAtSigterm):
        handler.add(owner, call)


class CallAtSigterm:
    """Handles SIGTERM where nothing else does. Then the process dies as by default.

    Several apps of a process share one handler.
    """

    def __init__(self) -> None:
        self._calls: weakref.WeakKeyDictionary[Any, Callable[[Any], object]] = weakref.WeakKeyDictionary()

    def add(self, owner: Any, call: Callable[[Any], object]) -> None:
        """Call `call` with `owner`."""
        self._calls[owner] = call

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Handle the signal. A second one is not waited for."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for owner, call in list(self._calls.items()):
            call(owner)
        os.kill(os.getpid(), signal.SIGTERM)


def _ending_in_order(handler: Handler) -> Handler:
    """Return uvicorn's `handler`, such that the process ends as others do, and calls what is registered for that.

    Once uvicorn has shut down, it sends itself the signal again, which is to kill it. That is blocked.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        handler(number, frame)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    return handle
