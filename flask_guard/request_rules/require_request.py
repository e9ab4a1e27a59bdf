"""`require_request`: refuse requests without the form that a view needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar, overload

from werkzeug import exceptions

from ..core.app_state import AppState
from ..core.denials import Denied, InvalidRequest
from ..core.described import Documented
from ..core.policy import DenyingPolicy, Phase, Policy, Scope, Step, Target
from ..core.request_run import Run
from ..errors import ConfigError
from ..support import options as check
from ..support import orders
from ..support.addresses import LONGEST, Network, lies_in, networks
from ..support.header_fields import check_names
from ..support.log import log
from ..support.options import option
from ..support.request_body import has_body
from ..typing import Mode, Purpose, TargetT
from ..wsgi.fields import environ_key
from .body_limit import BodyLimit
from .content_types import JSON, accepting, content_types
from .hosts import allowing, host_names

MOST_REMEMBERED = 1024
"""Clients whose address is cached with the result of its check."""
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""The methods whose requests need a content type even without a body."""


class ContentTooLarge(Denied, exceptions.RequestEntityTooLarge):
    """413: the body is longer than the limit (RFC 9110, section 15.5.14)."""

    code: int = 413


class UnsupportedContentType(Denied, exceptions.UnsupportedMediaType):
    """415: the body has a content type that is not accepted (RFC 9110, section 15.5.16). Carries ``Accept``."""

    code: int = 415


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RequireRequest(DenyingPolicy):
    """Refuse requests without the form that a view needs: ``@require_request(json=True)``.

    The policy acts before limits and authentication, so nothing is counted or looked up for a refused request. The
    status of a refusal:

    - 400 for a wrong host or a missing header field,
    - 403 for a request without https, or from another address,
    - 413 for a body that is too large,
    - 415 for a wrong content type.

    A body with a declared length is refused before a byte of it is read. A chunked body is counted while the view reads
    it, and the first read beyond the limit raises the 413.

    Scheme, host and address are taken from the app's environ. Behind a proxy, set Werkzeug's ``ProxyFix``: fields such
    as ``X-Forwarded-Proto`` are ignored, because any client can send them.
    """

    kind: ClassVar[str] = "require_request"
    phase: ClassVar[Phase] = Phase.PRECONDITION

    json: bool = option(False, check.flag, orders.true_is_stronger)
    content_types: tuple[str, ...] = option((), content_types, orders.fewer_is_stronger_unless_empty)
    max_body: int | None = option(
        None, check.optional(check.whole_number(0, "bytes")), orders.none_weakest(orders.smaller_is_stronger)
    )
    https: bool = option(False, check.flag, orders.true_is_stronger)
    hosts: tuple[str, ...] = option((), host_names, orders.fewer_is_stronger_unless_empty)
    addresses: tuple[Network, ...] = option((), networks, orders.fewer_networks_are_stronger_unless_empty)
    headers: tuple[str, ...] = option((), check_names, orders.more_is_stronger)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        *,
        json: bool = False,
        content_types: str | Iterable[str] = (),
        max_body: int | None = None,
        https: bool = False,
        hosts: str | Iterable[str] = (),
        addresses: str | Iterable[str] = (),
        headers: str | Iterable[str] = (),
        mode: Mode | None = None,
    ) -> RequireRequest: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param json: accept JSON only: ``application/json`` and ``application/*+json``. The view parses it.
        :param content_types: accept these only, such as ``"text/csv"`` or ``"image/*"``. A POST, PUT or PATCH always
            needs one of them, another request only with a body. A body of unknown length is refused when it is read.
        :param max_body: the largest body, in bytes. The app's ``MAX_CONTENT_LENGTH`` holds beside it.
        :param https: refuse requests over http with a 403. A redirect would be too late: the request, with its
            credentials, was sent unencrypted (ASVS 4.1.2).
        :param hosts: the accepted hosts, such as ``"api.example.com"``; ``"*.example.com"`` for every host below a
            domain. A host without a port is accepted with every port.
        :param addresses: the accepted client addresses and networks, such as ``"192.0.2.0/24"``.
        :param headers: header fields that a request must have, with a value.
        :param mode: ``"report"`` to log denials instead of denying.
        :raises ConfigError: for a malformed value, and for `json` beside `content_types`.
        """
        return Policy.__call__(self, *args, **options)

    def __post_init__(self) -> None:
        Policy.__post_init__(self)
        if self.json and self.content_types:
            raise ConfigError(
                "require_request(json=True) sets the content types already. For JSON and other types write only"
                " content_types=['application/json', …]"
            )

    def check_target(self, target: object) -> None:
        rules = (self.json, self.content_types, self.https, self.hosts, self.addresses, self.headers)
        if not any(rules) and self.max_body is None:
            raise ConfigError("require_request has no rule: name one, such as @require_request(json=True)")

    def documented(self, state: AppState) -> Documented:
        rules = {
            400: self.hosts or self.headers,
            403: self.https or self.addresses,
            413: self.max_body is not None,
            415: self.json or self.content_types,
        }
        return Documented(statuses=tuple(status for status, rule in rules.items() if rule))

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        body: tuple[Purpose, ...] = ("body",) if self.max_body is not None else ()
        return (*body, "unknown") if self.addresses else body

    def remedy(self, denial: Denied) -> str:
        accepted = ("application/json",) if self.json else self.content_types
        return {
            "https": "Send it over https. Behind a proxy of yours that speaks https, set Werkzeug's ProxyFix.",
            "host": f"Send it to one of these hosts: {', '.join(self.hosts)}.",
            "address": f"Send it from one of these networks: {', '.join(map(str, self.addresses))}.",
            "header": f"Send these header fields, none of them empty: {', '.join(self.headers)}.",
            "content_type": f"Send a body of one of these content types, and say which: {', '.join(accepted)}.",
            "body": f"Send {self.max_body} bytes at most, or raise max_body.",
        }.get(denial.reason, "")

    def applies(self, target: Target, scope: Scope) -> bool:
        return not target.automatic

    def compile(self, target: Target) -> Step:
        rules = tuple(self._rules(target))
        if len(rules) == 1:
            return Step(rules[0])

        def enter(run: Run) -> None:
            for rule in rules:
                rule(run)

        return Step(enter)

    def _rules(self, target: Target) -> Iterator[Callable[[Run], None]]:
        """Yield the checks, first the ones whose answer reveals least."""
        enforced = self.mode_in(target.state) == "enforce"
        if self.https:
            yield _check_https
        if self.hosts:
            yield _checking_host(self.hosts)
        if self.addresses:
            yield _checking_address(self.addresses)
        if self.headers:
            yield _checking_headers(self.headers)
        accepted = JSON if self.json else self.content_types
        if accepted:
            yield _checking_content_type(accepted, always=target.method in WITH_BODY, enforced=enforced)
        if self.max_body is not None:
            detail = f"The body of a request may have {self.max_body} bytes at most."
            too_large = partial(ContentTooLarge, detail, policy=self.kind, reason="body")
            yield BodyLimit(self.max_body, too_large, enforced).check


def _check_https(run: Run) -> None:
    environ = run.request.environ
    if environ["wsgi.url_scheme"] == "https":
        return
    if environ.get("HTTP_X_FORWARDED_PROTO", "").lower() == "https" and run.state.once("require_request https"):
        log.warning(
            "require_request(https=True) refuses requests to %r with X-Forwarded-Proto: https, which any client can"
            " send. If a proxy of yours sends the field, trust it: app.wsgi_app = ProxyFix(app.wsgi_app, x_proto=1)",
            run.state.app.name,
        )
    raise Denied("Send this request over https.", policy=RequireRequest.kind, reason="https")


def _checking_host(hosts: tuple[str, ...]) -> Callable[[Run], None]:
    allows = allowing(hosts)

    def check_host(run: Run) -> None:
        environ = run.request.environ
        if not allows(environ.get("HTTP_HOST", ""), environ["wsgi.url_scheme"]):
            raise InvalidRequest("The app does not serve this host.", policy=RequireRequest.kind, reason="host")

    return check_host


def _checking_address(addresses: tuple[Network, ...]) -> Callable[[Run], None]:
    @lru_cache(MOST_REMEMBERED)
    def is_listed(address: str) -> bool:
        return lies_in(address, addresses)

    def check_address(run: Run) -> None:
        address: str = run.request.environ.get("REMOTE_ADDR") or ""
        if len(address) > LONGEST or not is_listed(address):
            raise Denied("Requests from this address are not accepted.", policy=RequireRequest.kind, reason="address")

    return check_address


def _checking_headers(names: tuple[str, ...]) -> Callable[[Run], None]:
    keys = tuple((environ_key(name), name) for name in names)

    def check_headers(run: Run) -> None:
        environ = run.request.environ
        for key, name in keys:
            if not environ.get(key, "").strip():
                raise InvalidRequest(f"Send the header field {name}.", policy=RequireRequest.kind, reason="header")

    return check_headers


def _checking_content_type(accepted: tuple[str, ...], *, always: bool, enforced: bool) -> Callable[[Run], None]:
    """Return the check of the content type.

    An HTTP/2 body needs no length, so only a read shows whether there is a body. Its first byte is refused.

    :param always: whether a request without a body needs a content type, too.
    """
    accepts = accepting(accepted)
    acceptable = ", ".join(each for each in accepted if "*+" not in each)  # a field cannot say application/*+json
    refusal = partial(
        UnsupportedContentType,
        f"Send a body of one of these content types: {', '.join(accepted)}.",
        policy=RequireRequest.kind,
        reason="content_type",
        headers=[("Accept", acceptable)] if acceptable else [],
    )
    no_body = BodyLimit(0, refusal, enforced)

    def check_content_type(run: Run) -> None:
        environ = run.request.environ
        if accepts(environ.get("CONTENT_TYPE") or ""):
            return
        has = always or has_body(environ)
        if has:
            raise refusal()
        if has is None:
            no_body.check(run)

    return check_content_type


require_request: RequireRequest = RequireRequest()
