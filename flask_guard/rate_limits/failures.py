"""A limit on failures rather than on requests: asked only when something has already been refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..support.addresses import client_network
from .storage.backend import Backend
from .storage.budgets import parse_rates, rate_budget
from .storage.counter import lacking_room

if TYPE_CHECKING:
    from ..core.app_state import AppState
    from ..core.request_run import Run


def failure_limit(rates: str, what: str) -> str:
    """Check for the rates of ``failures=…``."""
    parse_rates(rates, what)
    return rates


class FailureLimit:
    """Counts failed attempts by address.

    :param budget: the name of what they are counted against; attempts of another name are counted apart.
    """

    def __init__(self, state: AppState, rates: str, budget: str) -> None:
        self._backend = state.service(Backend)
        if self._backend.enabled:
            scope, algorithm = f"{self._backend.key_prefix}failures:{budget}", self._backend.algorithm(None)
            self._budgets = [
                rate_budget(item, scope, algorithm) for item in dict.fromkeys(parse_rates(rates, "failures=…"))
            ]

    def wait_after_failure(self, run: Run) -> int:
        """Count a failure of the client of `run`. Return the seconds to wait if there were too many, else 0."""
        if not self._backend.enabled:
            return 0
        address = client_network(run.request.remote_addr)
        taken, standings = self._backend.counter.take([(budget, address, 1, 1) for budget in self._budgets])
        return 0 if taken else lacking_room(standings)[1]
