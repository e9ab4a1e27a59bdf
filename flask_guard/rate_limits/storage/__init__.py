"""What limits are counted in: the storages of Flask-Limiter, and one more for several workers on one machine."""

from __future__ import annotations

from .backend import Backend, check_storage
from .budgets import Budget, Held, ban_budget, concurrency_budget, parse_rates, rate_budget, rate_name
from .counter import Charge, Counter, Standing, lacking_room
from .fallback import StoreDown
from .sqlite import SQLiteStorage

__all__ = [
    "Backend",
    "Budget",
    "Charge",
    "Counter",
    "Held",
    "SQLiteStorage",
    "Standing",
    "StoreDown",
    "ban_budget",
    "check_storage",
    "concurrency_budget",
    "lacking_room",
    "parse_rates",
    "rate_budget",
    "rate_name",
]
