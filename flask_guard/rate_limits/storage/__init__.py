"""The storages in which limits are counted: those of ``limits``, and one for several workers on one machine."""

from __future__ import annotations

from .backend import Backend, adopted_limiter, check_storage
from .budgets import Budget, Held, ban_budget, concurrency_budget, rate_budget
from .counter import Charge, Counter, Standing, lacking_room
from .drawing import Draw, drawing
from .fallback import StoreDown
from .sqlite import SQLiteStorage

__all__ = [
    "Backend",
    "Budget",
    "Charge",
    "Counter",
    "Draw",
    "Held",
    "SQLiteStorage",
    "Standing",
    "StoreDown",
    "adopted_limiter",
    "ban_budget",
    "check_storage",
    "concurrency_budget",
    "drawing",
    "lacking_room",
    "rate_budget",
]
