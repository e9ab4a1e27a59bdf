"""Warnings about how limits are deployed. Requests show what the configuration does not. Each is given once."""

from __future__ import annotations

from flask import Request

from ..core.app_state import AppState
from ..support.log import log
from .storage import Backend


class Cautions:
    """Watches requests for a proxy that is not trusted, and for several workers that each count alone.

    :ivar watching: whether there is still something to look for.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._alone = state.service(Backend).in_process
        self.watching: bool = True

    def look(self, request: Request) -> None:
        """Look at one request, and warn if there is reason to."""
        environ = request.environ
        if self._alone:
            self._alone = False
            if environ.get("wsgi.multiprocess") and self._state.once("limits counted by each worker"):
                log.warning(
                    "limits are counted in memory, and the server has several worker processes: each counts alone,"
                    " so a client gets its limit from each. Set RATELIMIT_STORAGE_URI to 'sqlite:////path/limits.db'"
                    " (all workers of one machine) or 'redis://host:6379/0' (all machines)"
                )
        if "werkzeug.proxy_fix.orig" in environ:
            self.watching = False
        elif "HTTP_X_FORWARDED_FOR" in environ:
            self.watching = False
            if self._state.once("proxy not trusted"):
                log.warning(
                    "requests arrive with X-Forwarded-For, and no proxy is trusted. Limits by address count the address"
                    " of the proxy, so all its clients share one budget. If the proxy is yours, write: app.wsgi_app ="
                    " werkzeug.middleware.proxy_fix.ProxyFix(app.wsgi_app, x_for=1)"
                )
