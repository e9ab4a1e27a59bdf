"""Counting that outlives its store: what becomes of requests is up to their budgets while it is down."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from limits import RateLimitItemPerSecond

from ...signals import store_available, store_unavailable
from ...support.breaker import Breaker
from ...support.text import printable, without_credentials
from .budgets import Budget, Held, rate_budget
from .counter import Charge, Counter, Standing

if TYPE_CHECKING:
    from flask import Flask

log: logging.Logger = logging.getLogger("flask_guard")


class StoreDown(Exception):
    """The store cannot be asked, and a budget says to deny then."""


class FallbackCounter:
    """Counts in a store, and while that is down as each budget's ``on_error`` says.

    :param store: what counts in the store.
    :param local: what counts in this process.
    :param errors: what `store` raises while it is down.
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
        if self._may_ask():
            try:
                return self._store.take(charges, token)
            except self._errors as error:
                self._breaker.failed(error)
        if any(charge[0].on_error == "deny" for charge in charges):
            raise StoreDown
        return self._local.take([charge for charge in charges if charge[0].on_error == "local"], token)

    def release(self, charges: Sequence[Charge], token: str) -> None:
        """Give leases back, wherever they were taken. What a store that is down keeps ends by itself."""
        self._local.release(charges, token)
        if self._may_ask():
            try:
                self._store.release(charges, token)
            except self._errors as error:
                self._breaker.failed(error)

    def ban(self, budget: Budget, identity: str) -> None:
        """Ban a client: in this process if the store is down."""
        if self._may_ask():
            try:
                self._store.ban(budget, identity)
            except self._errors as error:
                self._breaker.failed(error)
            else:
                return
        if budget.on_error == "local":
            self._local.ban(budget, identity)

    def forget(self, budget: Budget, identity: str) -> None:
        """Forget a client: in this process only if the store is down."""
        self._local.forget(budget, identity)
        if self._may_ask():
            try:
                self._store.forget(budget, identity)
            except self._errors as error:
                self._breaker.failed(error)

    def find(self, unit: str | None = None) -> Iterable[Held]:
        """Return what the store holds. An error of the store is raised."""
        return self._store.find(unit)

    def _may_ask(self) -> bool:
        if not self._breaker.open:
            return True
        self._breaker.probe_if_due()
        return False

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
