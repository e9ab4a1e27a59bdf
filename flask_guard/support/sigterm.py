"""SIGTERM: an orderly end of the process where the server has none."""

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
    """Call `call` with `owner`, if `owner` still exists, before SIGTERM ends the process.

    A handler of the server or the application stays: it must end the process like ``sys.exit()``.
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
    """Handles SIGTERM before the process ends by the default action.

    Several apps of a process share one handler.
    """

    def __init__(self) -> None:
        self._calls: weakref.WeakKeyDictionary[Any, Callable[[Any], object]] = weakref.WeakKeyDictionary()

    def add(self, owner: Any, call: Callable[[Any], object]) -> None:
        self._calls[owner] = call

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Handle the signal. A second signal ends the process immediately."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for owner, call in list(self._calls.items()):
            call(owner)
        os.kill(os.getpid(), signal.SIGTERM)


def _ending_in_order(handler: Handler) -> Handler:
    """Return uvicorn's `handler`, changed so that the process ends normally, with its exit handlers.

    After its shutdown uvicorn kills itself by a second signal, which is blocked here.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        handler(number, frame)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    return handle
