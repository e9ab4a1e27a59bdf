"""Writing and sending the security headers of one compiled policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import flask
from flask import g
from werkzeug.datastructures import Headers

from ..core.request_run import Leave, Run
from ..support.header_fields import Pair, append, drop, field_names, lines_of, pairs_of
from ..typing import Response
from .csp import Csp, insecure, nonce, without_nonce
from .https import say_why_hsts_is_missing
from .presets import NAMES
from .response_nonce import NONCE, Source

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

WITH_NONCE = "_flask_guard_policies_with_nonce"
"""Where a response keeps the policies with a nonce that were written on it: an app may return the object again."""
WORTHWHILE = 8
"""Headers from which sending them unchecked costs less than checking them."""
NO_STORE: Pair = (NAMES["cache_control"], "no-store")
STORING: frozenset[str] = frozenset(
    (
        "akamai-cache-control",
        "cache-control",
        "cdn-cache-control",
        "cloudflare-cdn-cache-control",
        "edge-control",
        "netlify-cdn-cache-control",
        "surrogate-control",
        "vercel-cdn-cache-control",
        "x-accel-expires",
        "x-litespeed-cache-control",
    )
)
"""The headers (lower case) that say whether a response is stored: RFC 9111, section 5.2; RFC 9213, whose fields a CDN
names after itself; and those of caches that obey a field of their own in place of ``Cache-Control``."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The header fields of a policy in force.

    :ivar fixed: those that are the same on every response.
    :ivar hsts: the value of ``Strict-Transport-Security``, or None.
    :ivar policies: content security policies, each with the name of its header.
    :ivar removed: the names (lower case) of headers that are taken out.
    :ivar stores_identified: whether answers to callers that have authenticated may be stored.
    """

    fixed: list[Pair]
    hsts: str | None = None
    policies: list[tuple[str, Csp]] = field(default_factory=list)
    removed: frozenset[str] = frozenset()
    stores_identified: bool = True

    @property
    def uses_nonce(self) -> bool:
        return any(policy.uses_nonce for _, policy in self.policies)

    def writer(self) -> Leave:
        """Return the step that writes the fields: the quickest one that can."""
        write = self._plain_writer()
        if self.uses_nonce:
            write = self._writer_with_nonce(write)
        return write if self.stores_identified else _keeping_identified(write)

    def _plain_writer(self) -> Leave:
        """Return the step that writes them without a nonce. A header that the response has already wins."""
        secure, plain = (
            [*((name, str(without_nonce(policy))) for name, policy in self._policies(https)), *self._others(https)]
            for https in (True, False)
        )
        promises_https, touched = self.hsts is not None, self._touched(secure)
        checked, are_many = frozenset((*secure, *plain)), len(plain) >= WORTHWHILE

        def write(run: Run, response: Response) -> None:
            pairs = secure
            if run.request.scheme != "https":
                pairs = plain
                if promises_https and "HTTP_X_FORWARDED_PROTO" in run.request.environ:
                    say_why_hsts_is_missing(run)
            present = pairs_of(response.headers)
            for name, _ in present:
                if name.lower() in touched:
                    pairs = self._missing(response, pairs)
                    break
            present.extend(pairs)
            if are_many:
                _send_unchecked(response, checked)

        return write

    def _writer_with_nonce(self, write: Leave) -> Leave:
        """Return the step that writes them with a nonce where one was asked for, and else calls `write`.

        A response with a nonce is not stored, whatever it says itself.
        """
        secure, plain = (
            (
                [
                    (name, str(policy).replace(nonce, "'nonce-\n'").split("\n"))
                    for name, policy in self._policies(https)
                ],
                [NO_STORE, *(pair for pair in self._others(https) if pair[0] != NO_STORE[0])],
            )
            for https in (True, False)
        )
        touched = self._touched([*((name, "") for name, _ in self.policies), *secure[1]]) | STORING

        def write_with_nonce(run: Run, response: Response) -> None:
            made: str | Source | None = run.kept.get(NONCE)
            if not isinstance(made, str):
                if made is None or not _may_ask_later(response):
                    write(run, response)
                    return
                made = g.csp_nonce = run.kept[NONCE] = made()
            policies, others = secure if run.request.scheme == "https" else plain
            with_nonce = [(name, made.join(parts)) for name, parts in policies]
            pairs = others + with_nonce
            if not field_names(response.headers).isdisjoint(touched):
                drop(response.headers, STORING)
                pairs = self._missing(response, pairs)
            append(response.headers, pairs)
            vars(response)[WITH_NONCE] = with_nonce

        return write_with_nonce

    def _touched(self, pairs: list[Pair]) -> frozenset[str]:
        """Return the names of headers that need more than appending `pairs`, if the response has them."""
        return frozenset(name.lower() for name, _ in pairs) | self.removed

    def _missing(self, response: Response, pairs: list[Pair]) -> list[Pair]:
        """Remove the revealing headers, and policies with the nonce of an earlier request.

        :return: those of `pairs` that the response lacks.
        """
        headers = response.headers
        drop(headers, self.removed)
        earlier: list[Pair] | None = vars(response).get(WITH_NONCE)
        if earlier:
            own = pairs_of(headers)
            own[:] = [pair for pair in own if pair not in earlier]
        present = field_names(headers)
        return [pair for pair in pairs if pair[0].lower() not in present]

    def _policies(self, https: bool) -> list[tuple[str, Csp]]:
        return [(name, policy if https else insecure(policy)) for name, policy in self.policies]

    def _others(self, https: bool) -> list[Pair]:
        return [*([(NAMES["hsts"], self.hsts)] if https and self.hsts is not None else []), *self.fixed]


def _may_ask_later(response: Response) -> bool:
    """Return whether the body may ask for the nonce once the headers have been sent; a file does not."""
    return type(response.response) is not list and response.is_streamed and not response.direct_passthrough


def _keeping_identified(write: Leave) -> Leave:
    """Return `write` for answers that no cache keeps if the caller has authenticated (ASVS 5.0, 14.3.2)."""

    def write_unless_identified(run: Run, response: Response) -> None:
        write(run, response)
        if run.identities and not lines_of(response.headers, "cache-control"):
            append(response.headers, (NO_STORE,))

    return write_unless_identified


# Sending -------------------------------------------------------------------------------------------------------------


class CheckedResponse(flask.Response):
    """A response with headers that were checked beforehand.

    Werkzeug copies the headers of a response when it sends it, and checks each value again. A dozen security headers
    are most of them, and cost more in that than in all else. They were checked when the policy was made.

    :ivar checked: header fields that need no check. The response may have others in their place by now.
    """

    checked: frozenset[Pair] = frozenset()

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """Return a copy of the headers as they are sent: Werkzeug's copy of the others, and those that were checked."""
        checked, others = self.checked, Headers()
        known: list[Pair] = []
        unknown = pairs_of(others)
        for pair in pairs_of(self.headers):
            (known if pair in checked else unknown).append(pair)
        # Made from a twin, because another thread may send the same object.
        twin = CheckedResponse.__new__(CheckedResponse)
        twin.__dict__.update(self.__dict__, headers=others)
        headers = super(CheckedResponse, twin).get_wsgi_headers(environ)
        append(headers, known)
        return headers


def _send_unchecked(response: flask.Response, checked: frozenset[Pair]) -> None:
    """Have `response` sent without a check of those of its headers that equal one of `checked`.

    The class of the response changes, as it does where Flask makes one of the app's class. One of another class than
    Flask's own is left alone: it may have a way of its own to send headers.
    """
    if type(response) is flask.Response:
        response.__class__ = CheckedResponse
    if type(response) is CheckedResponse:
        response.checked = checked
