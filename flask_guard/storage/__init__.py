"""What limits are counted in: the storage and strategies of Flask-Limiter."""

from __future__ import annotations

from .backend import Backend, check_storage
from .counter import Charge, Counter, Standing, lacking_room
from .failures import FailureLimit, failure_limit
from .rates import Rate, parse_rates, rate_name

__all__ = [
    "Backend",
    "Charge",
    "Counter",
    "FailureLimit",
    "Rate",
    "Standing",
    "check_storage",
    "failure_limit",
    "lacking_room",
    "parse_rates",
    "rate_name",
]
