"""Blinker signals. The sender is the app; ``denial`` is the :class:`flask_guard.Denied`, ``request`` the request."""

from __future__ import annotations

from blinker import NamedSignal, Namespace

_signals = Namespace()

request_denied: NamedSignal = _signals.signal("request-denied", doc="A policy refused a request.")
request_would_be_denied: NamedSignal = _signals.signal(
    "request-would-be-denied", doc="A policy in report mode would have refused a request."
)
key_used: NamedSignal = _signals.signal("key-used", doc="An API key opened a request: ``key``, ``request``.")
key_created: NamedSignal = _signals.signal("key-created", doc="An API key was made: ``key``. The sender is the store.")
key_rotated: NamedSignal = _signals.signal("key-rotated", doc="An API key got a new secret. As above.")
key_revoked: NamedSignal = _signals.signal("key-revoked", doc="An API key was revoked. As above.")
key_leaked: NamedSignal = _signals.signal(
    "key-leaked", doc="A scanner reported an API key. As above, with the ``url``, and whether it is now ``revoked``."
)
client_banned: NamedSignal = _signals.signal(
    "client-banned", doc="A client was banned: its ``identity``, for how many ``seconds``, ``request``."
)
store_unavailable: NamedSignal = _signals.signal(
    "store-unavailable", doc="The limit store stopped answering: ``error``. Sent once for each outage."
)
store_available: NamedSignal = _signals.signal("store-available", doc="The limit store answers again.")
csp_violation: NamedSignal = _signals.signal(
    "csp-violation", doc="A browser reported what a content security policy blocked: ``violation``, ``request``."
)
defer_queue_full: NamedSignal = _signals.signal(
    "defer-queue-full",
    doc="The queue of deferred calls is full: the ``function``, and whether it was ``dropped`` or ran in line.",
)
