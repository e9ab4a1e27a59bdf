"""The declarations of rate limits, and the checks of ``RATELIMIT_*``."""

from __future__ import annotations

from ..core.app_state import AppState
from ..core.concern import Concern
from .settings import FIELDS, LIMIT_CLIENTS, LIMIT_SLOW_MS, ON_STORE_ERROR, check_keys


def _check(state: AppState) -> None:
    from .fields import check_field_names
    from .storage import check_storage

    check_keys(state)
    check_storage(state)
    check_field_names(state)


def _reset(state: AppState) -> None:
    from .admin import forget_everything

    forget_everything(state)


CONCERN: Concern = Concern(
    settings=(ON_STORE_ERROR, LIMIT_CLIENTS, LIMIT_SLOW_MS, FIELDS),
    denying=("limit", "limit.concurrent", "ban"),
    policies=("rate_limits.limit:limit", "rate_limits.limit:limit.concurrent", "rate_limits.ban:ban"),
    audit="rate_limits.audit",
    clocks=(
        "rate_limits.fields:time",
        "rate_limits.storage.batches:monotonic",
        "rate_limits.storage.counter:time",
        "rate_limits.storage.memory:monotonic",
        "rate_limits.storage.pools:monotonic",
        "rate_limits.storage.sqlite_file:time",
        "rate_limits.storage.table:time",
    ),
    check=_check,
    reset=_reset,
)
