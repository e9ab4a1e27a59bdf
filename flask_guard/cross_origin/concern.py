"""The declarations of cross-origin access: its config keys, which stand for the options that a `cors` leaves out."""

from __future__ import annotations

import re

from ..core.app_state import AppState
from ..core.concern import Concern
from ..core.config import Setting
from ..support.options import flag, optional, whole_seconds
from ..support.origins import Origins, parse_origins
from ..typing import ViewFunction
from . import checks

ORIGINS: Setting[Origins | None] = Setting("GUARD_CORS_ORIGINS", None, optional(parse_origins))
METHODS: Setting[tuple[str, ...] | None] = Setting("GUARD_CORS_METHODS", None, optional(checks.methods))
ALLOW_HEADERS: Setting[tuple[str | re.Pattern[str], ...]] = Setting(
    "GUARD_CORS_ALLOW_HEADERS",
    ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID"),
    checks.header_names,
)
EXPOSE_HEADERS: Setting[tuple[str, ...]] = Setting("GUARD_CORS_EXPOSE_HEADERS", (), checks.exposed_names)
CREDENTIALS: Setting[bool] = Setting("GUARD_CORS_CREDENTIALS", False, flag)
MAX_AGE: Setting[int | None] = Setting("GUARD_CORS_MAX_AGE", 600, optional(whole_seconds))
REJECT_UNLISTED: Setting[bool] = Setting("GUARD_CORS_REJECT_UNLISTED", False, flag)


def _answers_options(state: AppState, view: ViewFunction) -> bool:
    from .others import answers_options

    return answers_options(state, view)


CONCERN: Concern = Concern(
    settings=(ORIGINS, METHODS, ALLOW_HEADERS, EXPOSE_HEADERS, CREDENTIALS, MAX_AGE, REJECT_UNLISTED),
    denying=("cors",),
    policies=("cross_origin.cors:cors",),
    audit="cross_origin.audit",
    answers_options=_answers_options,
)
