"""Names of test cases that are the same in every process: without addresses, moments and random values."""

from __future__ import annotations

import re

_CHANGING = (
    re.compile(r" at 0x[0-9a-f]+"),
    re.compile(r"-----BEGIN .*", re.DOTALL),
    re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:[\d.]+"),
    re.compile(r"\b\d{9,}(?:\.\d+)?"),  # moments, in seconds since 1970
    re.compile(r"'n': '.*"),  # the modulus of a public key
    re.compile(r"[\w-]{12,}\.[\w-]{12,}\.[\w-]+"),  # a JSON Web Token
    re.compile(r"(?=\w*\d)[\w-]{24,}"),  # a key, a hash
)


def shown(value: object) -> str:
    """Return the id of a test case that is given `value`."""
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(shown, value))) + "}"
    text = (value if value.isascii() else value[:12]).decode("latin-1") if isinstance(value, bytes) else str(value)
    text = text[:400]
    for pattern in _CHANGING:
        text = pattern.sub("…", text)
    return text[:120].encode("unicode_escape").decode()
