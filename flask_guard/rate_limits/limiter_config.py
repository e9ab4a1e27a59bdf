"""The ``RATELIMIT_*`` keys of Flask-Limiter. A misspelled one would be ignored, and limits be counted elsewhere."""

from __future__ import annotations

import logging
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..core.app_state import AppState

log: logging.Logger = logging.getLogger("flask_guard")

PREFIX = "RATELIMIT_"
KEYS: tuple[str, ...] = (
    "APPLICATION",
    "APPLICATION_COST",
    "APPLICATION_DEDUCT_WHEN",
    "APPLICATION_EXEMPT_WHEN",
    "APPLICATION_PER_METHOD",
    "DEFAULT",
    "DEFAULTS_COST",
    "DEFAULTS_DEDUCT_WHEN",
    "DEFAULTS_EXEMPT_WHEN",
    "DEFAULTS_PER_METHOD",
    "ENABLED",
    "FAIL_ON_FIRST_BREACH",
    "HEADERS_ENABLED",
    "HEADER_LIMIT",
    "HEADER_REMAINING",
    "HEADER_RESET",
    "HEADER_RETRY_AFTER",
    "HEADER_RETRY_AFTER_VALUE",
    "IN_MEMORY_FALLBACK",
    "IN_MEMORY_FALLBACK_ENABLED",
    "KEY_FUNC",
    "KEY_PREFIX",
    "META",
    "ON_BREACH_CALLBACK",
    "ON_META_BREACH_CALLBACK",
    "REQUEST_IDENTIFIER",
    "STORAGE_OPTIONS",
    "STORAGE_URI",
    "STRATEGY",
    "SWALLOW_ERRORS",
)
"""The keys that Flask-Limiter reads, without their prefix."""


def check_keys(state: AppState) -> None:
    """Refuse keys that look misspelled, and warn of others that nobody reads.

    :raises ConfigError: for a key that resembles one of Flask-Limiter's, which the app does not set.
    """
    given = {key.removeprefix(PREFIX) for key in state.app.config if key.startswith(PREFIX)}
    for name in sorted(given.difference(KEYS)):
        close = get_close_matches(name, KEYS, n=1)
        if close and close[0] not in given:
            raise ConfigError(f"unknown config key {PREFIX}{name}; did you mean {PREFIX}{close[0]}?")
        if state.once(f"unknown {PREFIX}{name}"):
            log.warning("the config key %s%s is ignored: Flask-Limiter has none of that name", PREFIX, name)
