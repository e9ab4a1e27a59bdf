"""Text that clients sent, made fit for one line of a log."""

from __future__ import annotations


def printable(value: str, limit: int = 200) -> str:
    """Return `value` fit for one line: control and direction characters escaped, cut at `limit` characters."""
    cut = value if len(value) <= limit else value[:limit] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
