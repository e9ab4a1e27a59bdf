"""`require_api_key`: let only callers with a valid API key through (RFC 6750, RFC 9110 section 11)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, cast, overload

from ..authentication.concern import REALM
from ..authentication.private_responses import private_responses
from ..core.app_state import AppState
from ..core.denials import Denied, InsufficientScope, InvalidRequest, Unauthenticated, store_unavailable
from ..core.described import Documented
from ..core.policy import Credential, DenyingPolicy, Phase, Policy, Scope, Step, Target
from ..core.ready_denials import ready_denial
from ..core.request_run import Current, Run, Slot
from ..errors import ConfigError
from ..rate_limits.failures import FailureLimit, failure_limit
from ..rate_limits.identity import address_of
from ..rate_limits.rates import lower_is_stronger
from ..signals import key_used
from ..support import options as check
from ..support.http_credentials import SEVERAL, extract_from, place_of, quoted, text_of
from ..support.options import option
from ..support.orders import (
    false_is_stronger,
    fewer_is_stronger,
    fewer_is_stronger_unless_empty,
    irrelevant,
    more_is_stronger,
)
from ..typing import Mode, Purpose, TargetT
from .concern import key_store_of
from .model import ApiKey, KeyStore, KeyStoreUnavailable, scope_tokens
from .records import DamagedRecord

log: logging.Logger = logging.getLogger("flask_guard")

LONGEST_KEY = 8192
"""Characters of a presented key beyond which it is refused without a look-up."""

RETRY_WHEN_DOWN = 5
"""Seconds that a client is told to wait when keys cannot be looked up."""

KEY: Slot[ApiKey] = Slot("require_api_key.key")
HINTS = {
    "role": "scopes='admin'",
    "roles": "scopes=['admin']",
    "header": "in_='header:NAME'",
    "scheme": "in_='bearer'",
    "keys": "Guard(app, keys=…)",
}
"""Our words for the options of other packages."""
REQUIRED = "An API key is required."
REQUIRED_WITH_SCHEME = "An API key is required, written as 'Authorization: Bearer KEY'."
NO_KEYS = "%r has views that require an API key, and no keys: everybody is denied. Set GUARD_API_KEYS or Guard(keys=…)"


def _places(value: str | Iterable[str], what: str) -> tuple[str, ...]:
    places = check.listed(value)
    if not places:
        raise ConfigError(f"{what} names no place to look for a key")
    for place in places:
        place_of(place)
    return places


def _as_sent(place: str) -> str:
    """Return a place of a key as it is written in a request."""
    sort, _, name = place.partition(":")
    return {"bearer": "'Authorization: Bearer KEY'", "x-api-key": "'X-API-Key: KEY'", "query": f"?{name}=KEY"}.get(
        sort, f"'{name}: KEY'"
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RequireApiKey(DenyingPolicy):
    """Let only callers with a valid API key through. :data:`current_api_key` is that key.

    Keys come from ``GUARD_API_KEYS`` or ``Guard(keys=…)``. Without any, everybody is denied. Nothing presented is a 401
    with a plain challenge, an unknown or expired key a 401 ``invalid_token``, a key that lacks a scope a 403
    ``insufficient_scope`` (RFC 6750, section 3.1).
    """

    kind: ClassVar[str] = "require_api_key"
    phase: ClassVar[Phase] = Phase.AUTHENTICATE

    scopes: tuple[str, ...] = option((), scope_tokens, more_is_stronger)
    any_scope: tuple[str, ...] = option((), scope_tokens, fewer_is_stronger_unless_empty)
    optional: bool = option(False, check.flag, false_is_stronger)
    in_: tuple[str, ...] = option(("bearer", "x-api-key"), _places, fewer_is_stronger)
    realm: str | None = option(None, check.optional(check.realm), irrelevant)
    failures: str | None = option("20/minute", check.optional(failure_limit), lower_is_stronger)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        *,
        scopes: str | Iterable[str] = (),
        any_scope: str | Iterable[str] = (),
        optional: bool = False,
        in_: str | Iterable[str] = ("bearer", "x-api-key"),
        realm: str | None = None,
        failures: str | None = "20/minute",
        mode: Mode | None = None,
    ) -> RequireApiKey: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param scopes: scopes that the key must have, all of them.
        :param any_scope: scopes of which the key must have at least one.
        :param optional: let callers through that present no key. A bad key is refused all the same.
        :param in_: where to look: ``"bearer"`` (``Authorization: Bearer``), ``"x-api-key"``, ``"header:NAME"``,
            ``"query:NAME"`` (avoid it: query strings end up in logs and histories).
        :param realm: the realm of the challenge; by default ``GUARD_REALM``.
        :param failures: how many bad keys one address may present, as a rate; past that the answer is a 429. None for
            no limit. A good key from the same address is let through all the same.
        :param mode: ``"report"`` to log denials instead of denying.
        :raises ConfigError: for a malformed scope, place, realm or rate.
        """
        return Policy.__call__(self, *args, **options)

    def hint(self, option: str) -> str:
        return f"; write {HINTS[option]}" if option in HINTS else ""

    @property
    def credential_places(self) -> tuple[Credential, ...]:
        return tuple((where, name.lower() if where == "header" else name) for where, name in map(place_of, self.in_))

    def documented(self, state: AppState) -> Documented:
        statuses = (400, 401, *([403] if self.scopes or self.any_scope else []), *([429] if self.failures else []))
        return Documented(dict(map(_scheme, self.in_)), self.optional, statuses)

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        return () if self.optional else ("authentication",)

    def applies(self, target: Target, scope: Scope) -> bool:
        return not target.automatic

    def remedy(self, denial: Denied) -> str:
        scopes = " and ".join((*self.scopes, *([f"one of {', '.join(self.any_scope)}"] if self.any_scope else ())))
        with_scopes = f" with the scope {scopes}" if scopes else ""
        places = " or ".join(map(_as_sent, self.in_))
        return {
            "missing": f"Send a key{with_scopes}: {places}.",
            "malformed": f"Send one key, in one place: {places}.",
            "unknown": "Send a key that the app knows: those of GUARD_API_KEYS, or of 'flask guard keys list'.",
            "insufficient_scope": f"Send a key{with_scopes}.",
            "address": "Send the key from an address that its addresses= allow, or change those.",
            "failures": "Wait, or forget the failures: flask guard limits reset --key ADDRESS.",
            "store": "Start the store of the keys, or mend its address.",
        }.get(denial.reason, "Send a key that is in force; 'flask guard keys create' makes one.")

    def compile_key(self, target: Target, place: Scope) -> Hashable | None:
        return ()

    def compile(self, target: Target) -> Step:
        state = target.state
        store = key_store_of(state)
        if store is None and state.once("no keys"):
            log.warning(NO_KEYS, state.app.name)
        extract = extract_from(self.in_)
        verify = _Verifier(self, quoted(state.config[REALM] if self.realm is None else self.realm))
        failures = FailureLimit(state, self.failures, {"api-key": 1}, policy=self.kind, credentials="API keys")
        find, optional, needs_scope = _finder(store), self.optional, bool(self.scopes or self.any_scope)

        def enter(run: Run) -> None:
            presented = extract(run.request)
            if presented is None:
                if not optional:
                    raise verify.nothing_presented(run)
                return
            if not presented or presented is SEVERAL:
                raise verify.malformed()
            key = find(presented)
            if key is None or not (key.unrestricted is True or verify.may_be_used(key, run)):
                failures.count(address_of(run))
                raise verify.invalid(key)
            run.kept[KEY] = key
            run.identities["api_key"] = key.id
            if needs_scope:
                verify.reaches(key)
            if key_used.receivers and not run.rehearsal:
                key_used.send(state.app, key=key, request=run.request)

        fields = [name for where, name in map(place_of, self.in_) if where == "header"]
        return Step(enter, private_responses(fields, KEY))


current_api_key: ApiKey = cast(ApiKey, Current("current_api_key", RequireApiKey.kind, KEY))
"""The :class:`ApiKey` of this request; false where the request presented none (``optional=True``)."""


def _scheme(place: str) -> tuple[str, dict[str, str]]:
    """Return the security scheme of a place of keys in OpenAPI documents, with its name."""
    if place == "bearer":
        return "apiKeyAsBearer", {"type": "http", "scheme": "bearer"}
    where, name = place_of(place)
    return f"apiKey_{name}", {"type": "apiKey", "in": where, "name": name}


def _finder(store: KeyStore | None) -> Callable[[str], ApiKey | None]:
    """Return a function that looks up the value of a header field."""
    if store is None:
        return lambda _presented: None
    lookup = store.lookup

    def find(presented: str) -> ApiKey | None:
        if len(presented) > LONGEST_KEY:
            return None
        try:
            return lookup(presented if presented.isascii() else text_of(presented))
        except KeyStoreUnavailable as error:
            if not error.is_logged:
                level = logging.ERROR if isinstance(error, DamagedRecord) else logging.WARNING
                log.log(level, "an API key cannot be verified: %s", error)
            detail = "API keys cannot be verified just now."
            raise store_unavailable(detail, RequireApiKey.kind, retry_after=RETRY_WHEN_DOWN) from error

    return find


class _Verifier:
    """Decides about a key that was looked up, and makes the refusals."""

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
            raise self._refusal(InsufficientScope, detail, "insufficient_scope", error)

    def nothing_presented(self, run: Run) -> Denied:
        """Return the denial of a request without credentials: a bare challenge (RFC 6750, section 3.1)."""
        bare = self.scheme == "Bearer" and "HTTP_AUTHORIZATION" in run.request.environ
        return self._refusal(Unauthenticated, REQUIRED_WITH_SCHEME if bare else REQUIRED, "missing")

    def malformed(self) -> Denied:
        """Return the denial of a request with several credentials, or with an empty one."""
        detail = "Present one API key, in one place."
        return self._refusal(InvalidRequest, detail, "malformed", ', error="invalid_request"')

    def may_be_used(self, key: ApiKey, run: Run) -> bool:
        """Return whether a key works now, and from the address of the request."""
        return key.status == "active" and key.allows(run.request.remote_addr)

    def invalid(self, key: ApiKey | None) -> Denied:
        """Return the denial of a key that does not work; None for an unknown one.

        Only the holder of a real key learns more than that the key is not valid: that it has expired.
        """
        detail, reason = "The API key is not valid.", "unknown"
        if key is not None:
            reason = key.status.replace(" ", "_") if key.status != "active" else "address"
        if reason == "expired":
            detail = "The API key has expired."
        error = f', error="invalid_token", error_description="{detail}"'
        return self._refusal(Unauthenticated, detail, reason, error)

    def _refusal(self, kind: Callable[..., Denied], detail: str, reason: str, parameters: str = "") -> Denied:
        challenge = (("WWW-Authenticate", self.challenge + parameters),)
        denial: Denied = ready_denial(kind, detail, RequireApiKey.kind, reason, challenge).copy()
        return denial


require_api_key: RequireApiKey = RequireApiKey()
