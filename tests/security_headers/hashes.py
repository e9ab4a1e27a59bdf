"""The hashes of inline code in content security policies."""

from __future__ import annotations

import base64
import hashlib


def hash_of(content: str) -> str:
    """Return the source that allows `content` by its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
