"""Several stores as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .model import ApiKey, KeyStore, KeyStoreUnavailable
from .sources import KeySource, key_store

if TYPE_CHECKING:
    from flask import Flask


class ChainedKeys:
    """Looks keys up in one store after the other."""

    def __init__(self, stores: tuple[KeyStore, ...]) -> None:
        self._stores = stores

    def lookup(self, presented: str) -> ApiKey | None:
        """Return the key from the first store that knows it.

        :raises KeyStoreUnavailable: if none of those that answer knows it, and one did not answer.
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
        return iter(self._stores)

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self._stores))})"


class Chain:
    """Several sources of keys, before the app is known."""

    def __init__(self, sources: tuple[Any, ...]) -> None:
        self._sources = sources

    def for_app(self, app: Flask) -> ChainedKeys:
        """Return the stores as one."""
        stores = (key_store(source, app) for source in self._sources)
        return ChainedKeys(tuple(store for store in stores if store is not None))

    def __repr__(self) -> str:
        return "chain(…)"


def chain(*sources: KeyStore | KeySource | Mapping[str, Any] | Callable[[str], ApiKey | None]) -> Chain:
    """Return several sources of keys as one: ``Guard(app, keys=chain(SQLKeys(), SignedKeys()))``.

    They are asked in this order. A key that one of them knows is let in even while another cannot be reached.
    """
    if not sources:
        raise ConfigError("chain() needs stores, mappings or callables")
    return Chain(sources)
