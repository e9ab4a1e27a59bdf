"""Text of clients in a form that is safe for one line of a log."""

from __future__ import annotations


def printable(value: str, limit: int = 200) -> str:
    """Return `value` for one line: cut at `limit` characters, with control and direction characters escaped."""
    cut = value if len(value) <= limit else value[:limit] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
