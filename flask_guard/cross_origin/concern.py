"""The declarations of cross-origin access: the config key of the allowed origins."""

from __future__ import annotations

from ..core.concern import Concern
from ..core.config import Setting
from ..support.options import optional
from .origins import Origins, parse_origins

ORIGINS: Setting[Origins | None] = Setting("GUARD_CORS_ORIGINS", None, optional(parse_origins))
"""The origins of every `cors` that names none."""

CONCERN: Concern = Concern(settings=(ORIGINS,), others=("cors",))
