"""The nonce of a response: made when a template first asks, so that a response without one stays cacheable."""

from __future__ import annotations

import logging
from os import urandom
from typing import TYPE_CHECKING, Any

from flask import g, has_app_context

from ..core.request_run import Slot, current_run
from ..support.text import printable

if TYPE_CHECKING:
    from ..core.app_state import AppState
    from ..core.request_run import Run

log: logging.Logger = logging.getLogger("flask_guard")

NONCE: Slot[str] = Slot("secure_headers.nonce")
"""The nonce of the response; empty until one is asked for, absent where no policy has a nonce."""
BYTES = 16


def csp_nonce() -> str:
    """Return the nonce of this response, for ``<script nonce="{{ csp_nonce() }}">``.

    It has 128 bits, and is the same for the whole response. A response with a nonce is sent with ``Cache-Control:
    no-store``. Where no policy with a nonce is in force, it is an empty string, and the log says so once.
    """
    run = current_run()
    if run is None:
        return vars(g).get("csp_nonce", "") if has_app_context() else ""  # a stream asks when its request has ended
    return run.kept.get(NONCE) or make_nonce(run)


def make_nonce(run: Run) -> str:
    """Make the nonce of a request's response, which has none yet."""
    if NONCE not in run.kept:
        _say_that_none_is_offered(run)
        return ""
    made = run.kept[NONCE] = urandom(BYTES).hex()
    return made


def _say_that_none_is_offered(run: Run) -> None:
    if run.entered and run.plan.names and run.state.once(f"csp_nonce at {run.request.endpoint}"):
        log.warning(
            "csp_nonce() was called for endpoint %s, where no policy has a nonce, so the script that carries it may be"
            " blocked: write secure_headers(csp={'script-src': [\"'self'\", nonce]})",
            printable(str(run.request.endpoint)),
        )


def offer_nonce(run: Run) -> None:
    """Let this response have a nonce."""
    NONCE.put(run, "")


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
