"""The store of an app, made from the source of its keys: a store, a mapping, a callable, or a chain of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from flask import Flask

from ..errors import ConfigError
from ..support.callables import synchronous
from .model import ApiKey, KeyStore, KeyStoreUnavailable
from .static import StaticKeys


@runtime_checkable
class KeySource(Protocol):
    """A source of keys that needs the app to become a store."""

    def for_app(self, app: Flask) -> KeyStore:
        """Return the store for `app`."""
        ...


Source: TypeAlias = "KeyStore | KeySource | Mapping[str, Any] | Callable[[str], ApiKey | None]"
"""The forms in which an app may give its keys."""


def key_store(source: Source | None, app: Flask) -> KeyStore | None:
    """Return the store of `source`, or None if there are no keys.

    :raises ConfigError: if `source` is not a source of keys.
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
        return CallableKeys(synchronous(app, source, "the function for keys"))
    raise ConfigError(f"keys must be a store, a mapping or a callable, not a {type(source).__name__}")


class CallableKeys:
    """Keys looked up by a function of the app, plain or ``async``."""

    def __init__(self, find: Callable[[str], ApiKey | None]) -> None:
        self._find = find

    def lookup(self, presented: str) -> ApiKey | None:
        """Return the answer of the function to `presented`.

        :raises TypeError: for an answer other than an ApiKey or None. A bare True, for example, must let nobody in.
        """
        key = self._find(presented)
        if key is not None and not isinstance(key, ApiKey):
            raise TypeError(f"the key callable must return an ApiKey or None, not a {type(key).__name__}")
        return key

    def __repr__(self) -> str:
        return f"CallableKeys({getattr(self._find, '__qualname__', type(self._find).__name__)})"


# Several stores as one --------------------------------------------------------------------------------------------


def chain(*sources: Source) -> Chain:
    """Return several sources of keys as one: ``Guard(app, keys=chain(SQLKeys(), SignedKeys()))``.

    The stores are asked in this order. A key that one store knows is accepted even while another is unreachable.
    """
    if not sources:
        raise ConfigError("chain() needs stores, mappings or callables")
    return Chain(sources)


class Chain:
    """Several sources of keys, before the app is known."""

    def __init__(self, sources: tuple[Source, ...]) -> None:
        self._sources = sources

    def for_app(self, app: Flask) -> ChainedKeys:
        """Return the stores as one."""
        stores = (key_store(source, app) for source in self._sources)
        return ChainedKeys(tuple(store for store in stores if store is not None))

    def __repr__(self) -> str:
        return "chain(…)"


class ChainedKeys:
    """Looks keys up in several stores, one after the other."""

    def __init__(self, stores: tuple[KeyStore, ...]) -> None:
        self._stores = stores

    def lookup(self, presented: str) -> ApiKey | None:
        """Return the key from the first store that knows it.

        :raises KeyStoreUnavailable: if a store did not answer, and no other store knows the key.
        """
        down: KeyStoreUnavailable | None = None
        for store in self._stores:
            try:
                key = store.lookup(presented)
            except KeyStoreUnavailable as error:
                down = error
            else:
                if key is not None:
                    return key
        if down is not None:
            raise down
        return None

    def __iter__(self) -> Iterator[KeyStore]:
        """Yield the single stores, also the stores of a chain inside the chain."""
        for store in self._stores:
            yield from store if isinstance(store, ChainedKeys) else (store,)

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self._stores))})"


def single_stores(store: KeyStore | None) -> tuple[KeyStore, ...]:
    """Return the stores of a chain, or the single `store`."""
    if store is None:
        return ()
    return tuple(store) if isinstance(store, ChainedKeys) else (store,)
