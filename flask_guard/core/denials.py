"""Denials: the answers to requests that a policy refuses.

A denial is a :class:`werkzeug.exceptions.HTTPException`, so ``@app.errorhandler(429)`` works as usual. Without a
handler it renders as ``application/problem+json`` (RFC 9457), or as HTML for a client that prefers HTML.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from werkzeug import exceptions
from werkzeug.datastructures import Headers, MIMEAccept
from werkzeug.http import parse_accept_header
from werkzeug.wrappers import Response

from ..support.header_fields import Pair, append
from ..support.response_copies import response_maker
from ..typing import HeaderPairs

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.wrappers import Request as WSGIRequest

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
ABNORMAL_USAGE = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
LONGEST_ACCEPT = 1024
"""The longest Accept header that is parsed for an error page, in characters."""

_encode: Callable[[object], str] = json.JSONEncoder().encode


def as_html(error_format: str, environ: WSGIEnvironment | None) -> bool:
    """Return whether an error is rendered as HTML.

    :param error_format: ``"problem"``, ``"html"``, or ``"auto"`` to go by the Accept header.
    """
    if error_format != "auto":
        return error_format == "html"
    accept = (environ or {}).get("HTTP_ACCEPT", "")
    return bool(accept) and len(accept) <= LONGEST_ACCEPT and _prefers_html(accept)


@lru_cache(maxsize=128)
def _prefers_html(accept: str) -> bool:
    """Return whether an Accept header prefers HTML. Clients send few different ones, so the answers are cached."""
    offered = ["application/problem+json", "application/json", "text/html"]
    return parse_accept_header(accept, MIMEAccept).best_match(offered) == "text/html"


class Denied(exceptions.HTTPException):
    """A policy refused the request: 403, unless a subclass says otherwise.

    :param detail: a sentence for the reader of the response.
    :param policy: the kind of policy that refused, such as ``"limit"``.
    :param reason: a short code for logs and metrics, such as ``"expired"``, not shown to the client.
    :param headers: header fields of the response, also if an error handler renders it.
    :param members: extension members of the problem document (RFC 9457, section 3.2).
    """

    problem_type: ClassVar[str] = "about:blank"
    whatever_mode: ClassVar[bool] = False
    """Whether a policy denies even in report mode, because its mode is about another denial."""
    renders_as_usual: ClassVar[bool] = True
    """Whether the responses of a class depend on nothing but what a denial is made with."""
    error_format: str = "auto"
    remedy: str = ""
    www_authenticate: ClassVar[Any] = None
    retry_after: ClassVar[Any] = None
    _known_members: tuple[Mapping[str, Any], str] = MappingProxyType({}), "}\n"
    """The members of a denial that was prepared, and the end of the problem document with them."""
    _known_headers: tuple[Pair, ...] | None = None
    """The headers of a denial that was prepared: they have been checked."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = ("__init__", "problem", "get_body", "get_headers", "get_description", "name")
        cls.renders_as_usual = all(getattr(cls, each) is getattr(Denied, each) for each in own)

    def __new__(cls, *args: Any, **options: Any) -> Denied:  # noqa: ARG004  # __init__ takes them
        """Make a 403 of a denial that is raised as it is. Flask finds error handlers by the status of the class."""
        return super().__new__(_Forbidden if cls is Denied else cls)

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
        if self.code is None:
            vars(self)["code"] = 403
        self.policy = policy
        self.reason = reason
        self.headers: tuple[Pair, ...] = tuple([(name, value) for name, value in headers])
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
        if type(self.description) is not str or not self.renders_as_usual:
            return Response(self.get_body(fields, scope), self.code, self.get_headers(fields, scope))
        html = as_html(self.error_format, fields)
        body = (self._page() if html else self._document()).encode()
        response = _responses(self.code, html, self.error_format == "auto")()
        response.response = [body]
        own = self.headers if self.headers is self._known_headers else _checked(self.headers)
        append(response.headers, (*own, ("Content-Length", str(len(body)))))
        return response

    def _document(self) -> str:
        """Return the body as a problem document, with the parts that are known."""
        kind: Any = type(self)
        beginning, _, _ = _frame(kind, self.code)
        known, end = self._known_members
        if self.members == known:
            return f"{beginning}{_encode(self.description)}{end}"
        return json.dumps(self.problem()) + "\n"

    def _page(self) -> str:
        """Return the body as HTML, with the parts that are known."""
        kind: Any = type(self)
        _, before, after = _frame(kind, self.code)
        return before + self.get_description() + after

    def _as_html(self, environ: WSGIEnvironment | None) -> bool:
        return as_html(self.error_format, environ)


def _checked(headers: Iterable[Pair]) -> list[Pair]:
    """Return the header fields of a denial, but for the length, which is that of the body.

    :raises ValueError: for a value with a line break.
    """
    return [pair for pair in Headers(headers) if pair[0].lower() != "content-length"]


@lru_cache(maxsize=256)
def _responses(code: int | None, html: bool, auto: bool) -> Callable[[], Response]:
    """Return a function that makes responses without a body and without the fields of a denial.

    :param auto: whether the Accept header decides on HTML.
    """
    fields = [("Content-Type", "text/html; charset=utf-8" if html else "application/problem+json")]
    if auto:
        fields.append(("Vary", "Accept"))
    return response_maker(Response, code, fields)


@lru_cache(maxsize=256)
def _frame(kind: type[Denied], code: int | None) -> tuple[str, str, str]:
    """Return the parts of the bodies of denials: a document up to its detail, a page before and after it.

    The few classes and statuses that an app has are kept.
    """
    model: Denied = kind("", policy="", reason="")
    model.code = code
    before, _, after = exceptions.HTTPException.get_body(model).partition(model.get_description())
    return json.dumps(model.problem()).removesuffix('""}'), before, after


class _Forbidden(Denied, exceptions.Forbidden):
    """403: a denial without another status."""

    code: int = 403


class InvalidRequest(Denied, exceptions.BadRequest):
    """400: the request is malformed, or its credentials are (RFC 6750, section 3.1, ``invalid_request``)."""

    code: int = 400


class Unauthenticated(Denied, exceptions.Unauthorized):
    """401: no credentials, or invalid ones. Carries ``WWW-Authenticate`` (RFC 9110, section 11.6.1)."""

    code: int = 401


class InsufficientScope(Denied, exceptions.Forbidden):
    """403: the credentials are valid and lack a scope or role (RFC 6750, section 3.1, ``insufficient_scope``)."""

    code: int = 403


class LimitExceeded(Denied, exceptions.TooManyRequests):
    """429: a quota is used up. Carries ``Retry-After`` (RFC 6585, section 4)."""

    code: int = 429
    problem_type = QUOTA_EXCEEDED


class Banned(Denied, exceptions.TooManyRequests):
    """429: the client is banned for a time after too many denials. Carries ``Retry-After``."""

    code: int = 429
    problem_type = ABNORMAL_USAGE


class StoreUnavailable(Denied, exceptions.ServiceUnavailable):
    """503: a store that the decision needs is unreachable. Carries ``Retry-After``."""

    code: int = 503
    problem_type = REDUCED_CAPACITY


def store_unavailable(detail: str, policy: str, *, retry_after: int) -> StoreUnavailable:
    """Return the denial of a request that cannot be decided, because a store is unreachable.

    :param retry_after: seconds that the client is told to wait.
    """
    return StoreUnavailable(detail, policy=policy, reason="store", headers=[("Retry-After", str(retry_after))])
