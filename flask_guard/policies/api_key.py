"""`require_api_key`: let only callers with a valid API key through (RFC 6750, RFC 9110 section 11)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast, overload

from werkzeug.local import LocalProxy

from ..config import check_realm
from ..errors import ConfigError
from ..keys import ApiKey
from ..keys.model import scope_tokens
from ..policy import DenyingPolicy, Phase, Step
from ..problems import Denied, InsufficientScope, InvalidRequest, LimitExceeded, Unauthenticated
from ..run import Run, current_run
from ..storage import FailureLimit, failure_limit

if TYPE_CHECKING:
    from ..plan import Place
    from ..typing import Mode, TargetT

log: logging.Logger = logging.getLogger("flask_guard")

LONGEST_KEY = 8192
"""Characters of a presented key beyond which it is refused without a look-up."""

VALUE = "api_key"
NO_KEYS = "%r has views that require an API key, and no keys: everybody is denied. Set GUARD_API_KEYS or Guard(keys=…)"
Extract: TypeAlias = Callable[[Run], "str | None"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RequireApiKey(DenyingPolicy):
    """Lets only callers with a valid API key through; :data:`current_api_key` is that key.

    Keys come from ``GUARD_API_KEYS`` or ``Guard(keys=…)``; without any, everybody is denied. Nothing presented is a
    401 with a plain challenge; a key that is unknown or expired a 401 ``invalid_token``; one that lacks a scope a 403
    ``insufficient_scope`` (RFC 6750, section 3.1). Bad keys from one address are limited: past that, a 429.

    :param scopes: scopes that the key must have, all of them.
    :param any_scope: scopes of which it must have at least one.
    :param optional: let callers through that present no key; a bad key is refused all the same.
    :param in_: where to look: ``"bearer"`` (``Authorization: Bearer``), ``"x-api-key"``, ``"header:NAME"``,
        ``"query:NAME"`` (query strings end up in logs and histories: avoid it).
    :param realm: the realm of the challenge; by default ``GUARD_REALM``.
    :param failures: how many bad keys one address may present, as a rate; None for no limit. A good key from the same
        address is let through all the same.
    :param mode: ``"report"`` to log what would be denied instead of denying it.
    :raises ConfigError: for a malformed scope, place, realm or rate.
    """

    kind: ClassVar[str] = "require_api_key"

    scopes: tuple[str, ...] = ()
    any_scope: tuple[str, ...] = ()
    optional: bool = False
    in_: tuple[str, ...] = ("bearer", "x-api-key")
    realm: str | None = None
    failures: str | None = "20/minute"

    if TYPE_CHECKING:

        @overload
        def __call__(self, target: TargetT, /) -> TargetT: ...
        @overload
        def __call__(
            self,
            *,
            scopes: str | Iterable[str] = ...,
            any_scope: str | Iterable[str] = ...,
            optional: bool = ...,
            in_: str | Iterable[str] = ...,
            realm: str | None = ...,
            failures: str | None = ...,
            mode: Mode | None = ...,
        ) -> RequireApiKey: ...
        def __call__(self, *args: Any, **options: Any) -> Any: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "scopes", scope_tokens(self.scopes, "require_api_key(scopes=…)"))
        object.__setattr__(self, "any_scope", scope_tokens(self.any_scope, "require_api_key(any_scope=…)"))
        places = (self.in_,) if isinstance(self.in_, str) else tuple(self.in_)
        object.__setattr__(self, "in_", places)
        if not places:
            raise ConfigError("require_api_key(in_=…) names no place to look for a key")
        for place in places:
            _extractor(place)
        if self.realm is not None:
            check_realm(self.realm, "require_api_key(realm=…)")
        if self.failures is not None:
            failure_limit(self.failures)
        if not isinstance(self.optional, bool):
            raise ConfigError(f"require_api_key(optional=…) must be True or False, not {self.optional!r}")
        DenyingPolicy.__post_init__(self)

    @property
    def phase(self) -> Phase:
        return Phase.AUTHENTICATE

    def compile(self, place: Place) -> Step:
        state = place.state
        store = state.key_store
        if store is None and state.once("no keys"):
            log.warning(NO_KEYS, state.app.name)
        extract = _extract(self.in_)
        verify = _Verifier(self, quoted(state.config.realm if self.realm is None else self.realm))
        failures = FailureLimit(state, self.failures) if self.failures else None
        optional = self.optional

        lookup = store.lookup if store is not None else _find_nothing

        def enter(run: Run) -> None:
            presented = extract(run)
            if presented is None:
                if not optional:
                    raise verify.nothing_presented()
                return
            if not presented or presented is SEVERAL:
                raise verify.malformed()
            key = (
                lookup(presented if presented.isascii() else _text(presented))
                if len(presented) <= LONGEST_KEY
                else None
            )
            if key is None or key.expired:
                if failures is not None and (wait := failures.wait_after_failure(run)):
                    raise _too_many(wait)
                raise verify.unknown() if key is None else verify.expired()
            run.values[VALUE] = key
            verify.reaches(key)

        return Step(enter)


def _current() -> ApiKey | None:
    run = current_run()
    if run is None:
        raise RuntimeError("current_api_key is only there while a guarded request is handled")
    return cast("ApiKey | None", run.values.get(VALUE))


current_api_key: ApiKey = cast(ApiKey, LocalProxy(_current))
"""The :class:`ApiKey` of this request; false where the request presented none (``optional=True``)."""


def _find_nothing(_presented: str) -> ApiKey | None:
    return None


class _Verifier:
    """Decides about a key that was looked up, and words the refusals."""

    def __init__(self, policy: RequireApiKey, realm: str) -> None:
        self.scheme = "Bearer" if "bearer" in policy.in_ else "ApiKey"
        self.challenge = f"{self.scheme} realm={realm}"
        self.scopes = frozenset(policy.scopes)
        self.any_scope = frozenset(policy.any_scope)
        self.wanted = " ".join(dict.fromkeys((*policy.scopes, *policy.any_scope)))

    def reaches(self, key: ApiKey) -> None:
        """Raise the 403 of a key that lacks a scope."""
        if not self.scopes <= key.scopes or (self.any_scope and self.any_scope.isdisjoint(key.scopes)):
            detail = f"The API key lacks the scope that this needs: {self.wanted}."
            error = f', error="insufficient_scope", scope="{self.wanted}"'
            raise InsufficientScope(detail, **self._terms("insufficient_scope", error))

    def nothing_presented(self) -> Denied:
        """Return the denial of a request without credentials: a bare challenge (RFC 6750, section 3.1)."""
        return Unauthenticated("An API key is required.", **self._terms("missing", ""))

    def malformed(self) -> Denied:
        """Return the denial of a request with several credentials, or with an empty one."""
        return InvalidRequest(
            "Present one API key, in one place.", **self._terms("malformed", ', error="invalid_request"')
        )

    def unknown(self) -> Denied:
        """Return the denial of a key that nobody has."""
        return self._invalid("The API key is not valid.", "unknown")

    def expired(self) -> Denied:
        """Return the denial of a key whose time is over."""
        return self._invalid("The API key has expired.", "expired")

    def _invalid(self, detail: str, reason: str) -> Denied:
        error = f', error="invalid_token", error_description="{detail}"'
        return Unauthenticated(detail, **self._terms(reason, error))

    def _terms(self, reason: str, parameters: str) -> dict[str, Any]:
        challenge = [("WWW-Authenticate", self.challenge + parameters)]
        return {"policy": RequireApiKey.kind, "reason": reason, "headers": challenge}


def _too_many(wait: int) -> Denied:
    return LimitExceeded(
        f"Too many bad API keys from this address. Try again in {wait} s.",
        policy=RequireApiKey.kind,
        reason="failures",
        headers=[("Retry-After", str(wait))],
    )


SEVERAL = "several credentials"
"""Stands, by identity, for what a request presents that presents more than one."""


def _extract(places: tuple[str, ...]) -> Extract:
    """Return what finds the one credential that a request presents."""
    distinct = dict.fromkeys("header:X-API-Key" if place == "x-api-key" else place for place in places)
    first, *others = [_extractor(place) for place in distinct]

    def extract(run: Run) -> str | None:
        found = first(run)
        for look in others:
            value = look(run)
            if value is not None:
                if found is not None:
                    return SEVERAL
                found = value
        return found

    return extract


def _extractor(place: str) -> Extract:
    if place == "bearer":
        return _bearer
    where, _, field = ("header:X-API-Key" if place == "x-api-key" else place).partition(":")
    if where == "header" and field.replace("-", "").isalnum() and field.isascii():
        variable = f"HTTP_{field.upper().replace('-', '_')}"
        return lambda run: cast("str | None", run.request.environ.get(variable))
    if where == "query" and field:
        return lambda run: _in_query(run, field)
    raise ConfigError(f"require_api_key(in_=…): {place!r} is not 'bearer', 'x-api-key', 'header:NAME' or 'query:NAME'")


def _bearer(run: Run) -> str | None:
    """Return the bearer token, an empty string if there is none after the scheme, or None for another scheme."""
    value: str | None = run.request.environ.get("HTTP_AUTHORIZATION")
    if value is None or value[:6].lower() != "bearer" or value[6:7] not in ("", " "):
        return None
    return value[7:].strip(" ")


def _in_query(run: Run, field: str) -> str | None:
    try:
        values = run.request.args.getlist(field)
    except UnicodeDecodeError:  # Werkzeug does not look after a query string that is not UTF-8
        return ""
    return SEVERAL if len(values) > 1 else next(iter(values), None)


def _text(presented: str) -> str:
    """Return what a header field holds as text: WSGI hands its bytes over as Latin-1."""
    if presented.isascii():
        return presented
    try:
        return presented.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return presented


def quoted(text: str) -> str:
    """Return `text`, which is printable ASCII, as a quoted-string (RFC 9110, section 5.6.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


require_api_key: RequireApiKey = RequireApiKey()
