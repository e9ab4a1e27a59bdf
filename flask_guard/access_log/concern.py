"""The access log, as the guard lists it: with the config keys of request ids."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..core.app_state import AppState
from ..core.concern import Concern
from ..core.config import Setting
from ..errors import ConfigError
from ..wsgi.request_ids import ALPHABET, LONGEST_ID, RequestIds


def _as_given(value: Any, _key: str) -> Any:
    return value


TRUST: Setting[bool | Collection[str]] = Setting("GUARD_REQUEST_ID_TRUST", True, _as_given)
"""The clients whose request ids are taken: True for all, False for none, or a list of networks."""

LENGTH: Setting[int] = Setting("GUARD_REQUEST_ID_LENGTH", LONGEST_ID, _as_given)
"""The most characters of an id from outside."""

ID_ALPHABET: Setting[str] = Setting("GUARD_REQUEST_ID_ALPHABET", ALPHABET, _as_given)
"""The characters that such an id may have."""


def configured_ids(state: AppState, **options: Any) -> RequestIds:
    """Return the source of request ids that the app's configuration describes.

    :param options: further options of :class:`~flask_guard.wsgi.request_ids.RequestIds`.
    :raises ConfigError: if the configuration is invalid.
    """
    config = state.config
    try:
        return RequestIds(trust=config[TRUST], longest=config[LENGTH], alphabet=config[ID_ALPHABET], **options)
    except ValueError as error:
        raise ConfigError(f"GUARD_REQUEST_ID_… is invalid: {error}") from None


def _check(state: AppState) -> None:
    configured_ids(state)


CONCERN: Concern = Concern(settings=(TRUST, LENGTH, ID_ALPHABET), others=("log_timing",), check=_check)
