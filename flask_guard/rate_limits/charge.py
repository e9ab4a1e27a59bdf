"""Making the charges of a request, denying what has no room, and giving back what was only lent."""

from __future__ import annotations

import random
from collections.abc import Callable
from secrets import token_hex
from typing import TYPE_CHECKING, TypeAlias

from ..core.denials import Banned, Denied, LimitExceeded, StoreUnavailable
from ..core.request_run import Slot
from ..support.response_body import size_if_complete, watch_body
from .fields import STANDINGS
from .storage import Budget, Charge, Counter, Standing, StoreDown, lacking_room
from .storage.algorithms import BANS, LEASES

if TYPE_CHECKING:
    from ..core.request_run import Run
    from ..typing import Response

Take: TypeAlias = "Callable[..., list[Standing]]"
"""Makes charges for a run in a counter, or denies: `take_or_deny`, and what is made of it."""

METERED = ("limit", "limit.concurrent", "ban")
"""The kinds of policy that are metered."""
RETRY_WHEN_DOWN = 5
"""Seconds that a client is told to wait when the storage cannot be reached."""
MOST_JITTER = 30
"""Seconds that may be added to ``Retry-After`` at most, so that clients do not all come back at once."""


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


def charging_once(run: Run, counter: Counter, charges: list[Charge], token: str = "") -> list[Standing]:
    """As `take_or_deny`, where several limits may share a budget: what they charge it is added up."""
    merged: dict[str, Charge] = {}
    for budget, identity, need, deduct in charges:
        key = budget.key_for(identity)
        first, _, needed, deducted = merged.get(key, (budget, identity, 0, 0))
        merged[key] = (first, identity, needed + need, deducted + deduct)
    return take_or_deny(run, counter, list(merged.values()), token)


_REFUSED: Slot[set[str]] = Slot("limit.refused")


def note_refused(run: Run, charges: list[Charge]) -> None:
    """Note charges that were not made, so that none of them is made on the response either."""
    _REFUSED.made(run, set).update(budget.key_for(identity) for budget, identity, _, _ in charges)


def was_refused(run: Run, charges: list[Charge]) -> bool:
    """Return whether one of `charges` was among those that were not made, if only in shadow."""
    refused = _REFUSED.get(run) or ()
    return any(budget.key_for(identity) in refused for budget, identity, _, _ in charges)


# Leases -----------------------------------------------------------------------------------------------------------

Lease: TypeAlias = tuple[Counter, list[Charge], str]
_LEASES: Slot[list[Lease]] = Slot("limit.leases")
_SENDING: Slot[list[Lease]] = Slot("limit.sending")
"""The leases that end when the body has been sent."""


def take_leases(run: Run, counter: Counter, charges: list[Charge], *, take: Take = take_or_deny) -> list[Standing]:
    """As `take`, and note the leases among `charges`, to be given back."""
    token = token_hex(10)
    standings = take(run, counter, charges, token)
    leases = [charge for charge in charges if charge[0].algorithm is LEASES]
    _LEASES.made(run, list).append((counter, leases, token))
    return standings


def leases_of(run: Run) -> list[Lease]:
    """Return the leases that are held until the app is done with the request."""
    return _LEASES.made(run, list)


def release(held: list[Lease]) -> None:
    """Give all of `held` back."""
    while held:
        counter, leases, token = held.pop()
        counter.release(leases, token)


def release_when_sent(run: Run, _response: Response) -> None:
    """See to it that the leases end with the response that goes out in the end."""
    if leases_of(run):
        run.outgoing += (_watch_what_goes_out,)


def _watch_what_goes_out(run: Run, response: Response) -> None:
    """Let go of the leases when the body has been sent; what is complete counts as sent."""
    held = leases_of(run)
    if size_if_complete(run.request, response) is not None:
        release(held)
    elif held:
        _LEASES.put(run, [])
        _SENDING.put(run, held)
        watch_body(run.request, response, lambda _ending: release(held))


def release_now(run: Run, error: BaseException | None) -> None:
    """Let go of the leases that no response took over; after an error nobody sends the response that did."""
    release(leases_of(run))
    if error is not None:
        release(_SENDING.get(run) or [])


# Denials ----------------------------------------------------------------------------------------------------------


def _denial(standings: list[Standing]) -> Denied:
    violated, wait = lacking_room(standings)
    headers = [("Retry-After", str(wait + random.randint(0, min(MOST_JITTER, max(1, wait // 10)))))]  # noqa: S311
    if any(budget.algorithm is BANS for budget in violated):
        return Banned("Too many requests of this client were refused.", policy="ban", reason="banned", headers=headers)
    shown = " and ".join(budget.text for budget in violated)
    return LimitExceeded(
        f"The limit of {shown} is used up. Try again in {wait} s.",
        policy=_kind(violated),
        reason="exceeded",
        headers=headers,
        members={"violated-policies": [budget.name for budget in violated]},
    )


def unavailable(charges: list[Charge]) -> StoreUnavailable:
    """Return the denial of a request that cannot be counted."""
    return StoreUnavailable(
        "The request cannot be counted just now.",
        policy=_kind([charge[0] for charge in charges if charge[0].on_error == "deny"]),
        reason="store",
        headers=[("Retry-After", str(RETRY_WHEN_DOWN))],
    )


def _kind(budgets: list[Budget]) -> str:
    first = budgets[0].algorithm
    return "ban" if first is BANS else "limit.concurrent" if first is LEASES else "limit"
