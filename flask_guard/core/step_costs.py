"""The cost of each policy of a plan, measured during requests if a policy asks for it."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Literal, TypeAlias

from .policy import Step
from .request_run import Enter, Leave, Run, Slot

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from ..typing import Response

Costs: TypeAlias = "dict[str, dict[str, float]]"
"""Microseconds by policy, and there by ``enter`` and ``leave``."""

COSTS: Slot[Costs] = Slot("costs")


def timed(name: str, step: Step) -> Step:
    """Return a step that does the same as `step`, and adds its cost to the run, under `name`."""
    enter = _timed_enter(name, step.enter) if step.enter is not None else None
    leave = _TimedLeave(name, step.leave) if step.leave is not None else None
    return Step(enter, leave, step.teardown)


def _timed_enter(name: str, enter: Enter) -> Enter:
    def timed_enter(run: Run) -> ResponseReturnValue | None:
        start = perf_counter()
        try:
            return enter(run)
        finally:
            _add(run, name, "enter", perf_counter() - start)

    return timed_enter


class _TimedLeave:
    """A timed ``leave``. Two of the same ``leave`` are equal, so that a plan runs only one."""

    __slots__ = ("_leave", "_name")

    def __init__(self, name: str, leave: Leave) -> None:
        self._name = name
        self._leave = leave

    def __call__(self, run: Run, response: Response) -> Response | None:
        start = perf_counter()
        try:
            return self._leave(run, response)
        finally:
            _add(run, self._name, "leave", perf_counter() - start)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _TimedLeave) and self._leave == other._leave

    def __hash__(self) -> int:
        return hash(self._leave)


def _add(run: Run, name: str, what: Literal["enter", "leave"], seconds: float) -> None:
    costs = COSTS.made(run, dict).setdefault(name, {})
    costs[what] = round(costs.get(what, 0.0) + seconds * 1e6, 1)
