"""API keys: what a key is, where keys are looked up, and how they are made, rotated and revoked.

``StaticKeys`` are in the configuration, ``SignedKeys`` carry their own description, ``SQLKeys`` and ``RedisKeys`` can
be made and revoked while the application runs, and ``chain`` puts several together.
"""

from __future__ import annotations

from .chain import ChainedKeys, chain
from .format import KeyFormat
from .leak_report import leak_report
from .model import ApiKey, KeyStore, KeyStoreUnavailable
from .records import KeyRecord, KeyTable
from .redis import RedisKeys
from .signed import SignedKeys
from .sources import CallableKeys, KeySource, key_store
from .sql import SQLKeys
from .static import StaticKeys
from .stored import NewKey, StoredKeys

__all__ = [
    "ApiKey",
    "CallableKeys",
    "ChainedKeys",
    "KeyFormat",
    "KeyRecord",
    "KeySource",
    "KeyStore",
    "KeyStoreUnavailable",
    "KeyTable",
    "NewKey",
    "RedisKeys",
    "SQLKeys",
    "SignedKeys",
    "StaticKeys",
    "StoredKeys",
    "chain",
    "key_store",
    "leak_report",
]
