"""What goes wrong while an application is being wired: mistakes of its author, never of a client.

A client's mistakes are denials, in :mod:`flask_guard.core.denials`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_USER = re.compile(r"://\S*@")


class GuardError(Exception):
    """The root of every error that flask_guard raises about the application itself."""


class ConfigError(GuardError, ValueError):
    """An option, a config key or a combination of policies that cannot be meant.

    Raised where the policy is written, or by ``Guard.init_app``; the message names the place and the fix.
    """


class NotGuarded(GuardError, RuntimeError):
    """A guarded view was reached although its policies did not run. The view is not called: the client gets a 500."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``; did you mean 'origins'?``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def printable(value: str, limit: int = 200) -> str:
    """Return `value` fit for one line: control and direction characters escaped, cut at `limit`."""
    cut = value if len(value) <= limit else value[:limit] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def without_credentials(text: str) -> str:
    """Return `text` without the user and the password of any URI in it."""
    return _USER.sub("://…@", text)
