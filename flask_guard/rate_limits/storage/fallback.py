"""Counting that outlives its store: while the store is down, the budgets say what becomes of requests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from limits import RateLimitItemPerSecond

from ...signals import store_available, store_unavailable
from ...support.breaker import Breaker
from ...support.text import printable, without_credentials
from .budgets import Budget, Held, rate_budget
from .counter import Charge, Counter, Standing

if TYPE_CHECKING:
    from flask import Flask

T = TypeVar("T")
log: logging.Logger = logging.getLogger("flask_guard")


class StoreDown(Exception):
    """The store is unreachable, and a budget denies then."""


def _do_nothing() -> None:
    """Do nothing."""


class FallbackCounter:
    """Counts in a store, and while the store is down as each budget's ``on_error`` says.

    :param store: counts in the store.
    :param local: counts in this process.
    :param errors: the errors of `store` while it is down.
    :param app: the sender of the signals.
    """

    def __init__(self, store: Counter, local: Counter, errors: tuple[type[Exception], ...], app: Flask) -> None:
        self._store = store
        self._local = local
        self._errors = errors
        self._app = app
        self._breaker = Breaker(self._probe, errors, opened=self._say_down, closed=self._say_up)

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        """Make all charges, or none.

        :raises StoreDown: if the store is down, and one of the budgets denies then.
        """
        return self._ask(lambda: self._store.take(charges, token), lambda: self._take_locally(charges, token))

    def release(self, charges: Sequence[Charge], token: str) -> None:
        """Give leases back, wherever they were taken. Those in a store that is down end by themselves."""
        self._local.release(charges, token)
        self._ask(lambda: self._store.release(charges, token), _do_nothing)

    def ban(self, budget: Budget, identity: str) -> None:
        """Ban a client: in this process if the store is down."""
        local = self._local if budget.on_error == "local" else None
        self._ask(lambda: self._store.ban(budget, identity), lambda: local.ban(budget, identity) if local else None)

    def forget(self, budget: Budget, identity: str) -> None:
        """Forget a client: in this process only if the store is down."""
        self._local.forget(budget, identity)
        self._ask(lambda: self._store.forget(budget, identity), _do_nothing)

    def find(self, unit: str | None = None) -> Iterable[Held]:
        """Return what the store holds. An error of the store is raised."""
        return self._store.find(unit)

    def _ask(self, call: Callable[[], T], otherwise: Callable[[], T]) -> T:
        """Return what a call of the store returns. While the store is down, do `otherwise`."""
        if self._breaker.open:
            self._breaker.probe_if_due()
            return otherwise()
        try:
            return call()
        except self._errors as error:
            self._breaker.failed(error)
        return otherwise()

    def _take_locally(self, charges: Sequence[Charge], token: str) -> tuple[bool, list[Standing]]:
        if any(charge[0].on_error == "deny" for charge in charges):
            raise StoreDown
        return self._local.take([charge for charge in charges if charge[0].on_error == "local"], token)

    def _probe(self) -> None:
        self._store.take([(rate_budget(RateLimitItemPerSecond(1), "probe"), "probe", 0, 1)])

    def _say_down(self, error: Exception) -> None:
        log.error(
            "the limit store is down (%s: %s); until it is back, limits go by their on_store_error",
            type(error).__name__,
            printable(without_credentials(str(error)), 200),
        )
        store_unavailable.send(self._app, error=error)

    def _say_up(self) -> None:
        log.warning("the limit store is back")
        store_available.send(self._app)
