"""The nonce of a response: made when a template first asks, so that a response without one stays cacheable."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

from flask import g, has_app_context

from ..core.app_state import AppState
from ..core.request_run import Run, Slot, current_run
from ..support.callables import while_alive
from ..support.log import log
from ..support.text import printable

Source: TypeAlias = "Callable[[], str]"
NONCE: Slot[str | Source] = Slot("secure_headers.nonce")
"""The nonce of the response. Until one is asked for, the function that makes it. Absent where no policy has one."""
DIGITS = 32
"""Hexadecimal digits of a nonce, which make 128 bits."""
AT_ONCE = 64
"""Nonces that are made together: asking the operating system takes longer than all else about a nonce."""


def csp_nonce() -> str:
    """Return the nonce of this response, for ``<script nonce="{{ csp_nonce() }}">``.

    It has 128 bits, and is the same for the whole response. A response with a nonce is sent with ``Cache-Control:
    no-store``. Where no policy with a nonce is in force, it is an empty string, and the log says so once.
    """
    run = current_run()
    if run is None:
        return vars(g).get("csp_nonce", "") if has_app_context() else ""  # a stream asks when its request has ended
    nonce_or_source: str | Source | None = run.kept.get(NONCE)
    if nonce_or_source is None:
        _say_that_none_is_offered(run)
        return ""
    if isinstance(nonce_or_source, str):
        return nonce_or_source
    made = run.kept[NONCE] = nonce_or_source()
    return made


def _say_that_none_is_offered(run: Run) -> None:
    if run.entered and run.plan.names and run.state.once(f"csp_nonce at {run.request.endpoint}"):
        log.warning(
            "csp_nonce() was called for endpoint %s, where no policy has a nonce, so the script that carries it may be"
            " blocked: write secure_headers(csp={'script-src': [\"'self'\", nonce]})",
            printable(str(run.request.endpoint)),
        )


class Nonces:
    """Makes the nonces of an app. A resource of the app's state."""

    def __init__(self, state: AppState) -> None:
        self._ready: list[str] = []
        if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
            os.register_at_fork(after_in_child=while_alive(self, Nonces.forget))

    def make(self) -> str:
        """Return a nonce that neither this process nor one that it forks has ever used."""
        try:
            return self._ready.pop()
        except IndexError:
            digits = os.urandom(AT_ONCE * DIGITS // 2).hex()
            made = [digits[start : start + DIGITS] for start in range(0, len(digits), DIGITS)]
            first = made.pop()
            self._ready = made
            return first

    def forget(self) -> None:
        """Forget the nonces that are ready: a process that forked has them too."""
        self._ready = []

    def offer(self, run: Run) -> None:
        """Let the response of this request have a nonce."""
        run.kept[NONCE] = self.make


class _LazyNonce:
    """The attribute ``g.csp_nonce``, until something sets another."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return csp_nonce() if instance is not None else self


class Templates:
    """Offers ``csp_nonce()`` and ``g.csp_nonce`` to the templates of an app, whatever its policies.

    A resource of the app's state.
    """

    def __init__(self, state: AppState) -> None:
        self._app = state.app
        made: Any = type("Globals", (state.app.app_ctx_globals_class,), {"csp_nonce": _LazyNonce()})
        state.app.app_ctx_globals_class = made
        state.once_planned.append(self._offer)

    def _offer(self) -> None:
        self._app.jinja_env.globals["csp_nonce"] = csp_nonce
