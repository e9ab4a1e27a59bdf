"""The access log, as the guard lists it: with the config keys of request ids."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flask import Flask, request_started

from ..core.app_state import AppState
from ..core.concern import Concern
from ..core.config import Setting
from ..core.request_run import this_request
from ..errors import ConfigError
from ..wsgi.request_ids import ALPHABET, LONGEST_ID, TAKEN_KEY, RequestIds
from .telemetry import begin_spans_first


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


class _Checks:
    """Checks the id of every request, also where no policy asks for it: a layer outside may have taken it.

    Kept as a resource of `state`, because a signal holds its receivers weakly.
    """

    def __init__(self, state: AppState) -> None:
        self._ids = configured_ids(state)
        request_started.connect(self._check, state.app)

    def _check(self, _app: Flask, **_: object) -> None:
        environ = this_request._get_current_object().environ
        if TAKEN_KEY in environ:
            self._ids.of(environ)


def _check(state: AppState) -> None:
    configured_ids(state)
    config = state.config
    if (config[TRUST], config[LENGTH], config[ID_ALPHABET]) != (TRUST.default, LENGTH.default, ID_ALPHABET.default):
        state.resource(_Checks)


CONCERN: Concern = Concern(
    settings=(TRUST, LENGTH, ID_ALPHABET),
    others=("log_timing",),
    policies=("access_log.log_timing:log_timing",),
    check=_check,
    start=begin_spans_first,
)
