"""Mistakes of an application's author. A client's mistakes are denials: :mod:`flask_guard.core.denials`."""

from __future__ import annotations


class GuardError(Exception):
    """The root of every error that flask_guard raises about the application itself."""


class ConfigError(GuardError, ValueError):
    """An invalid option, config key or combination of policies.

    Raised where the policy is written, or by ``Guard.init_app``. The message names the place and the fix.
    """


class NotGuarded(GuardError, RuntimeError):
    """A guarded view was reached although its policies did not run. The view is not called: the client gets a 500."""
