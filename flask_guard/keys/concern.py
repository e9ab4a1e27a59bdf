"""Declarations of API keys: the config key that lists them, and the store of an app."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..core.app_state import AppState
from ..core.concern import Concern
from ..core.config import Setting
from ..errors import ConfigError
from ..support.options import optional

if TYPE_CHECKING:
    from .model import KeyStore


log: logging.Logger = logging.getLogger("flask_guard")


def _mapping(value: object, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must map key ids to a secret, a 'sha256:…' hash or a dict")
    return value


API_KEYS: Setting[Any] = Setting("GUARD_API_KEYS", None, optional(_mapping))
"""The API keys by id, as for :class:`flask_guard.keys.StaticKeys`; or the source in ``Guard(keys=…)``."""


def key_store_of(state: AppState) -> KeyStore | None:
    """Return the app's store of keys, or None if there are no keys."""
    return state.resource(_make_key_store)


def _make_key_store(state: AppState) -> KeyStore | None:
    from .sources import key_store

    return key_store(state.config[API_KEYS], state.app)


@contextmanager
def asking_first(store: KeyStore, state: AppState) -> Iterator[None]:
    """Let an app look keys up in `store` before its own, for a ``with`` block. For tests."""
    from .sources import ChainedKeys

    own = key_store_of(state)
    _use(ChainedKeys((store,) if own is None else (store, own)), state)
    try:
        yield
    finally:
        _use(own, state)


def _use(store: KeyStore | None, state: AppState) -> None:
    with state.lock:
        state.resources[_make_key_store] = store
        state.forget_compiled()


def _check(state: AppState) -> None:
    from .sources import single_stores
    from .static import NEW_RANDOM, StaticKeys

    app = state.app
    if app.config.get(API_KEYS.key) and state.config[API_KEYS] is not app.config[API_KEYS.key]:
        log.warning(
            "GUARD_API_KEYS of %r is not used, because Guard(keys=…) is given. For both, write"
            " keys=chain(…, app.config['GUARD_API_KEYS'])",
            app.name,
        )
    short = [
        key_id
        for store in single_stores(key_store_of(state))
        if isinstance(store, StaticKeys)
        for key_id in store.short
    ]
    if short and not (app.debug or app.testing):
        log.warning(
            "the secrets of the API keys %s of %r are very short, and can be guessed. Make long random ones with %s",
            ", ".join(map(repr, short)),
            app.name,
            NEW_RANDOM,
        )


def _reset(state: AppState) -> None:
    from .sources import single_stores
    from .stored import StoredKeys

    for store in single_stores(key_store_of(state)):
        if isinstance(store, StoredKeys):
            store.forget_verified()


CONCERN: Concern = Concern(
    settings=(API_KEYS,),
    denying=("require_api_key",),
    policies=("keys.require_api_key:require_api_key",),
    audit="keys.audit",
    clocks=("keys.model:seconds_now", "keys.stored:monotonic", "keys.stored:time"),
    check=_check,
    reset=_reset,
)
