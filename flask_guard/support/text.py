"""Text for messages and logs: hints, lists of names, and text of clients made safe."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from ..wsgi.text import printable

_USER = re.compile(r"://\S*@")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``; did you mean 'origins'?``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def names(values: Iterable[str]) -> str:
    """Return names for messages, as ``'a', 'b'``."""
    return ", ".join(repr(value) for value in values)


def counted(number: int, noun: str) -> str:
    """Return ``no routes``, ``1 route`` or ``2 routes``. ``info`` has no plural."""
    return f"{number or 'no'} {noun}{'' if number == 1 or noun == 'info' else 's'}"


def without_credentials(text: str) -> str:
    """Return `text` without the user and the password of any URI in it."""
    return _USER.sub("://…@", text)


__all__ = ["counted", "did_you_mean", "names", "printable", "without_credentials"]
