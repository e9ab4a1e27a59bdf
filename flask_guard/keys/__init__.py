"""API keys: what a key is, and where keys are looked up."""

from __future__ import annotations

from .model import ApiKey, KeyStore
from .signed import SignedKeys
from .sources import CallableKeys, key_store
from .static import StaticKeys

__all__ = ["ApiKey", "CallableKeys", "KeyStore", "SignedKeys", "StaticKeys", "key_store"]
