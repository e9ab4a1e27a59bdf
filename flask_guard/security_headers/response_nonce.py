"""The nonce of a response: made when a template first asks, so that a response without one stays cacheable."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any

from flask import g, has_app_context
from werkzeug.local import LocalProxy

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
    if run is not None:
        return nonce_of(run)
    made = g.get("csp_nonce", "") if has_app_context() else ""
    return made if type(made) is str else ""  # a stream asks when its request has ended


def nonce_of(run: Run) -> str:
    """Return the nonce of a request's response, made at the first call."""
    made = NONCE.get(run)
    if made is None:
        if run.entered and run.plan.names and run.state.once(f"csp_nonce at {run.request.endpoint}"):
            log.warning(
                "csp_nonce() was called for endpoint %s, where no policy has a nonce, so the script that carries it may"
                " be blocked: write secure_headers(csp={'script-src': [\"'self'\", nonce]})",
                printable(str(run.request.endpoint)),
            )
        return ""
    if not made:
        made = secrets.token_urlsafe(BYTES)
        NONCE.put(run, made)
        g.csp_nonce = made
    return made


_lazy: Any = LocalProxy(csp_nonce)


def offer_nonce(run: Run) -> None:
    """Let this response have a nonce: ``csp_nonce()``, or ``g.csp_nonce``."""
    NONCE.put(run, "")
    g.csp_nonce = _lazy


class Templates:
    """Offers ``csp_nonce()`` to the templates of an app, whatever its policies. A resource of its state."""

    def __init__(self, state: AppState) -> None:
        self._app = state.app
        state.at_start.append(self._offer)

    def _offer(self) -> None:
        self._app.jinja_env.globals["csp_nonce"] = csp_nonce
