"""JSON Web Tokens as bearer tokens (RFC 7519, RFC 8725). joserfc verifies signatures and claims: extra ``jwt``.

A token never chooses the algorithm. Each key is used only with the allowed algorithms of its kind, so a public key is
never the secret of an HMAC. ``none`` is not an algorithm. Keys and URLs of keys inside a token (``jwk``, ``jku``,
``x5u``, ``x5c``) are ignored.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ..core.denials import store_unavailable
from ..errors import ConfigError
from ..support.extras import extra
from ..support.fetched import NotFetched
from ..support.options import Check, listed, number
from ..support.orders import (
    Comparison,
    Order,
    fewer_is_stronger_if_listed,
    fewer_is_stronger_unless_empty,
    in_order,
    irrelevant,
    more_is_stronger,
    none_strongest,
    none_weakest,
    plain,
    smaller_is_stronger,
    together,
    unordered,
)
from .principal import Principal
from .refusals import Refusals

if TYPE_CHECKING:
    from joserfc.jwt import ClaimsOption

RETRY_WHEN_DOWN = 10
"""The ``Retry-After``, in seconds, while keys cannot be fetched."""

Claims: TypeAlias = "dict[str, Any]"
KeyMaterial: TypeAlias = "str | bytes | Mapping[str, Any]"
"""A secret, a key in PEM, a JWK or a JWK Set (RFC 7517)."""

_seconds: Check[float] = number(0, sys.float_info.max, "seconds")


class JWT:
    """Checks JWTs; a callable for ``require_auth(bearer=…)``.

    ::

        require_auth(bearer=JWT(fetch_jwks, issuer="https://login.example.com/", audience="https://api.example.com"))

    A token must be signed with one of the keys, name the required issuer and audience, and be valid now. Where no
    audience is given, a token that names one is refused: it was made for another service (RFC 7519, section 4.1.3). The
    log says why a token is refused; the client is not told.

    While a `keys` callable fails, its last keys stay in use for up to a day. Without any, the answer is a 503 with
    ``Retry-After``.

    :param keys: a secret of at least 32 bytes, a public key in PEM, a JWK or JWK Set as a mapping, or a callable that
        returns one of these, such as a function that fetches the JWK Set of an issuer. Give the function a timeout.
    :param issuer: the ``iss`` that a token must have, or several of which it must have one.
    :param audience: the ``aud`` that a token must have, or several of which it must have one.
    :param algorithms: the algorithms to accept, such as ``["ES384"]``. By default RS256, ES256 and EdDSA; HS256 if the
        key is a single secret.
    :param leeway: seconds by which clocks may differ.
    :param required: claims that a token must have.
    :param principal: a callable (claims) -> principal or None. By default a :class:`Principal` with the ``sub``, the
        ``roles`` claim (RFC 9068, section 2.2.3.1) and all claims. Scopes are not roles: they limit the client, not the
        user. If scopes are roles in your app: ``lambda c: Principal(c["sub"], c.get("scope", "").split(), c)``.
    :param typ: the ``typ`` that the header must have, such as ``"at+jwt"`` (RFC 9068, section 4); None for any.
    :param max_age: seconds for which the keys of a callable are used. They are fetched sooner if a token names an
        unknown key.
    :raises ConfigError: for an invalid option, for a key that fits no allowed algorithm, such as a public key with
        HS256, and if joserfc is not installed.
    """

    def __init__(
        self,
        keys: KeyMaterial | Callable[[], KeyMaterial],
        *,
        issuer: str | Iterable[str] | None = None,
        audience: str | Iterable[str] | None = None,
        algorithms: str | Iterable[str] | None = None,
        leeway: float = 30,
        required: str | Iterable[str] = ("exp",),
        principal: Callable[[Claims], Any] | None = None,
        typ: str | None = None,
        max_age: float = 300,
    ) -> None:
        with extra("jwt", "joserfc", "JWT(…)"):
            from .jwt_decoder import Decoder
            from .jwt_keys import key_source, known_algorithms
        if principal is not None and (not callable(principal) or inspect.iscoroutinefunction(principal)):
            raise ConfigError(f"JWT(principal=…) must be a plain callable (claims) -> principal, not {principal!r}")
        self._principal = _principal if principal is None else principal
        self._issuers = None if issuer is None else _texts(issuer, "issuer")
        audiences = None if audience is None else _texts(audience, "audience")
        claims = _texts(required, "required", least=0)
        wanted: dict[str, ClaimsOption] = {name: {"essential": True} for name in claims}
        if principal is None:
            wanted["sub"] = {"essential": True}
        if self._issuers is not None:
            wanted["iss"] = {"essential": True, "values": list(self._issuers)}
        if audiences is not None:
            wanted["aud"] = {"essential": True, "values": list(audiences)}
        allowed = None if algorithms is None else known_algorithms(_texts(algorithms, "algorithms"))
        self._decode = Decoder(
            key_source(keys, allowed, _seconds(max_age, "JWT(max_age=…)")),
            wanted,
            leeway=_seconds(leeway, "JWT(leeway=…)"),
            typ=None if typ is None else _texts(typ, "typ")[0],
        )
        self._description = _described(
            keys,
            {
                "issuer": self._issuers,
                "audience": audiences,
                "algorithms": allowed,
                "leeway": leeway,
                "required": claims,
                "principal": principal,
                "typ": typ,
                "max_age": max_age,
            },
        )

    def __call__(self, token: str) -> Any:
        """Return the principal of `token`, or None if the token is not valid.

        :raises StoreUnavailable: if no keys can be fetched.
        """
        try:
            claims = self._decode(token)
        except NotFetched as error:
            detail = "Tokens cannot be verified at the moment."
            raise store_unavailable(detail, Refusals.KIND, retry_after=RETRY_WHEN_DOWN) from error
        return None if claims is None else self._principal(claims)

    def as_plain(self) -> dict[str, Any]:
        """Return the options as values that JSON can hold, without keys, for reports and lock files."""
        return dict(self._description)

    def __repr__(self) -> str:
        return "JWT()" if self._issuers is None else f"JWT(issuer={' or '.join(sorted(self._issuers))!r})"


def _principal(claims: Claims) -> Principal:
    roles = claims.get("roles")
    several = [roles] if isinstance(roles, str) else roles if isinstance(roles, list) else []
    return Principal(claims["sub"], frozenset(role for role in several if isinstance(role, str)), claims)


def _texts(values: object, option: str, *, least: int = 1) -> tuple[str, ...]:
    texts = listed(values)
    if len(texts) < least or not all(isinstance(each, str) and each for each in texts):
        raise ConfigError(f"JWT({option}=…) must be a non-empty string, or several, not {values!r}")
    return texts


# In reports and lock files -------------------------------------------------------------------------------------------

ORDERS: Mapping[str, Order] = {
    "keys": unordered,
    "issuer": fewer_is_stronger_unless_empty,
    "audience": fewer_is_stronger_if_listed,  # None accepts only tokens without an audience
    "algorithms": fewer_is_stronger_if_listed,
    "leeway": smaller_is_stronger,
    "required": more_is_stronger,
    "principal": unordered,
    "typ": none_weakest(unordered),
    "max_age": irrelevant,
}


def _described(keys: object, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a ``JWT(…)`` as values that JSON can hold, with the source of the keys in their place."""
    source = plain(keys) if callable(keys) else "given"
    given = {name: in_order(plain(value), ORDERS[name]) for name, value in options.items() if value is not None}
    return {"keys": source, **given}


def _compare(old: Any, new: Any) -> Comparison:
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return unordered(old, new)
    return together(ORDERS.get(name, unordered)(old.get(name), new.get(name)) for name in sorted({*old, *new}))


token_order: Order = none_strongest(_compare)
"""Compares callables that check tokens. None is the strongest: no token is accepted."""
