"""The keys that JWTs are verified with: read from whatever form they come in, each tied to algorithms of its kind."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from types import ModuleType
from typing import Any, Protocol, TypeAlias

from ..errors import ConfigError
from ..support.text import did_you_mean

KeyMaterial: TypeAlias = "str | bytes | Mapping[str, Any]"
"""A secret, a key in PEM, a JWK or a JWK Set (RFC 7517)."""

PAUSE = 10.0
"""Seconds between two looks for a key that a token names and nobody knows, and after keys could not be fetched."""

KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), ("oct",)),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA",)),
    "ES256": ("P-256",),
    "ES384": ("P-384",),
    "ES512": ("P-521",),
    "ES256K": ("secp256k1",),
    "EdDSA": ("Ed25519", "Ed448"),
    "Ed25519": ("Ed25519",),
    "Ed448": ("Ed448",),
}
"""The kinds of key that each algorithm works with (RFC 7518, RFC 8037, RFC 9864): a key type, or a curve."""

BY_DEFAULT = ("RS256", "ES256", "EdDSA", "Ed25519")
BY_DEFAULT_FOR_A_SECRET = ("HS256",)
RSA_BITS = 2048


def known_algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return `names` if they can be meant.

    :raises ConfigError: for one that is unknown or ``none``, and if they mix secrets and public keys.
    """
    for name in names:
        if name not in KINDS:
            raise ConfigError(f"JWT(algorithms=…): {name!r} is not a signature algorithm{did_you_mean(name, KINDS)}")
    if len({KINDS[name] == ("oct",) for name in names}) > 1:
        raise ConfigError(
            "JWT(algorithms=…) mixes HMAC, which shares a secret, with public keys: an open door if a token may choose."
            " Make two JWT(…), and a callable that asks both"
        )
    return names


@dataclass(frozen=True, slots=True, repr=False)
class VerifyingKey:
    """A key, and the one algorithm that it is used with here."""

    kid: str | None
    key: Any
    algorithm: Any

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Return whether `signature` is that of `signed`."""
        try:
            return self.algorithm.verify(signed, signature, self.key) is True
        except (_jose().errors.JoseError, ValueError, TypeError):
            return False


class Keys:
    """The keys of one moment, by algorithm."""

    def __init__(self, keys: Iterable[VerifyingKey]) -> None:
        self._by_algorithm: dict[str, list[VerifyingKey]] = {}
        for key in keys:
            self._by_algorithm.setdefault(key.algorithm.name, []).append(key)
        self.kids: frozenset[str] = frozenset(
            key.kid for each in self._by_algorithm.values() for key in each if key.kid is not None
        )

    def find(self, algorithm: str, kid: str | None) -> list[VerifyingKey]:
        """Return the keys that may have signed a token: those of its ``kid`` if both have one."""
        keys = self._by_algorithm.get(algorithm, [])
        return keys if kid is None else [key for key in keys if key.kid is None or key.kid == kid]


class KeySource(Protocol):
    """Where keys are found. Called by several threads at once."""

    def find(self, algorithm: str, kid: str | None) -> list[VerifyingKey]:
        """Return the keys that may have signed a token with `algorithm` and `kid`."""
        ...


class FetchedKeys:
    """Keys that a callable of the app's returns, kept for `max_age` seconds."""

    def __init__(self, fetch: Callable[[], KeyMaterial], allowed: tuple[str, ...] | None, max_age: float) -> None:
        self._fetch = fetch
        self._allowed = allowed
        self._max_age = max_age
        self._lock = threading.Lock()
        self._fetched: tuple[Keys, float] | None = None
        self._failed_at: float | None = None

    def find(self, algorithm: str, kid: str | None) -> list[VerifyingKey]:
        """Return the keys that may have signed a token with `algorithm` and `kid`, looked for anew if none is known.

        :raises ConfigError: if the callable returns no key. What it raises goes through.
        """
        keys = self._no_older_than(self._max_age)
        found = keys.find(algorithm, kid)
        if found or kid is None or kid in keys.kids or algorithm not in (self._allowed or KINDS):
            return found
        return self._no_older_than(min(PAUSE, self._max_age)).find(algorithm, kid) if self._max_age else found

    def _no_older_than(self, seconds: float) -> Keys:
        fetched = self._fetched
        if fetched is not None and monotonic() - fetched[1] < seconds:
            return fetched[0]
        with self._lock:
            if self._fetched is not None and self._fetched is not fetched:  # by another thread, while this one waited
                return self._fetched[0]
            return self._fetch_now()

    def _fetch_now(self) -> Keys:
        started = monotonic()
        if self._failed_at is not None and started - self._failed_at < PAUSE:
            raise RuntimeError("the keys of JWT(…) could not be fetched a moment ago; the log says why")
        try:
            keys = read_keys(self._fetch(), self._allowed)
        except BaseException:
            self._failed_at = monotonic()
            raise
        self._failed_at = None
        self._fetched = (keys, started)
        return keys


def key_source(material: object, allowed: tuple[str, ...] | None, max_age: float) -> KeySource:
    """Return the source that `material`, as given to ``JWT(…)``, means.

    :raises ConfigError: if it means none, or joserfc is missing.
    """
    _jose()
    if isinstance(material, type) or not callable(material):
        return read_keys(material, allowed)
    if inspect.iscoroutinefunction(material):
        raise ConfigError(f"JWT(keys): {material!r} is async; it is called while requests wait, so make it plain")
    return FetchedKeys(material, allowed, max_age)


def read_keys(material: object, allowed: tuple[str, ...] | None) -> Keys:
    """Return the keys in `material`, for the algorithms that are `allowed`.

    :raises ConfigError: if there is none.
    """
    keys, lone_secret = _parsed(material)
    algorithms = allowed or (BY_DEFAULT_FOR_A_SECRET if lone_secret else BY_DEFAULT)
    models = _jose().jws.JWSRegistry.algorithms
    if missing := [name for name in allowed or () if name not in models]:
        raise ConfigError(f"JWT(algorithms=…): the joserfc that is installed lacks {', '.join(missing)}: upgrade it")
    pairs = [(key, name) for key in keys for name in algorithms if name in models]
    reasons = {(id(key), name): _why_not(key, name) for key, name in pairs}
    usable = [VerifyingKey(key.kid, key, models[name]) for key, name in pairs if not reasons[id(key), name]]
    if not usable:
        why = "; ".join(dict.fromkeys(reasons.values())) or "no key in it can be read"
        raise ConfigError(f"JWT(keys) has no key for {' or '.join(algorithms)}: {why}")
    return Keys(usable)


def _why_not(key: Any, algorithm: str) -> str:
    """Return why `key` is not used with `algorithm`, or an empty string. The sizes: RFC 7518, sections 3.2 and 3.3."""
    kind = _kind(key)
    if kind not in KINDS[algorithm]:
        return f"{algorithm} needs a key of kind {' or '.join(KINDS[algorithm])}, not {kind}"
    if key.get("alg") not in (None, algorithm):
        return f"the key is for {key.get('alg')}"
    if key.get("use") not in (None, "sig") or "verify" not in (key.get("key_ops") or ("verify",)):
        return "the key is not for signatures"
    if kind == "oct" and len(key.raw_value) * 8 < int(algorithm[2:]):
        return f"{algorithm} needs a secret of at least {int(algorithm[2:]) // 8} bytes"
    if kind == "RSA" and key.public_key.key_size < RSA_BITS:
        return f"an RSA key needs at least {RSA_BITS} bits"
    return ""


def _kind(key: Any) -> str:
    return str(key.get("crv") or key.key_type)


# Reading ---------------------------------------------------------------------------------------------------------


def _parsed(material: object) -> tuple[list[Any], bool]:
    """Return the keys in `material`, and whether that is one secret rather than public keys."""
    if isinstance(material, Mapping):
        members = material.get("keys")
        if members is None:
            return [_imported(material)], material.get("kty") == "oct"
        if not isinstance(members, (list, tuple)):
            raise ConfigError("JWT(keys): the 'keys' of a JWK Set must be a list")
        return [key for key in map(_imported_if_understood, members) if key is not None], False
    if isinstance(material, (str, bytes)):
        raw = material.encode() if isinstance(material, str) else material
        if b"-----BEGIN" in raw:
            return [_imported_pem(raw)], False
        _refuse_what_is_no_secret(raw)
        return [_jose().jwk.OctKey.import_key(raw)], True
    raise ConfigError(
        f"JWT(keys) must be a secret, a PEM, a JWK or JWK Set as a mapping, or a callable that returns one of these,"
        f" not a {type(material).__name__}"
    )


def _refuse_what_is_no_secret(raw: bytes) -> None:
    """Refuse what everybody knows: as the secret of an HMAC it would let everybody in."""
    if len(raw) < 32:
        raise ConfigError("JWT(keys): a secret must have at least 32 bytes (RFC 7518, section 3.2)")
    text = raw.strip()
    if text.startswith(b"{") and text.endswith(b"}"):
        raise ConfigError("JWT(keys): this is JSON, and no secret: give the mapping, json.loads(…)")
    if text.startswith((b"https://", b"http://", b"file://")):
        raise ConfigError("JWT(keys): this is an address, and no secret: give a callable that fetches the keys from it")
    if text.startswith((b"ssh-", b"ecdsa-sha2-", b"sk-")) or _is_der(raw):
        raise ConfigError("JWT(keys): this is a public key, and no secret: give it in PEM")


def _is_der(raw: bytes) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        load_der_public_key(raw)
    except UnsupportedAlgorithm:
        return True
    except ValueError:
        return False
    return True


def _imported_if_understood(member: object) -> Any | None:
    """Return the key, or None for one that is not understood, which a set may contain (RFC 7517, section 5)."""
    try:
        return _imported(member)
    except ConfigError:
        return None


def _imported(member: object) -> Any:
    jwk = _jose().jwk
    classes = {"oct": jwk.OctKey, "RSA": jwk.RSAKey, "EC": jwk.ECKey, "OKP": jwk.OKPKey}
    kind = member.get("kty") if isinstance(member, Mapping) else None
    key = _tried(classes[kind], dict(member)) if isinstance(member, Mapping) and kind in classes else None
    if key is None:
        raise ConfigError("JWT(keys): this JWK cannot be read: its kty is unknown, or a member is missing or malformed")
    return key


def _imported_pem(raw: bytes) -> Any:
    jwk = _jose().jwk
    for cls in (jwk.RSAKey, jwk.ECKey, jwk.OKPKey):
        if (key := _tried(cls, raw)) is not None:
            return key
    raise ConfigError("JWT(keys): this PEM cannot be read as an RSA, EC or Ed25519 key; encrypted ones are not taken")


def _tried(cls: Any, value: bytes | dict[str, Any]) -> Any | None:
    """Return the key that joserfc makes of `value`, or None. What it raises depends on its version and on the flaw."""
    from cryptography.exceptions import UnsupportedAlgorithm

    errors = (_jose().errors.JoseError, UnsupportedAlgorithm, ValueError, TypeError, LookupError, AttributeError)
    try:
        key = cls.import_key(value)
        return key if key.dict_value else None  # which an old joserfc fails to make if the PEM is of another kind
    except (*errors, UserWarning):
        return None


def _jose() -> ModuleType:
    try:
        import joserfc.errors
        import joserfc.jwk
        import joserfc.jws
    except ImportError:
        raise ConfigError("JWT(…) needs joserfc. Install it with: pip install 'flask-guard-kit[jwt]'") from None
    return joserfc
