"""Leases: the places of requests at work, taken as other charges are, and given back."""

from __future__ import annotations

from secrets import token_hex
from typing import TypeAlias

from ..core.request_run import Run, Slot
from ..support.response_body import size_if_complete, watch_body
from ..typing import Response
from .charge import Take, take_or_deny
from .storage import Charge, Counter, Standing
from .storage.algorithms import LEASES

Lease: TypeAlias = tuple[Counter, list[Charge], str]
"""The counter, the charges and the token of places that were taken together."""

_HELD: Slot[list[Lease]] = Slot("limit.leases")
"""The leases that end when the app is done with the request."""
_SENDING: Slot[list[Lease]] = Slot("limit.sending")
"""The leases that end when the body has been sent."""


def take_leases(run: Run, counter: Counter, charges: list[Charge], *, take: Take = take_or_deny) -> list[Standing]:
    """As `take`, and note the leases among `charges`, to be given back."""
    token = token_hex(10)
    standings = take(run, counter, charges, token)
    leases = [charge for charge in charges if charge[0].algorithm is LEASES]
    _HELD.made(run, list).append((counter, leases, token))
    return standings


def leases_of(run: Run) -> list[Lease]:
    """Return the leases that end when the app is done with the request."""
    return _HELD.made(run, list)


def release(held: list[Lease]) -> None:
    """Give all of `held` back."""
    while held:
        counter, leases, token = held.pop()
        counter.release(leases, token)


def release_when_sent(run: Run, _response: Response) -> None:
    """End the leases with the response that goes out in the end."""
    if _HELD.get(run):
        run.outgoing += (_watch,)


def _watch(run: Run, response: Response) -> None:
    """Let go of the leases when the body has been sent. A complete body counts as sent."""
    held = _HELD.get(run) or []
    if size_if_complete(run.request, response) is not None:
        release(held)
    elif held:
        _HELD.put(run, [])
        _SENDING.put(run, held)
        watch_body(run.request, response, lambda _ending: release(held))


def release_now(run: Run, error: BaseException | None) -> None:
    """Let go of the leases that no response took over. After an error, the response that did is not sent."""
    release(_HELD.get(run) or [])
    if error is not None:
        release(_SENDING.get(run) or [])
