"""Denials: what a client gets when a policy refuses its request.

Each is a :class:`werkzeug.exceptions.HTTPException`, so ``@app.errorhandler(429)`` works as for any other. Left alone,
it renders as ``application/problem+json`` (RFC 9457), or as HTML for a client that prefers HTML.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from werkzeug import exceptions
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header
from werkzeug.wrappers import Response

from ..typing import HeaderPairs

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.wrappers import Request as WSGIRequest

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
ABNORMAL_USAGE = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
LONGEST_ACCEPT = 1024
"""Characters of an Accept header that are worth parsing for an error page."""


class Denied(exceptions.HTTPException):
    """A policy refused the request.

    :param detail: a sentence for the person who reads the response.
    :param policy: the kind of policy that refused, such as ``"limit"``.
    :param reason: a short code for logs and metrics, such as ``"expired"``. The client does not see it.
    :param headers: header fields that the response must carry, whoever renders it.
    :param members: extension members of the problem document (RFC 9457, section 3.2).
    """

    problem_type: ClassVar[str] = "about:blank"
    error_format: str = "auto"
    www_authenticate: ClassVar[Any] = None
    retry_after: ClassVar[Any] = None

    def __init__(
        self,
        detail: str,
        *,
        policy: str,
        reason: str,
        headers: HeaderPairs = (),
        members: Mapping[str, Any] | None = None,
    ) -> None:
        exceptions.HTTPException.__init__(self, detail)
        self.policy = policy
        self.reason = reason
        self.headers: tuple[tuple[str, str], ...] = tuple(headers)
        self.members: dict[str, Any] = dict(members or {})

    def problem(self) -> dict[str, Any]:
        """Return the problem document (RFC 9457, section 3.1)."""
        document = {"type": self.problem_type, "title": self.name, "status": self.code, "detail": self.description}
        return {**document, **self.members}

    def get_headers(
        self, environ: WSGIEnvironment | None = None, scope: dict[str, Any] | None = None
    ) -> list[tuple[str, str]]:
        content_type = "text/html; charset=utf-8" if self._as_html(environ) else "application/problem+json"
        vary = [("Vary", "Accept")] if self.error_format == "auto" else []
        return [("Content-Type", content_type), *vary, *self.headers]

    def get_body(self, environ: WSGIEnvironment | None = None, scope: dict[str, Any] | None = None) -> str:
        if self._as_html(environ):
            return exceptions.HTTPException.get_body(self, environ, scope)
        return json.dumps(self.problem()) + "\n"

    def get_response(
        self, environ: WSGIEnvironment | WSGIRequest | None = None, scope: dict[str, Any] | None = None
    ) -> Response:
        fields: WSGIEnvironment | None = environ if environ is None or isinstance(environ, dict) else environ.environ
        return Response(self.get_body(fields, scope), self.code, self.get_headers(fields, scope))

    def _as_html(self, environ: WSGIEnvironment | None) -> bool:
        if self.error_format != "auto":
            return self.error_format == "html"
        accept = (environ or {}).get("HTTP_ACCEPT", "")
        if not accept or len(accept) > LONGEST_ACCEPT:
            return False
        offered = ["application/problem+json", "application/json", "text/html"]
        return parse_accept_header(accept, MIMEAccept).best_match(offered) == "text/html"


class InvalidRequest(Denied, exceptions.BadRequest):
    """400: the credentials are not even well-formed (RFC 6750, section 3.1, ``invalid_request``)."""


class Unauthenticated(Denied, exceptions.Unauthorized):
    """401: no credentials, or none that hold. Carries ``WWW-Authenticate`` (RFC 9110, section 11.6.1)."""


class InsufficientScope(Denied, exceptions.Forbidden):
    """403: the credentials hold but do not reach this far (RFC 6750, section 3.1, ``insufficient_scope``)."""


class LimitExceeded(Denied, exceptions.TooManyRequests):
    """429: a quota is used up. Carries ``Retry-After`` (RFC 6585, section 4)."""

    problem_type = QUOTA_EXCEEDED


class Banned(Denied, exceptions.TooManyRequests):
    """429: the client was denied so often that it is denied everything for a while. Carries ``Retry-After``."""

    problem_type = ABNORMAL_USAGE


class StoreUnavailable(Denied, exceptions.ServiceUnavailable):
    """503: what the decision depends on cannot be asked just now, so the request is refused."""

    problem_type = REDUCED_CAPACITY


def names(values: Iterable[str]) -> str:
    """Return ``'a', 'b'`` for messages."""
    return ", ".join(repr(value) for value in values)
