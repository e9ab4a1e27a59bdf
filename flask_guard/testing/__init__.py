"""Tools for the tests of guarded apps, and a pytest plugin.

>>> from flask_guard.testing import assert_denied, assert_guarded, preflight, with_key

The tools work without pytest. pytest finds the plugin (:mod:`flask_guard.testing.plugin`) by itself. The plugin adds
the fixtures ``guard_reset`` and ``guard_clock`` and the options ``--guard-audit`` and ``--guard-lock``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..support.lazy import importing

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .browser import Preflight, preflight
    from .clock import FrozenClock, frozen_clock
    from .denials import assert_denied
    from .guarded import assert_guarded
    from .keys import with_key

__all__ = ["FrozenClock", "Preflight", "assert_denied", "assert_guarded", "frozen_clock", "preflight", "with_key"]

__getattr__: Callable[[str], Any] = importing(
    __name__,
    {
        "browser": ("Preflight", "preflight"),
        "clock": ("FrozenClock", "frozen_clock"),
        "denials": ("assert_denied",),
        "guarded": ("assert_guarded",),
        "keys": ("with_key",),
    },
)
