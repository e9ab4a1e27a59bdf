"""The form of a stored key: ``<prefix>_<env>_<id><secret><checksum>``, in base62.

Secret scanners find leaked keys by the prefix. Support names a key by the id. The secret has more than 160 bits of
randomness. The checksum (CRC-32) sorts out malformed keys without a look-up.
"""

from __future__ import annotations

import re
import secrets
import zlib
from dataclasses import dataclass

from ..errors import ConfigError

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH = 10
SECRET_LENGTH = 28
"""Characters of base62: 166 bits."""
CHECKSUM_LENGTH = 6
_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class KeyFormat:
    """The two names at the beginning of every key of an application.

    :param prefix: the owner of the keys, such as the name of the service.
    :param env: the environment in which they work, such as ``live`` or ``test``.
    :raises ConfigError: if a name is not 1 to 16 lower-case letters and digits, a letter first.
    """

    prefix: str = "fg"
    env: str = "live"

    def __post_init__(self) -> None:
        for name, value in (("prefix", self.prefix), ("env", self.env)):
            if not isinstance(value, str) or not _NAME.fullmatch(value):
                raise ConfigError(f"KeyFormat({name}=…) must be lower-case letters and digits, not {value!r}")

    @property
    def pattern(self) -> str:
        """Return a regular expression by which secret scanners find such keys."""
        return rf"\b{self.prefix}_{self.env}_[0-9A-Za-z]{{{ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH}}}\b"

    def new(self, key_id: str) -> str:
        """Return a new key with the id `key_id`."""
        body = f"{self.prefix}_{self.env}_{key_id}{_random(SECRET_LENGTH)}"
        return body + _checksum(body)

    def id_of(self, presented: str) -> str | None:
        """Return the id in `presented`, or None if `presented` has another form."""
        if not re.fullmatch(self.pattern, presented):
            return None
        body, checksum = presented[:-CHECKSUM_LENGTH], presented[-CHECKSUM_LENGTH:]
        return body.rpartition("_")[2][:ID_LENGTH] if _checksum(body) == checksum else None


def new_id() -> str:
    return _random(ID_LENGTH)


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(BASE62))
        digits.append(BASE62[digit])
    return "".join(reversed(digits))
