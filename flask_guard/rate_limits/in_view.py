"""Limits inside a view: counted where the view says so."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from flask import after_this_request, has_request_context

from ..core.app_state import AppState
from ..core.config import ENABLED
from ..core.denials import Denied
from ..core.flask_versions import current_flask
from ..core.policy import Target
from ..core.report_mode import note_denial, note_report
from ..core.request_run import Run, Slot, current_run
from ..errors import NotGuarded
from ..typing import Response
from .charge import needed, take_or_deny, unavailable, whole_cost
from .fields import STANDINGS, field_names_in, field_writer
from .leases import Lease, leases_of, release, take_leases
from .metered import Meter, Metered
from .storage import Backend, Charge, Standing, StoreDown

MOST_KEPT = 1000
"""Policies made inside views that are kept compiled."""

_WRITES: Slot[bool] = Slot("limit.in_view")
"""Whether the response will be given the fields."""
_BLOCKS: Slot[dict[object, list[list[Lease]]]] = Slot("limit.blocks")
"""The places that ``with`` blocks hold, by policy."""


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """Where the client of a request stands with a limit.

    :ivar allowed: whether the request fits, or fitted.
    :ivar remaining: how many requests are left, of the rate that has the fewest; None if no rate applies.
    :ivar reset: the seconds until more are available; if the request does not fit, until it may.
    :ivar rate: the rate that this is about, such as ``10 per 1 minute``.
    """

    allowed: bool = True
    remaining: int | None = None
    reset: int = 0
    rate: str = ""

    def __bool__(self) -> bool:
        return self.allowed


class InlineMeters:
    """The policies that an app's views use inside, compiled, by policy and endpoint."""

    def __init__(self, state: AppState) -> None:
        self._backend = state.service(Backend)
        self._meters: dict[Hashable, Meter] = {}

    def meter(self, policy: Metered, endpoint: str | None) -> Meter:
        key = (policy, endpoint)
        found = self._meters.get(key)
        if found is None:
            scope = f"shared:{policy.shared}" if policy.shared else f"inline:{endpoint or ''}"
            found = policy.meter(scope, policy.names(), self._backend)
            if len(self._meters) >= MOST_KEPT:
                self._meters.clear()
            self._meters[key] = found
        return found


def hit_now(policy: Metered, cost: int | None = None) -> LimitStatus:
    """Charge the current request, and deny it if there is no room."""
    run = _run_of(policy, "hit()")
    charges, meter = _charges(run, policy)
    if cost is not None:
        cost = whole_cost(cost, "limit.hit(cost=…)")
        charges = [(budget, client, needed(cost), cost) for budget, client, _, _ in charges]
    if meter is None or not charges:
        return LimitStatus()
    _write_fields_later(run)
    try:
        take = take_leases if meter.leases else take_or_deny
        return _status(take(run, meter.counter(run.state.service(Backend)), charges), taken=True)
    except Denied as denial:
        return _denied(run, policy, denial)
    finally:
        _forget_earlier(run)


def peek_now(policy: Metered) -> LimitStatus:
    """Return where the client of the current request stands."""
    run = _run_of(policy, "peek()")
    charged, meter = _charges(run, policy)
    charges = [(budget, client, need, 0) for budget, client, need, _ in charged]
    if meter is None or not charges:
        return LimitStatus()
    try:
        _, standings = meter.counter(run.state.service(Backend)).take(charges)
    except StoreDown:
        return _denied(run, policy, unavailable(charges))
    return _status(standings)


def enter_block(policy: Metered) -> LimitStatus:
    """Take a place for a ``with`` block."""
    run = _run_of(policy, "with")
    before = len(leases_of(run))
    status = hit_now(policy)
    _BLOCKS.made(run, dict).setdefault(policy, []).append(leases_of(run)[before:])
    return status


def leave_block(policy: Metered) -> None:
    """Give back what `enter_block` took, if it took any."""
    run = current_run()
    if run is not None:
        taken = _BLOCKS.made(run, dict)[policy].pop()
        held = leases_of(run)
        held[:] = [each for each in held if each not in taken]
        release(taken)


def _run_of(policy: Metered, what: str) -> Run:
    if not has_request_context():
        raise RuntimeError(f"{policy!r}: {what} is about the current request, and there is none")
    run = current_run()
    if AppState.of(current_flask()).guard is None:
        raise NotGuarded(f"{policy!r} was not counted, because this app has no Guard: call Guard(app) where it is made")
    if run is None:
        raise NotGuarded(f"{policy!r} was not counted, because the request is over: count before its body is streamed")
    return run


def _charges(run: Run, policy: Metered) -> tuple[list[Charge], Meter | None]:
    """Return the charges of the request, and the meter that makes them; None where nothing is counted."""
    policy.check_inline()
    state, charges = run.state, list[Charge]()
    off = state.off_here()
    is_off = off is not None and (off.keys is None or policy.key in off.keys)
    if is_off or not state.config[ENABLED] or not state.service(Backend).enabled:
        return [], None
    if not policy.counts(Target(state, run.request.endpoint, run.request.method)):
        return [], None
    meter = state.service(InlineMeters).meter(policy, run.request.endpoint)
    meter.charge(run, charges)
    return charges, meter


def _denied(run: Run, policy: Metered, denial: Denied) -> LimitStatus:
    """Raise a denial. In report mode, report it, and return where the client stands."""
    if policy.mode_in(run.state) == "report":
        note_report(run, denial)
        return LimitStatus(allowed=False, remaining=0)
    note_denial(run, denial)
    raise denial


def _status(standings: list[Standing], *, taken: bool = False) -> LimitStatus:
    if not standings:  # the store is down, and everybody is let through then
        return LimitStatus()
    tightest = min(standings, key=lambda each: (each.remaining, -each.wait))
    allowed = taken or all(each.remaining >= each.need for each in standings)
    return LimitStatus(allowed, tightest.remaining, tightest.wait, tightest.budget.text)


def _forget_earlier(run: Run) -> None:
    """Leave in the fields only where the client stands now with budgets that the request has met before."""
    met = STANDINGS.get(run) or []
    if len(met) > 1:
        latest = {each.budget.key_for(each.identity): each for each in met}
        STANDINGS.put(run, list(latest.values()))


def _write_fields_later(run: Run) -> None:
    if not _WRITES.get(run):
        _WRITES.put(run, True)
        run.exposed += field_names_in(run.state)  # the plan does not know of them
        write = run.state.service(field_writer)

        def write_fields(response: Response) -> Response:
            return write(run, response) or response

        after_this_request(write_fields)
