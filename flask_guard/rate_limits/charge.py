"""Making the charges of a request, and denying a request that finds no room."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from ..core.denials import Banned, Denied, LimitExceeded, store_unavailable
from ..core.ready_denials import ReadyDenial
from ..core.request_run import Run, Slot
from ..support.header_fields import Pair
from .fields import STANDINGS
from .storage import Budget, Charge, Counter, Draw, Standing, StoreDown, lacking_room
from .storage.algorithms import BANS, LEASES, Algorithm

Take: TypeAlias = "Callable[..., list[Standing]]"
"""Makes charges for a run in a counter, or denies: `take_or_deny`, and functions around it."""

KINDS: dict[Algorithm, str] = {BANS: "ban", LEASES: "limit.concurrent"}
"""The kinds of policy whose budgets are not rates, by algorithm."""
LIMIT = "limit"
METERED = (LIMIT, *KINDS.values())
"""The kinds of policy that are metered."""

RETRY_WHEN_DOWN = 5
"""Seconds that a client is told to wait while the storage is unreachable."""
MOST_JITTER = 30
"""The most seconds that are added to ``Retry-After``, so that clients do not all come back at once."""

_REFUSED: Slot[list[tuple[Budget, str]]] = Slot("limit.refused")
"""The budgets and clients of charges that were not made."""


def take_or_deny(run: Run, counter: Counter, charges: list[Charge], token: str = "") -> list[Standing]:
    """Make `charges`, and return where the client stands.

    :raises Denied: if one of them lacks the room, or the storage is down and a budget denies then.
    """
    try:
        taken, standings = counter.take(charges, token)
    except StoreDown as error:
        note_refused(run, charges)
        raise unavailable(charges) from error
    STANDINGS.made(run, list).extend(standings)
    if not taken:
        note_refused(run, charges)
        raise _denial(standings)
    return standings


def drawer(draw: Draw, budget: Budget, cost: int) -> Callable[[Run, str], None]:
    """Return `take_or_deny` for one charge, which `draw` makes."""

    def draw_or_deny(run: Run, client: str) -> None:
        try:
            taken, standings = draw(client)
        except StoreDown as error:
            note_refused(run, [(budget, client, cost, cost)])
            raise unavailable([(budget, client, cost, cost)]) from error
        met = STANDINGS.get(run)
        if met is None:
            STANDINGS.put(run, standings)
        else:
            met += standings
        if not taken:
            run.kept.setdefault(_REFUSED, []).append((budget, client))
            raise _exceeded(((budget.text, budget.name),), kind_of(budget), max(1, standings[0].wait))

    return draw_or_deny


def take_added_up(run: Run, counter: Counter, charges: list[Charge], token: str = "") -> list[Standing]:
    """As `take_or_deny`, where several limits may share a budget: their charges are added up."""
    merged: dict[str, Charge] = {}
    for budget, identity, need, deduct in charges:
        key = budget.key_for(identity)
        first, _, needed, deducted = merged.get(key, (budget, identity, 0, 0))
        merged[key] = (first, identity, needed + need, deducted + deduct)
    return take_or_deny(run, counter, list(merged.values()), token)


def note_refused(run: Run, charges: list[Charge]) -> None:
    """Note charges that were not made, so that none of them is made on the response either."""
    _REFUSED.made(run, list).extend((budget, identity) for budget, identity, _, _ in charges)


def was_refused(run: Run, charges: list[Charge]) -> bool:
    """Return whether one of `charges` was not made, if only in report mode."""
    refused = {budget.key_for(identity) for budget, identity in _REFUSED.get(run) or ()}
    return any(budget.key_for(identity) in refused for budget, identity, _, _ in charges)


def whole_cost(value: object, what: str) -> int:
    """Return a cost as a number that gives nothing back.

    :raises TypeError: if `value` is not a whole number.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what}: a cost is a whole number, not {value!r}")
    return max(0, value)


def needed(cost: int) -> int:
    """Return how much must be left for a request: one at least, or a cost of 0 would open a budget that is used up."""
    return cost or 1


# Denials ----------------------------------------------------------------------------------------------------------


def _denial(standings: list[Standing]) -> Denied:
    violated, wait = lacking_room(standings)
    if any(budget.algorithm is BANS for budget in violated):
        text = "Too many requests of this client were refused."
        return Banned(text, policy="ban", reason="banned", headers=[_retry_after(wait)])
    return _exceeded(tuple([(budget.text, budget.name) for budget in violated]), kind_of(violated[0]), wait)


def _exceeded(named: tuple[tuple[str, str], ...], kind: str, wait: int) -> LimitExceeded:
    """Return the denial of a request that budgets with these texts and names have no room for."""
    denial = _excess(named, kind).copy(_retry_after(wait))
    denial.description = f"{denial.description} Try again in {wait} s."
    return denial


@lru_cache(maxsize=256)
def _excess(named: tuple[tuple[str, str], ...], kind: str) -> ReadyDenial[LimitExceeded]:
    """Return the denial for budgets with these texts and names, which many endpoints have alike."""
    detail = f"The limit of {' and '.join([text for text, _ in named])} is used up."
    members = {"violated-policies": [name for _, name in named]}
    return ReadyDenial(LimitExceeded(detail, policy=kind, reason="exceeded", members=members))


def _retry_after(wait: int) -> Pair:
    most = MOST_JITTER if wait >= 10 * MOST_JITTER else max(1, wait // 10)
    jitter = int(random.random() * (1 + most))  # noqa: S311
    return "Retry-After", str(wait + jitter)


def unavailable(charges: list[Charge]) -> Denied:
    """Return the denial of a request that cannot be counted."""
    denying = next(budget for budget, _, _, _ in charges if budget.on_error == "deny")
    return store_unavailable("The request cannot be counted just now.", kind_of(denying), retry_after=RETRY_WHEN_DOWN)


def kind_of(budget: Budget) -> str:
    """Return the kind of policy that a budget belongs to."""
    return KINDS.get(budget.algorithm, LIMIT)
