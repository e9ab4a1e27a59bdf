"""Facts for tools that administer limits: the counts of a client as plain values, and forgetting them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from limits.storage import Storage

from ..core.app_state import AppState
from ..errors import ConfigError
from ..support.addresses import client_network
from ..support.text import without_credentials
from .charge import kind_of
from .identity import short
from .storage import Backend, Budget, Charge, Counter, Held, StoreDown
from .storage.algorithms import BANS
from .storage.backend import in_memory
from .storage.counter import StrategyCounter

LOOKED_AT_ONCE = 100
"""Budgets that one call asks for: a store serves nobody else meanwhile."""


@dataclass(frozen=True, slots=True)
class Holding:
    """The count of one client against one budget.

    :ivar identity: the client, as the store has it.
    :ivar scope: the name of the budget: of one endpoint (``view:orders``), shared (``shared:search``), or a ban's.
    :ivar remaining: the rest of the budget.
    :ivar wait: the seconds until more is available; of a ban, until the ban ends.
    """

    budget: Budget
    identity: str
    scope: str
    remaining: int
    wait: int

    @property
    def kind(self) -> str:
        return kind_of(self.budget)

    def describe(self) -> dict[str, Any]:
        """Return the facts as values that JSON can hold.

        ``seconds`` is the window, the lease or the duration of a ban; ``available_in`` the seconds until there is more
        than ``remaining``, or until a ban ends: None for places, which are free as soon as a response has been sent.
        """
        budget = self.budget
        return {
            "client": self.identity,
            "scope": self.scope,
            "kind": self.kind,
            "rate": None if self.kind == "ban" else budget.text,
            "algorithm": budget.algorithm.name or None,
            "remaining": self.remaining,
            "seconds": budget.seconds,
            "available_in": None if self.kind == "limit.concurrent" else self.wait,
        }


def check_visible(backend: Backend) -> None:
    """Raise ConfigError if the counts are in the memory of a process, where no other process sees them."""
    if not backend.enabled:
        raise ConfigError("RATELIMIT_ENABLED is False: nothing is counted")
    if backend.in_process:
        raise ConfigError(
            "limits are counted in memory: each worker has its own counts, which no other process sees. Set"
            " RATELIMIT_STORAGE_URI to sqlite:////var/lib/shop/limits.db or redis://localhost:6379/0"
        )
    _store(backend)


def holdings(
    backend: Backend,
    client: str | None = None,
    *,
    scopes: Iterable[str] = (),
    unit: str | None = None,
    most: int | None = None,
) -> list[Holding]:
    """Return the counts of a client, or of all, as the store has them now. This walks through the whole store.

    :param client: the client, as people name it: see :func:`identities_of`.
    :param scopes: only these; see :func:`is_in_scope`.
    :param unit: only this sort, such as ``ban``.
    :param most: the number to return at most, in no particular choice.
    :raises ConfigError: if the storage cannot list what it holds.
    :raises StoreDown: if the store is unreachable.
    """
    wanted = identities_of(client) if client is not None else frozenset[str]()
    names = frozenset(scopes)
    held: list[Holding] = []
    with _asking(backend) as store:
        found = (
            each
            for each in store.find(unit=unit)
            if (scope := _scope(backend, each[0])) is not None
            and (client is None or is_client(each[1], wanted))
            and (not names or is_in_scope(scope, names))
        )
        while (most is None or len(held) < most) and (batch := list(islice(found, LOOKED_AT_ONCE))):
            held += _look(backend, store, batch)
    return sorted(held[:most], key=_order)


def forget(backend: Backend, held: Iterable[Holding]) -> None:
    """Forget counts: the clients have these budgets whole again, and bans end.

    :raises StoreDown: if the store is unreachable. Some may have been forgotten then.
    """
    with _asking(backend) as store:
        for each in held:
            store.forget(each.budget, each.identity)


def lift(backend: Backend, bans: Sequence[Holding]) -> list[Holding]:
    """Lift bans, and forget the refusals that led to them: else the next refusal would be one too many again.

    :return: the bans as they are now: ended.
    :raises StoreDown: if the store is unreachable. Some may have been lifted then.
    """
    banned = {(each.identity, each.scope) for each in bans}
    if banned:
        with _asking(backend) as store:
            found = [each for each in store.find() if (each[1], _scope(backend, each[0])) in banned]
            for budget, identity in sorted(found, key=lambda each: each[0].algorithm is BANS):  # the ban itself last
                store.forget(budget, identity)
    return [replace(each, remaining=each.budget.amount, wait=0) for each in bans]


def forget_everything(state: AppState) -> None:
    """Forget all that an app has counted, in its storage and in this process: limits, bans, failures and places.

    In a storage that processes share, the counts of apps with another key prefix are left alone.

    :raises ConfigError: if other processes share the storage, and it cannot list what it holds.
    :raises StoreDown: if the store is unreachable.
    """
    backend = state.service(Backend)
    if not backend.enabled:
        return
    state.resource(in_memory).reset()
    if backend.in_process and isinstance(backend.storage, Storage):
        backend.storage.reset()
        return
    with _asking(backend) as store:
        for budget, identity in list(store.find()):
            if _scope(backend, budget) is not None:
                store.forget(budget, identity)
    backend.forget_batches()  # at last: until then, requests may have taken some of what was to be forgotten


# Clients and scopes --------------------------------------------------------------------------------------------


def identities_of(client: str) -> frozenset[str]:
    """Return the identities that a client may have in a store.

    :param client: an address, the id of an API key or of a principal, what a callable of the app's returned, or the
        identity of a :class:`Holding`.
    """
    text = short(client)
    return frozenset(
        (client, client_network(client.removesuffix("/64")), f"key:{client}", f"principal:{text}", f"by:{text}")
    )


def is_client(identity: str, wanted: frozenset[str]) -> bool:
    """Return whether `identity`, or a part of it if several things together identify a client, is one of `wanted`."""
    return identity in wanted or ("+" in identity and not wanted.isdisjoint(identity.split("+")))


def is_in_scope(scope: str, names: frozenset[str]) -> bool:
    """Return whether a scope is among `names`: as it is, or without its kind and number (``orders``)."""
    plain = scope.partition("#")[0]
    return not names.isdisjoint((scope, plain, plain.partition(":")[2]))


# The store --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _asking(backend: Backend) -> Iterator[Counter]:
    """Give the counter of the store itself. Its errors become a StoreDown that shows no password."""
    try:
        yield _store(backend)
    except backend.errors as error:
        raise StoreDown(f"{type(error).__name__}: {without_credentials(str(error))}") from error


def _store(backend: Backend) -> Counter:
    """Return the counter of the store itself, without the counts of this process from while the store was down.

    :raises ConfigError: if the storage cannot list what it holds.
    """
    if isinstance(backend.store, StrategyCounter):
        backend.store.find()
    return backend.store


def _look(backend: Backend, store: Counter, held: Sequence[Held]) -> list[Holding]:
    """Return where the clients stand, without those that have the whole budget."""
    charges: list[Charge] = [(budget, identity, 0, 0) for budget, identity in held]
    _, standings = store.take(charges)
    return [
        Holding(each.budget, each.identity, _scope(backend, each.budget) or "", each.remaining, each.wait)
        for each in standings
        if each.remaining < each.budget.amount
    ]


def _scope(backend: Backend, budget: Budget) -> str | None:
    """Return the scope of a budget as this app calls it; None if it is of an app with another key prefix."""
    prefix = backend.key_prefix
    return budget.scope.removeprefix(prefix) if budget.scope.startswith(prefix) else None


def _order(held: Holding) -> tuple[str, str, bool, int, int]:
    return held.identity, held.scope, held.kind != "ban", held.budget.seconds, held.budget.amount
