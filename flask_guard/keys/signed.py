"""Keys that carry their own description, signed by the app. Nothing is stored or looked up."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from flask import Flask
from itsdangerous import BadData, URLSafeSerializer, want_bytes

from ..errors import ConfigError
from ..support.http_credentials import is_canonical_base64url
from .model import ApiKey
from .stored import MOST, StoredKeys

SALT = "flask_guard.keys.signed"


class SignedKeys:
    """API keys signed with itsdangerous (HMAC-SHA256). Id, name, scopes and expiry travel in the key.

    ::

        Guard(app, keys=SignedKeys())
        with app.app_context():
            secret = SignedKeys.of(app).issue("ci", scopes=["orders:read"], expires="2031-01-31")

    The holder of a signed key can read its description. A key is valid until it expires, or until its signing secret is
    removed. A verified key is cached by its hash, so that its signature is computed once.

    :param secret_keys: the signing secrets, the newest last. By default the app's ``SECRET_KEY``, after
        ``SECRET_KEY_FALLBACKS``, whose signatures are still accepted.
    :param revocations: stored keys that hold the ids of revoked keys, for revocation before a key expires.
    """

    def __init__(
        self,
        secret_keys: str | bytes | Sequence[str | bytes] | None = None,
        *,
        revocations: StoredKeys | None = None,
    ) -> None:
        self._revocations = revocations
        self._verified: dict[bytes, ApiKey] = {}
        self._serializer: URLSafeSerializer | None = None
        if secret_keys is not None:
            secrets = [secret_keys] if isinstance(secret_keys, (str, bytes)) else list(secret_keys)
            if not secrets or not all(secrets):
                raise ConfigError("SignedKeys(secret_keys=…) needs secrets that are not empty")
            self._serializer = URLSafeSerializer(
                [want_bytes(secret) for secret in secrets], salt=SALT, signer_kwargs={"digest_method": hashlib.sha256}
            )

    @classmethod
    def of(cls, app: Flask, *, revocations: StoredKeys | None = None) -> SignedKeys:
        """Return the signed keys of `app`.

        :raises ConfigError: if the app has no ``SECRET_KEY``.
        """
        if not app.secret_key:
            raise ConfigError(f"signed API keys need a SECRET_KEY: set app.config['SECRET_KEY'] of {app.name!r}")
        return cls([*(app.config.get("SECRET_KEY_FALLBACKS") or ()), app.secret_key], revocations=revocations)

    def for_app(self, app: Flask) -> SignedKeys:
        """Return these keys, with the secrets of `app` unless they have their own."""
        revocations = self._revocations.for_app(app) if self._revocations is not None else None
        if self._serializer is None:
            return self.of(app, revocations=revocations)
        if revocations is self._revocations:
            return self
        bound = copy.copy(self)
        bound._revocations = revocations
        return bound

    def issue(
        self,
        id: str,
        *,
        name: str = "",
        scopes: str | Iterable[str] = (),
        expires: datetime | str | float | None = None,
    ) -> str:
        """Return a new signed key.

        :param expires: a datetime with a time zone, its ISO 8601 form, or seconds since 1970; None for never.
        """
        key = ApiKey(id, name, scopes, expires)  # type: ignore[arg-type]  # ApiKey normalises both
        payload: dict[str, Any] = {"id": key.id}
        if key.name:
            payload["n"] = key.name
        if key.scopes:
            payload["s"] = sorted(key.scopes)
        if key.expires is not None:
            payload["e"] = key.expires.timestamp()
        signed = self._signer().dumps(payload)
        return signed if isinstance(signed, str) else signed.decode("ascii")

    def lookup(self, presented: str) -> ApiKey | None:
        """Return the key that `presented` describes if its signature holds, or None.

        :raises KeyStoreUnavailable: if the store of revocations cannot be reached.
        """
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        key = self._verified.get(digest)
        if key is None:
            key = self._verify(presented)
            if key is None:
                return None
            if len(self._verified) >= MOST:
                self._verified.clear()
            self._verified[digest] = key
        return None if self._revocations is not None and self._revocations.is_revoked(key.id) else key

    def revoke(self, key_id: str) -> None:
        """End every key with this id.

        :raises ConfigError: if there is no store of revocations.
        """
        if self._revocations is None:
            raise ConfigError(
                "signed keys need a store of revocations: write SignedKeys(revocations=SQLKeys(…)), or RedisKeys(…)"
            )
        self._revocations.revoke_unknown(key_id)

    def _verify(self, presented: str) -> ApiKey | None:
        if not presented.isascii() or not is_canonical_base64url(presented.rpartition(".")[2]):
            return None
        try:
            payload = self._signer().loads(presented)
        except (BadData, UnicodeError):
            return None
        try:
            return ApiKey(payload["id"], payload.get("n", ""), payload.get("s", ()), payload.get("e"))
        except (AttributeError, ConfigError, LookupError, TypeError):  # the app signed something else
            return None

    def _signer(self) -> URLSafeSerializer:
        if self._serializer is None:
            raise ConfigError("these SignedKeys have no secret yet: write SignedKeys.of(app)")
        return self._serializer

    def __repr__(self) -> str:
        return "SignedKeys()"
