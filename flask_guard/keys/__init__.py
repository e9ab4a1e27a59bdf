"""API keys: the stores that look them up, and how keys are made, rotated and revoked.

``StaticKeys`` are written in the configuration. ``SignedKeys`` carry their own description. ``SQLKeys`` and
``RedisKeys`` are made and revoked while the application runs. ``chain`` combines several stores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..support.lazy import importing

if TYPE_CHECKING:
    from .format import KeyFormat
    from .leaked_keys import leak_report
    from .model import ApiKey, KeyStore, KeyStoreUnavailable
    from .records import KeyRecord, KeyTable
    from .redis import RedisKeys
    from .signed import SignedKeys
    from .sources import CallableKeys, ChainedKeys, KeySource, chain, key_store
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

__getattr__: Callable[[str], Any] = importing(
    __name__,
    {
        "format": ("KeyFormat",),
        "leaked_keys": ("leak_report",),
        "model": ("ApiKey", "KeyStore", "KeyStoreUnavailable"),
        "records": ("KeyRecord", "KeyTable"),
        "redis": ("RedisKeys",),
        "signed": ("SignedKeys",),
        "sources": ("CallableKeys", "ChainedKeys", "KeySource", "chain", "key_store"),
        "sql": ("SQLKeys",),
        "static": ("StaticKeys",),
        "stored": ("NewKey", "StoredKeys"),
    },
)
