"""The config keys of rate limits: our own, and the check of Flask-Limiter's."""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Literal, TypeAlias

from ..core.app_state import AppState
from ..core.config import Setting
from ..errors import ConfigError
from ..support.log import log
from ..support.options import number, one_of, optional, whole_number

OnStoreError: TypeAlias = Literal["local", "allow", "deny"]
"""The fate of requests while the store is unreachable: counted in this process, let through, or denied."""

ON_STORE_ERROR: Setting[OnStoreError] = Setting("GUARD_ON_STORE_ERROR", "local", one_of("local", "allow", "deny"))
"""The same for limits without an ``on_store_error`` of their own."""

LIMIT_CLIENTS: Setting[int] = Setting("GUARD_LIMIT_CLIENTS", 1_000_000, whole_number(1))
"""The number of clients for whom limits are counted in memory. A client that meets several limits counts as several."""

LIMIT_SLOW_MS: Setting[float | None] = Setting("GUARD_LIMIT_SLOW_MS", 50, optional(number(1, math.inf, "milliseconds")))
"""The milliseconds that the limit store may take to answer. A store that takes longer several times in a row counts as
down, and a request that has waited for longer asks no more. None switches this off. Not for SQLite, where requests wait
for each other."""

FIELDS: Setting[str] = Setting("GUARD_RATELIMIT_HEADERS", "draft", one_of("draft", "legacy", "both"))
"""The response fields: ``"draft"`` (``RateLimit``), ``"legacy"`` (``X-RateLimit-Limit`` and so on) or ``"both"``."""

# RATELIMIT_* ---------------------------------------------------------------------------------------------------------

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
    """Refuse keys that look misspelled, whose limits would be counted elsewhere, and warn of others that nobody reads.

    :raises ConfigError: for a key that resembles one of Flask-Limiter's, which the app does not set.
    """
    given = {key.removeprefix(PREFIX) for key in state.app.config if key.startswith(PREFIX)}
    for name in sorted(given.difference(KEYS)):
        close = get_close_matches(name, KEYS, n=1)
        if close and close[0] not in given:
            raise ConfigError(f"unknown config key {PREFIX}{name}; did you mean {PREFIX}{close[0]}?")
        if state.once(f"unknown {PREFIX}{name}"):
            log.warning("the config key %s%s is ignored: Flask-Limiter has none of that name", PREFIX, name)
