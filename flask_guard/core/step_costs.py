"""The cost of each policy of a plan, measured during requests if a policy asks for it."""

from __future__ import annotations

from time import perf_counter
from typing import Literal, TypeAlias

from flask.typing import ResponseReturnValue

from ..typing import Response
from .policy import Step
from .request_run import Enter, Leave, Run, Slot

Costs: TypeAlias = "dict[str, dict[str, float]]"
"""Microseconds by policy, and there by ``enter`` and ``leave``."""

COSTS: Slot[Costs] = Slot("costs")


def timed(name: str, step: Step) -> Step:
    """Return a step that does the same as `step`, and adds its cost to the run, under `name`."""
    enter = _timed_enter(name, step.enter) if step.enter is not None else None
    leave = _timed_leave(name, step.leave) if step.leave is not None else None
    return Step(enter, leave, step.teardown)


def _timed_enter(name: str, enter: Enter) -> Enter:
    def timed_enter(run: Run) -> ResponseReturnValue | None:
        start = perf_counter()
        try:
            return enter(run)
        finally:
            _add(run, name, "enter", perf_counter() - start)

    return timed_enter


def _timed_leave(name: str, leave: Leave) -> Leave:
    def timed_leave(run: Run, response: Response) -> Response | None:
        start = perf_counter()
        try:
            return leave(run, response)
        finally:
            _add(run, name, "leave", perf_counter() - start)

    return timed_leave


def _add(run: Run, name: str, what: Literal["enter", "leave"], seconds: float) -> None:
    costs = COSTS.made(run, dict).setdefault(name, {})
    costs[what] = round(costs.get(what, 0.0) + seconds * 1e6, 1)
