"""Sending the constant security headers of a response, without having Werkzeug check them once more.

Werkzeug copies the headers of a response when it sends it, and checks each value again. A dozen security headers are
most of them, and cost more in that than in all else. They were checked when the policy was made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import flask
from werkzeug.datastructures import Headers

from ..support.header_fields import Pair, append, pairs_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class Response(flask.Response):
    """A response with headers that were checked beforehand.

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
        twin = Response.__new__(Response)
        twin.__dict__.update(self.__dict__, headers=others)
        headers = super(Response, twin).get_wsgi_headers(environ)
        append(headers, known)
        return headers


WORTHWHILE = 8
"""Headers from which sending them unchecked costs less than checking them."""


def send_unchecked(response: flask.Response, checked: frozenset[Pair]) -> None:
    """Have `response` sent without a check of those of its headers that equal one of `checked`.

    The class of the response changes, as it does where Flask makes one of the app's class. One of another class than
    Flask's own is left alone: it may have a way of its own to send headers.
    """
    if type(response) is flask.Response:
        response.__class__ = Response
    if type(response) is Response:
        response.checked = checked
