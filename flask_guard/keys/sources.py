"""From what an app gives as its keys to a :class:`KeyStore`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..errors import ConfigError
from .model import ApiKey, KeyStore
from .static import StaticKeys

if TYPE_CHECKING:
    from flask import Flask


@runtime_checkable
class KeySource(Protocol):
    """What becomes a store once the app is known."""

    def for_app(self, app: Flask) -> KeyStore:
        """Return the store for `app`."""
        ...


class CallableKeys:
    """Keys looked up by a function of the app's, plain or ``async``."""

    def __init__(self, find: Callable[[str], ApiKey | None]) -> None:
        self._find = find

    def lookup(self, presented: str) -> ApiKey | None:
        """Return what the function returns for `presented`.

        :raises TypeError: if that is neither an ApiKey nor None; a bare True, for one, must not open a door.
        """
        key = self._find(presented)
        if key is not None and not isinstance(key, ApiKey):
            raise TypeError(f"the key callable must return an ApiKey or None, not a {type(key).__name__}")
        return key

    def __repr__(self) -> str:
        return f"CallableKeys({getattr(self._find, '__qualname__', type(self._find).__name__)})"


def key_store(
    source: KeyStore | KeySource | Mapping[str, Any] | Callable[[str], ApiKey | None] | None, app: Flask
) -> KeyStore | None:
    """Return the store that `source` means, or None if there are no keys at all.

    :raises ConfigError: if it means none.
    """
    if source is None:
        return None
    if isinstance(source, KeySource):
        return source.for_app(app)
    if isinstance(source, KeyStore):
        return source
    if isinstance(source, Mapping):
        return StaticKeys(source) if source else None
    if callable(source):
        is_async = inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(type(source).__call__)
        return CallableKeys(app.async_to_sync(source) if is_async else source)  # type: ignore[arg-type]
    raise ConfigError(f"keys must be a store, a mapping or a callable, not a {type(source).__name__}")
