"""The keys that verify JWTs, each only with algorithms of its kind. Needs joserfc: extra ``jwt``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, OctKey
from joserfc.jws import JWSRegistry

from ..errors import ConfigError
from ..support.fetched import Fetched
from ..support.text import did_you_mean

ALGORITHMS = {name: model for name, model in JWSRegistry.algorithms.items() if name != "none"}
BY_DEFAULT = ("RS256", "ES256", "EdDSA", "Ed25519")
BY_DEFAULT_FOR_A_SECRET = ("HS256",)
RSA_BITS = 2048
FLAWS = (JoseError, UnsupportedAlgorithm, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""The exceptions that versions of joserfc raise for malformed keys and tokens."""


class Keys:
    """The keys of one moment, by algorithm."""

    def __init__(self, by_algorithm: Mapping[str, list[Key]]) -> None:
        self._by_algorithm = by_algorithm
        self.kids: frozenset[str | None] = frozenset(key.kid for keys in by_algorithm.values() for key in keys)

    def find(self, algorithm: str, kid: str | None) -> list[Key]:
        """Return the keys for `algorithm`. A ``kid`` of the token leaves out the keys with another ``kid``."""
        keys = self._by_algorithm.get(algorithm, [])
        return keys if kid is None else [key for key in keys if key.kid in (None, kid)]


class FetchedKeys:
    """Keys that a callable of the app returns, kept for `max_age` seconds."""

    def __init__(self, fetch: Callable[[], Any], allowed: tuple[str, ...] | None, max_age: float) -> None:
        self._keys = Fetched(fetch, lambda material: read_keys(material, allowed), "JWT(keys)")
        self._allowed = allowed or tuple(ALGORITHMS)
        self._max_age = max_age

    def find(self, algorithm: str, kid: str | None) -> list[Key]:
        """Return the keys that may have signed a token. For an unknown ``kid`` the keys are fetched again.

        :raises NotFetched: if the callable fails, and there are no earlier keys.
        """
        keys = self._keys.get(self._max_age)
        found = keys.find(algorithm, kid)
        if found or kid is None or kid in keys.kids or algorithm not in self._allowed or not self._max_age:
            return found
        return self._keys.get_newer(self._max_age).find(algorithm, kid)


KeySource: TypeAlias = Keys | FetchedKeys
"""Finds the keys that may have signed a token. Called by several threads at once."""


def key_source(material: Any, allowed: tuple[str, ...] | None, max_age: float) -> KeySource:
    """Return the source of keys for the `material` that ``JWT(…)`` was given.

    :raises ConfigError: if `material` has no key.
    """
    if isinstance(material, type) or not callable(material):
        return read_keys(material, allowed)
    return FetchedKeys(material, allowed, max_age)


def known_algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of algorithms that can be allowed together.

    :raises ConfigError: for an unknown algorithm or ``none``, and for a mixture of secrets and public keys.
    """
    for name in names:
        if name not in ALGORITHMS:
            hint = did_you_mean(name, ALGORITHMS)
            raise ConfigError(
                f"JWT(algorithms=…): {name!r} is not an algorithm{hint}; write names such as 'RS256' or 'ES256'"
            )
    if len({ALGORITHMS[name].key_type == "oct" for name in names}) > 1:
        raise ConfigError(
            "JWT(algorithms=…) mixes HMAC, which needs a secret, with algorithms for public keys. Make one JWT(…) for"
            " each, and a callable that asks both"
        )
    return names


# Reading ----------------------------------------------------------------------------------------------------------


def read_keys(material: object, allowed: tuple[str, ...] | None) -> Keys:
    """Return the keys in `material`, for the algorithms that are `allowed`.

    :raises ConfigError: if `material` has no such key.
    """
    keys, is_one_secret = _parsed(material)
    wanted = allowed or (BY_DEFAULT_FOR_A_SECRET if is_one_secret else BY_DEFAULT)
    usable: dict[str, list[Key]] = {}
    reasons: list[str] = []
    for key in keys:
        for name in wanted:
            if reason := _why_not(key, name):
                reasons.append(reason)
            else:
                usable.setdefault(name, []).append(key)
    if not usable:
        why = "; ".join(dict.fromkeys(reasons)) or "no key in it can be read"
        raise ConfigError(f"JWT(keys) has no key for {' or '.join(wanted)}: {why}")
    return Keys(usable)


def _why_not(key: Any, algorithm: str) -> str:
    """Return why `key` does not fit `algorithm`, or an empty string. The sizes: RFC 7518, sections 3.2 and 3.3."""
    if algorithm not in ALGORITHMS:
        return f"the installed joserfc lacks {algorithm}"
    try:
        ALGORITHMS[algorithm].check_key(key)  # the key's kind, curve and stated use
    except JoseError as error:
        return error.description
    if "verify" not in (key.get("key_ops") or ("verify",)):
        return "the key is not for signatures"
    if isinstance(key, OctKey) and len(key.raw_value) * 8 < int(algorithm[2:]):
        return f"{algorithm} needs a secret of at least {int(algorithm[2:]) // 8} bytes"
    if key.key_type == "RSA" and key.public_key.key_size < RSA_BITS:
        return f"an RSA key needs at least {RSA_BITS} bits"
    return ""


def _parsed(material: object) -> tuple[list[Key], bool]:
    """Return the keys in `material`, and whether `material` is one secret rather than public keys."""
    if isinstance(material, Mapping):
        members = material.get("keys", [material])
        if not isinstance(members, (list, tuple)):
            raise ConfigError("JWT(keys): the 'keys' of a JWK Set must be a list")
        keys = [key for member in members if (key := _imported(member)) is not None]  # the others: RFC 7517, section 5
        if "keys" not in material and not keys:
            raise ConfigError(
                "JWT(keys): this JWK has an unknown kty, or a malformed member; write a whole RSA, EC, OKP or oct key"
            )
        return keys, material.get("kty") == "oct"
    if not isinstance(material, (str, bytes)):
        raise ConfigError(
            "JWT(keys) must be a secret, a PEM, a JWK or JWK Set as a mapping, or a callable that returns one of these,"
            f" not a {type(material).__name__}"
        )
    raw = material.encode() if isinstance(material, str) else material
    if b"-----BEGIN" not in raw:
        _refuse_public_text(raw)
        return [OctKey.import_key(raw)], True
    for kind in ("RSA", "EC", "OKP"):
        if (key := _imported(raw, kind)) is not None:
            return [key], False
    raise ConfigError("JWT(keys): this PEM is not a readable RSA, EC or Ed25519 key; write one that is not encrypted")


def _imported(value: Any, kind: str | None = None) -> Key | None:
    """Return the key in a JWK, or in a PEM of a `kind`; None if joserfc cannot read `value` as one."""
    try:
        return JWKRegistry.import_key(dict(value) if kind is None else value, kind)
    except (*FLAWS, UserWarning):
        return None


def _refuse_public_text(raw: bytes) -> None:
    """Refuse public text, such as a public key: as the secret of an HMAC it would let everybody in."""
    if len(raw) < 32:
        raise ConfigError("JWT(keys): a secret must have at least 32 bytes (RFC 7518, section 3.2)")
    text = raw.strip()
    if text.startswith(b"{") and text.endswith(b"}"):
        raise ConfigError("JWT(keys) is JSON text, not a secret: write the mapping, json.loads(…)")
    if text.startswith((b"https://", b"http://", b"file://")):
        raise ConfigError("JWT(keys) is a URL, not a secret: write a callable that fetches the keys from the URL")
    if text.startswith((b"ssh-", b"ecdsa-sha2-", b"sk-")) or _is_der(raw):
        raise ConfigError("JWT(keys) is a public key, not a secret: write the key in PEM")


def _is_der(raw: bytes) -> bool:
    try:
        load_der_public_key(raw)
    except UnsupportedAlgorithm:
        return True
    except ValueError:
        return False
    return True
