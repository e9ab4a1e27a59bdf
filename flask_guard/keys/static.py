"""Keys written in the configuration."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..support.text import did_you_mean
from .model import ApiKey

_SHA256 = re.compile(r"sha256:([0-9a-fA-F]{64})")
_HASH_LIKE = re.compile(
    r"\s*(?:(?:sha\d*|md5|blake2[bs]?|pbkdf2|scrypt|bcrypt|argon2(?:id?|d)?)(?:[-_]\w+)*[:$]|\$\w+\$)", re.IGNORECASE
)
SHORT = 4
"""Characters. A shorter secret is soon guessed."""
NEW_RANDOM = "python -c 'import secrets; print(secrets.token_urlsafe())'"
_FIELDS = ("hash", "scopes", "expires", "name")


class StaticKeys:
    """API keys from a mapping, such as ``GUARD_API_KEYS``.

    ::

        StaticKeys({
            "ci": "a long random secret",
            "shop": {"hash": "sha256:2bb8…", "scopes": ["orders:write"], "expires": "2031-01-31", "name": "The shop"},
        })

    Only SHA-256 hashes are kept, which protect long random secrets, but not passwords.

    :param keys: by key id: a secret, its ``sha256:<64 hex digits>`` hash, or a dict with ``hash`` and, if wanted,
        ``scopes``, ``expires`` and ``name``; see :class:`ApiKey`.
    :ivar short: the ids of keys with a short secret, which is soon guessed.
    :raises ConfigError: for an entry of another form, and for two ids with the same secret.
    """

    def __init__(self, keys: Mapping[str, str | Mapping[str, Any]]) -> None:
        self._by_digest: dict[bytes, ApiKey] = {}
        self.short: tuple[str, ...] = tuple(
            key_id for key_id, entry in keys.items() if isinstance(entry, str) and len(entry) < SHORT
        )
        for key_id, entry in keys.items():
            digest, key = _read(key_id, entry)
            if digest in self._by_digest:
                raise ConfigError(
                    f"keys {self._by_digest[digest].id!r} and {key_id!r} have the same secret; make one for each"
                )
            self._by_digest[digest] = key

    def lookup(self, presented: str) -> ApiKey | None:
        """Return the key whose secret is `presented`, or None."""
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        # The time of a look-up reveals nothing: hashes are compared, and nobody can choose the beginning of a hash.
        return self._by_digest.get(digest)

    def __len__(self) -> int:
        return len(self._by_digest)

    def __repr__(self) -> str:
        return f"StaticKeys({', '.join(key.id for key in self._by_digest.values())})"


def _read(key_id: str, entry: object) -> tuple[bytes, ApiKey]:
    if isinstance(entry, str):
        return _digest(key_id, entry), ApiKey(key_id)
    if not isinstance(entry, Mapping):
        raise ConfigError(
            f"API key {key_id!r} must be a secret, a 'sha256:…' hash or a dict, not a {type(entry).__name__}"
        )
    for name in entry:
        if name not in _FIELDS:
            hint = " (write 'sha256:…' under 'hash', not the secret)" if name in ("key", "secret", "token") else ""
            raise ConfigError(
                f"API key {key_id!r} has an unknown field {name!r}{hint}{did_you_mean(str(name), _FIELDS)}"
            )
    hashed = entry.get("hash")
    if not isinstance(hashed, str) or not _SHA256.fullmatch(hashed):
        raise ConfigError(_bad_hash(key_id))
    options = {name: value for name, value in entry.items() if name != "hash"}
    try:
        return _digest(key_id, hashed), ApiKey(key_id, **options)
    except ConfigError as error:
        raise ConfigError(f"API key {key_id!r}: {error}") from None


def _digest(key_id: str, text: str) -> bytes:
    if match := _SHA256.fullmatch(text):
        return bytes.fromhex(match[1])
    if _HASH_LIKE.match(text):
        raise ConfigError(_bad_hash(key_id))
    if not text.strip():
        raise ConfigError(f"API key {key_id!r} has an empty secret; make one with: {NEW_RANDOM}")
    if text != text.strip():
        raise ConfigError(
            f"the secret of API key {key_id!r} begins or ends with white space, which headers lose: remove it"
        )
    try:
        return hashlib.sha256(text.encode("utf-8")).digest()
    except UnicodeEncodeError:
        raise ConfigError(
            f"the secret of API key {key_id!r} is not text that UTF-8 can encode; make one with: {NEW_RANDOM}"
        ) from None


def _bad_hash(key_id: str) -> str:
    return (
        f"the hash of API key {key_id!r} cannot be parsed: it must be 'sha256:' and 64 hex digits. Make one with"
        " python -c \"import hashlib,getpass;print('sha256:'+hashlib.sha256(getpass.getpass().encode()).hexdigest())\""
    )
