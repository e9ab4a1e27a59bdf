"""The declarations of cross-origin access: the config key of the allowed origins."""

from __future__ import annotations

from ..core.app_state import AppState
from ..core.concern import Concern
from ..core.config import Setting
from ..support.options import optional
from ..typing import ViewFunction
from .origins import Origins, parse_origins

ORIGINS: Setting[Origins | None] = Setting("GUARD_CORS_ORIGINS", None, optional(parse_origins))
"""The origins of every `cors` that names none."""


def _answers_options(state: AppState, view: ViewFunction) -> bool:
    from .others import answers_options

    return answers_options(state, view)


CONCERN: Concern = Concern(settings=(ORIGINS,), others=("cors",), answers_options=_answers_options)
