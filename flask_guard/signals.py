"""Blinker signals. The sender is the app; ``denial`` is the :class:`flask_guard.Denied`, ``request`` the request."""

from __future__ import annotations

from blinker import NamedSignal, Namespace

_signals = Namespace()

request_denied: NamedSignal = _signals.signal("request-denied", doc="A policy refused a request.")
request_would_be_denied: NamedSignal = _signals.signal(
    "request-would-be-denied", doc="A policy in shadow would have refused."
)
