"""The decoding of a JWT, with checks of its signature, header and claims. Needs joserfc: extra ``jwt``."""

from __future__ import annotations

import logging
from time import time
from typing import Any

from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import GuestProtocol, Key
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from ..support.http_credentials import is_canonical_base64url
from ..support.options import is_number
from .jwt_keys import ALGORITHMS, FLAWS, KeySource

log: logging.Logger = logging.getLogger("flask_guard")

LONGEST = 16384
"""The longest token, in characters. A longer one is refused unread."""

LATEST = 10**15
"""The latest timestamp, in seconds since 1970. A larger number must not keep a token valid."""


class Refused(JoseError):
    """A token is invalid. The message is safe to log."""


class Registry(JWSRegistry):
    """The algorithms and header parameters that a token may have.

    Unknown parameters are ignored. A token with ``crit`` or ``b64`` asks for an extension, and is refused (RFC 7515,
    section 4.1.11). The keys decide which of the algorithms are allowed.
    """

    max_header_length = max_payload_length = max_signature_length = LONGEST

    def __init__(self) -> None:
        extension = HeaderParameter("extension", "none")
        super().__init__({"crit": extension, "b64": extension}, list(ALGORITHMS), strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        """Return the algorithm, without joserfc's warning about ``EdDSA``: the issuer chose that name."""
        if name not in ALGORITHMS:
            raise Refused("its algorithm is unknown")
        return ALGORITHMS[name]


class Decoder:
    """Decodes and checks tokens.

    :param keys: the keys that may have signed a token.
    :param wanted: the claims that a token must have, as joserfc describes them.
    :param leeway: seconds by which clocks may differ.
    :param typ: the ``typ`` that the header must have; None for any.
    """

    def __init__(self, keys: KeySource, wanted: dict[str, jwt.ClaimsOption], *, leeway: float, typ: str | None) -> None:
        self._keys = keys
        self._wanted = wanted
        self._leeway = leeway
        self._typ = typ and _media_type(typ)
        self._registry = Registry()

    def __call__(self, token: str) -> dict[str, Any] | None:
        """Return the claims of `token`, or None if the token is invalid. The log says why."""
        try:
            decoded = self._verified(token)
            self._check(decoded.header, decoded.claims)
        except FLAWS as flaw:
            log.info("a JWT was refused: %s", _reason(flaw))
            return None
        return decoded.claims

    def _verified(self, token: str) -> jwt.Token:
        """Return the decoded `token` if its signature is valid.

        Another spelling of the same signature is refused: a token that was blocked by its text must stay blocked.
        """
        if len(token) > LONGEST or not token.isascii() or not is_canonical_base64url(token.rpartition(".")[2]):
            raise Refused("the token is too long, or not in the form in which it was issued")
        left: list[Key] | None = None

        def next_key(signature: GuestProtocol) -> Key:
            nonlocal left
            if left is None:
                header = signature.headers()
                left = list(self._keys.find(header["alg"], header.get("kid")))
            if not left:
                raise Refused("no key fits its kid and algorithm, or the algorithm is not allowed")
            return left.pop()

        while True:
            try:
                return jwt.decode(token, next_key, registry=self._registry)
            except BadSignatureError:
                if not left:
                    raise

    def _check(self, header: dict[str, Any], claims: dict[str, Any]) -> None:
        """Check the header and the claims of a token whose signature is valid (RFC 7519, section 4.1)."""
        if self._typ is not None and _media_type(header.get("typ", "")) != self._typ:
            raise Refused("its typ is not the required one")
        for name in ("exp", "nbf", "iat"):
            if name in claims and not (is_number(claims[name]) and abs(claims[name]) < LATEST):
                raise Refused(f"its {name} is not a timestamp")
        if not all(isinstance(claims.get(name, ""), str) for name in ("iss", "sub")):
            raise Refused("its iss or sub is not a string")
        if "aud" not in self._wanted and claims.get("aud") is not None:
            raise Refused("its aud names an audience, and JWT(audience=…) is not given")
        jwt.JWTClaimsRegistry(int(time()), self._leeway, **self._wanted).validate(claims)  # type: ignore[arg-type]


def _media_type(typ: str) -> str:
    """Return `typ` in its short form, for comparison (RFC 7515, section 4.1.9)."""
    return typ.lower().removeprefix("application/")


def _reason(flaw: Exception) -> str:
    """Return why a token was refused, without any text of the token, which messages of other packages may quote."""
    if isinstance(flaw, Refused):
        return flaw.description
    claim = getattr(flaw, "claim", "")
    code = flaw.error if isinstance(flaw, JoseError) else "malformed"
    return f"{code} ({claim})" if claim in ("exp", "nbf", "iat", "iss", "aud", "sub") else code
