"""The config keys of rate limits."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from ..core.config import Setting
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
