"""Limits on failures rather than on requests: on invalid API keys, tokens and passwords."""

from __future__ import annotations

from collections.abc import Mapping

from limits import RateLimitItem

from ..core.app_state import AppState
from ..core.denials import LimitExceeded
from ..core.ready_denials import ready_denial
from .rates import Rates, parse_rates
from .storage.backend import Backend
from .storage.budgets import Budget, rate_budget
from .storage.counter import lacking_room


def failure_limit(rates: str, what: str) -> Rates:
    """Check for the rates of ``failures=…``."""
    return parse_rates(rates, what)


class FailureLimit:
    """Counts failures by one or several identities of a client, such as the address.

    :param rates: the rates of ``failures=…``; None for no limit.
    :param budgets: by name, how many times the rates an identity may use up. Failures against another name are
        counted apart. The methods take one identity for each budget, in this order.
    :param policy: the kind of the policy that refuses.
    :param credentials: the word for what was invalid, in the answer.
    """

    def __init__(
        self, state: AppState, rates: str | None, budgets: Mapping[str, int], *, policy: str, credentials: str
    ) -> None:
        self._backend = state.service(Backend)
        self._policy = policy
        self._credentials = credentials
        self._limited = rates is not None and self._backend.enabled
        items = dict.fromkeys(parse_rates(rates, "failures=…").items) if rates is not None and self._limited else ()
        self._budgets = [[self._budget(item, name, times) for item in items] for name, times in budgets.items()]

    def _budget(self, item: RateLimitItem, name: str, times: int) -> Budget:
        scope = f"{self._backend.key_prefix}failures:{name}"
        rate = type(item)(item.amount * times, item.multiples)
        return rate_budget(rate, scope, self._backend.algorithm(None))

    def check(self, *identities: str) -> None:
        """Ask whether one more failure would be too many. Nothing is counted.

        :raises LimitExceeded: if one more would be too many.
        """
        self._take(identities, 0)

    def count(self, *identities: str) -> None:
        """Count a failure.

        :raises LimitExceeded: if there were too many already.
        """
        self._take(identities, 1)

    def _take(self, identities: tuple[str, ...], deduct: int) -> None:
        if not self._limited:
            return
        owned = zip(self._budgets, identities, strict=True)
        charges = [(budget, identity, 1, deduct) for budgets, identity in owned for budget in budgets]
        taken, standings = self._backend.counter.take(charges)
        if not taken:
            wait = lacking_room(standings)[1]
            detail = f"Too many invalid {self._credentials} from this address."
            denial = ready_denial(LimitExceeded, detail, self._policy, "failures").copy(("Retry-After", str(wait)))
            denial.description = f"{detail} Try again in {wait} s."
            raise denial
