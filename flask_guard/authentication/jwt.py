"""JSON Web Tokens as bearer tokens (RFC 7519, RFC 8725). joserfc reads the keys and verifies signatures: extra ``jwt``.

The algorithm is never the token's to choose. Each key is used only with algorithms of its own kind that are allowed, so
a public key is never the secret of an HMAC; ``none`` is no algorithm; and keys or addresses of keys that a token brings
along (``jwk``, ``jku``, ``x5u``, ``x5c``) are not looked at.
"""

from __future__ import annotations

import base64
import inspect
import json
import logging
import math
import re
from collections.abc import Callable, Iterable
from time import time
from typing import Any, TypeAlias

from ..errors import ConfigError
from .jwt_keys import KeyMaterial, key_source, known_algorithms
from .principal import Principal

log: logging.Logger = logging.getLogger("flask_guard")

LONGEST = 16384
"""Characters of a token beyond which it is refused unread."""

Claims: TypeAlias = "dict[str, Any]"
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


class JWT:
    """Checks JWTs; a callable for ``require_auth(bearer=…)``.

    ::

        require_auth(bearer=JWT(fetch_jwks, issuer="https://login.example.com/", audience="https://api.example.com"))

    A token must be signed with one of the keys, bear the issuer and an audience that are wanted, and be in its time.
    One that names an audience is refused where none is expected, as it was made for somebody else (RFC 7519, section
    4.1.3). Why a token is refused is in the log, and not told to the client.

    :param keys: a secret of at least 32 bytes, a public key in PEM, a JWK or JWK Set as a mapping, or a callable that
        returns one of these, such as one that fetches the JWK Set of an issuer; give it a timeout.
    :param issuer: the ``iss`` that a token must have, or several of which it must have one.
    :param audience: the ``aud`` that a token must have, or several of which it must have one.
    :param algorithms: the algorithms to accept, such as ``["ES384"]``. By default RS256, ES256 and EdDSA; HS256 if the
        key is a lone secret.
    :param leeway: seconds by which clocks may differ.
    :param required: claims that a token must have.
    :param principal: a callable (claims) -> principal or None. By default a :class:`Principal` with the ``sub``, the
        ``roles`` claim (RFC 9068, section 2.2.3.1) and all claims. Scopes, which are what a user lets a client do, are
        no roles; if they are in your app: ``lambda c: Principal(c["sub"], frozenset(c.get("scope", "").split()), c)``.
    :param typ: the ``typ`` that the header must have, such as ``"at+jwt"`` (RFC 9068, section 4); None for any.
    :param max_age: seconds for which what the `keys` callable returned is used; sooner if a token names an unknown key.
    :raises ConfigError: for options that cannot be meant, for a key that no allowed algorithm can be used with, such as
        HS256 and a public key, and if joserfc is missing.
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
        self._leeway = _seconds(leeway, "leeway")
        self._issuers = None if issuer is None else frozenset(_texts(issuer, "issuer"))
        self._audiences = None if audience is None else frozenset(_texts(audience, "audience"))
        self._required = _texts(required, "required", may_be_empty=True)
        if principal is not None and (not callable(principal) or inspect.iscoroutinefunction(principal)):
            raise ConfigError(f"JWT(principal=…) must be a plain callable (claims) -> principal, not {principal!r}")
        self._principal = _principal if principal is None else principal
        self._typ = None if typ is None else _media_type(_texts(typ, "typ")[0])
        allowed = None if algorithms is None else known_algorithms(_texts(algorithms, "algorithms"))
        self._keys = key_source(keys, allowed, _seconds(max_age, "max_age"))

    def __call__(self, token: str) -> Any:
        """Return the principal whose token this is, or None."""
        try:
            claims = self._verified(token)
            self._check(claims)
        except _Refused as refused:
            log.info("a JWT was refused: %s", refused)
            return None
        return self._principal(claims)

    def __repr__(self) -> str:
        issuer = "" if self._issuers is None else f"issuer={' or '.join(sorted(self._issuers))!r}"
        return f"JWT({issuer})"

    def _verified(self, token: str) -> Claims:
        """Return the claims of `token` if its signature holds."""
        segments = token.split(".") if len(token) <= LONGEST and token.isascii() else ()
        if len(segments) != 3:
            raise _Refused("it does not have three parts in ASCII")
        header = _json_object(segments[0])
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or not (kid is None or isinstance(kid, str)):
            raise _Refused("its header is malformed")
        if "crit" in header or "b64" in header:  # RFC 7515, section 4.1.11: refuse what is not understood
            raise _Refused("its header asks for an extension")
        typ = header.get("typ")
        if self._typ is not None and (not isinstance(typ, str) or _media_type(typ) != self._typ):
            raise _Refused("its typ is another")
        signature = _decoded(segments[2])
        signed = f"{segments[0]}.{segments[1]}".encode("ascii")
        keys = self._keys.find(algorithm, kid)
        if not keys:
            raise _Refused("there is no key for its kid and algorithm, or the algorithm is not allowed")
        if not any(key.verifies(signed, signature) for key in keys):
            raise _Refused("its signature does not hold")
        return _json_object(segments[1])

    def _check(self, claims: Claims) -> None:
        """Check what a token whose signature holds claims (RFC 7519, section 4.1)."""
        now, leeway = time(), self._leeway
        for name in self._required:
            if claims.get(name) is None:
                raise _Refused(f"it lacks {name}")
        if "exp" in claims and not now < _moment(claims, "exp") + leeway:
            raise _Refused("it has expired")
        if "nbf" in claims and not _moment(claims, "nbf") - leeway <= now:
            raise _Refused("it is not valid yet")
        if "iat" in claims and not _moment(claims, "iat") - leeway <= now:
            raise _Refused("it was issued in the future")
        if self._issuers is not None and _text(claims.get("iss")) not in self._issuers:
            raise _Refused("its issuer is another")
        if not self._is_for_us(claims.get("aud")):
            raise _Refused("its audience is another")
        if self._principal is _principal and not _text(claims.get("sub")):
            raise _Refused("it has no sub to name a principal by")

    def _is_for_us(self, audience: object) -> bool:
        if self._audiences is None:
            return audience is None
        named = audience if isinstance(audience, list) else [audience]
        return any(_text(each) in self._audiences for each in named)


class _Refused(Exception):
    """Says why a token does not hold, in words that are safe to log."""


def _principal(claims: Claims) -> Principal:
    roles = claims.get("roles")
    listed = [roles] if isinstance(roles, str) else roles if isinstance(roles, list) else []
    return Principal(claims["sub"], frozenset(role for role in listed if isinstance(role, str)), claims)


def _json_object(segment: str) -> Claims:
    try:
        value = json.loads(_decoded(segment).decode("utf-8"))
    except (ValueError, RecursionError):
        raise _Refused("a part of it is no JSON") from None
    if not isinstance(value, dict):
        raise _Refused("a part of it is no JSON object")
    return value


def _decoded(segment: str) -> bytes:
    """Return the bytes of `segment`: base64url without padding (RFC 7515, section 2)."""
    if not _BASE64URL.fullmatch(segment) or len(segment) % 4 == 1:
        raise _Refused("a part of it is not in base64url")
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _moment(claims: Claims, name: str) -> float:
    """Return a NumericDate, which NaN and infinity are not: a token must not stay for ever by a comparison with one."""
    value = claims[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15:
        return value
    raise _Refused(f"its {name} is no moment")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _media_type(typ: str) -> str:
    """Return `typ` in the form in which two are compared (RFC 7515, section 4.1.9)."""
    return typ.lower().removeprefix("application/")


def _seconds(value: object, option: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 and math.isfinite(value):
        return value
    raise ConfigError(f"JWT({option}=…) must be seconds, not {value!r}")


def _texts(values: object, option: str, *, may_be_empty: bool = False) -> tuple[str, ...]:
    listed = (values,) if isinstance(values, str) or not isinstance(values, Iterable) else tuple(values)
    if not all(isinstance(each, str) and each for each in listed) or not (listed or may_be_empty):
        raise ConfigError(f"JWT({option}=…) must be a string or several, none of them empty, not {values!r}")
    return listed
