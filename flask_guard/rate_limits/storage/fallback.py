"""Counting that outlives its store: while the store is down, each budget decides on the requests."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TypeVar

from flask import Flask
from limits import RateLimitItemPerSecond

from ...core.request_run import Slot, current_run
from ...signals import store_available, store_unavailable
from ...support.breaker import Breaker
from ...support.log import log
from ...support.text import printable, without_credentials
from .budgets import Budget, Held, rate_budget
from .counter import Charge, Counter, Standing
from .drawing import Draw, drawing

T = TypeVar("T")


SLOW_IN_A_ROW = 3
"""Slow answers one after another, after which a store counts as down."""

QUICK_IN_A_ROW = 3
"""Quick answers one after another, after which a store that was down counts as back."""

_WAITED: Slot[float] = Slot("limit.waited")
"""The seconds that a request has waited for the store."""


class StoreDown(Exception):
    """The store is unreachable, and a budget denies then."""


class StoreSlow(Exception):
    """The store takes too long to answer."""


def _do_nothing() -> None:
    """Do nothing."""


def _in_background(call: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # no thread can be started, as when the interpreter ends
        threading.Thread(target=call, name="flask-guard-release", daemon=True).start()


class FallbackCounter:
    """Counts in a store, and while the store is down as each budget's ``on_error`` says.

    A request that has waited for longer than `slow`, for all its calls together, waits for no other call: this process
    counts the rest. Places are given back in the background then.

    :param store: counts in the store.
    :param local: counts in this process.
    :param errors: the errors of `store` while it is down.
    :param app: the sender of the signals.
    :param slow: the seconds that an answer may take. A store that takes longer several times in a row counts as down;
        calls at the same time, which one hiccup delays together, count as one.
    """

    def __init__(
        self,
        store: Counter,
        local: Counter,
        errors: tuple[type[Exception], ...],
        app: Flask,
        slow: float | None = None,
    ) -> None:
        self._store = store
        self._local = local
        self._errors = errors
        self._app = app
        self._slow = math.inf if slow is None else slow
        self._slow_calls = 0
        self._slow_until = 0.0
        self._breaker = Breaker(self._probe, (*errors, StoreSlow), opened=self._say_down, closed=self._say_up)

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        """Make all charges, or none.

        :raises StoreDown: if the store is down, and one of the budgets denies then.
        """
        return self._ask(lambda: self._store.take(charges, token), lambda: self._take_locally(charges, token))

    def drawing(self, budget: Budget, cost: int) -> Draw:
        """Return `take` for one charge."""
        draw = drawing(self._store, budget, cost)

        def ask(identity: str) -> tuple[bool, list[Standing]]:
            return self._ask(lambda: draw(identity), lambda: self._take_locally([(budget, identity, cost, cost)], ""))

        return ask

    def release(self, charges: Sequence[Charge], token: str) -> None:
        """Give leases back, wherever they were taken. Those in a store that is down end by themselves."""
        self._local.release(charges, token)
        self._ask(lambda: self._store.release(charges, token), _do_nothing, later=True)

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

    def if_up(self, call: Callable[[], T]) -> T | None:
        """Return the answer of the store to `call`; None while the store is down."""
        return self._ask(call, _do_nothing)

    def _ask(self, call: Callable[[], T], otherwise: Callable[[], T], *, later: bool = False) -> T:
        """Return the answer of the store to `call`. While the store is down, return that of `otherwise`.

        :param later: whether nobody needs the answer. The call is made in the background then, if it might be slow.
        """
        if self._breaker.open:
            self._breaker.probe_if_due()
            return otherwise()
        run = current_run()
        waited = (_WAITED.get(run) or 0.0) if run is not None else 0.0
        if waited > self._slow or (later and self._slow_calls):
            if later:
                _in_background(lambda: self._ask(call, otherwise))
            return otherwise()
        started = monotonic()
        try:
            answer = call()
        except self._errors as error:
            self._breaker.failed(error)
            return otherwise()
        finally:
            seconds = monotonic() - started
            if run is not None:
                _WAITED.put(run, waited + seconds)
        if seconds > self._slow:
            self._note_slow(started, seconds)
        elif self._slow_calls:
            self._slow_calls = 0
        return answer

    def _note_slow(self, started: float, seconds: float) -> None:
        if started >= self._slow_until:  # else another slow call, at the same time, counts already
            self._slow_until = started + seconds
            self._slow_calls += 1
        if self._slow_calls >= SLOW_IN_A_ROW:
            self._slow_calls = 0
            slow, took = self._slow * 1000, seconds * 1000
            self._breaker.failed(
                StoreSlow(f"{SLOW_IN_A_ROW} answers in a row took more than {slow:g} ms, the last one {took:.0f} ms")
            )

    def _take_locally(self, charges: Sequence[Charge], token: str) -> tuple[bool, list[Standing]]:
        if any(charge[0].on_error == "deny" for charge in charges):
            raise StoreDown
        return self._local.take([charge for charge in charges if charge[0].on_error == "local"], token)

    def _probe(self) -> None:
        for _ in range(QUICK_IN_A_ROW if self._slow < math.inf else 1):
            started = monotonic()
            self._store.take([(rate_budget(RateLimitItemPerSecond(1), "probe"), "probe", 0, 1)])
            if monotonic() - started > self._slow:
                raise StoreSlow

    def _say_down(self, error: Exception) -> None:
        if isinstance(error, StoreSlow):
            log.error("the limit store is slow (%s); until it is fast, limits follow on_store_error", error)
        else:
            log.error(
                "the limit store is down (%s: %s); until it is back, limits follow on_store_error",
                type(error).__name__,
                printable(without_credentials(str(error)), 200),
            )
        store_unavailable.send(self._app, error=error)

    def _say_up(self) -> None:
        log.warning("the limit store is back")
        store_available.send(self._app)
