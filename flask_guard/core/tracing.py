"""The effects of each policy of a plan on a request, noted for explanations and the inspector.

Only plans with ``AppState.traces`` are compiled with notes. Other plans cost nothing more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, TypeAlias

from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from ..typing import Response
from .denials import Denied
from .policy import Placed, Step
from .request_run import Enter, Leave, Run, Slot

Verdict: TypeAlias = Literal["allowed", "denied", "would deny", "answered", "failed", "not reached", "response only"]
"""The decision of a policy; ``response only`` if it does nothing before the view."""

Pairs: TypeAlias = "list[tuple[str, str]]"
TraceOf: TypeAlias = "Callable[[Run], StepTrace]"


@dataclass(slots=True, eq=False)
class StepTrace:
    """The effects of a step on a request.

    :ivar placed: the policies that are compiled into the step: one, or neighbours such as several limits.
    :ivar denial: the denial, enforced or only reported.
    :ivar failure: the exception other than a denial that ended the step.
    :ivar answered: the status with which the step answered in place of the view.
    :ivar enter_us: the microseconds before the view; None if the step was not reached.
    :ivar leave_us: the microseconds on the response.
    :ivar added: the response fields that it added.
    :ivar removed: the response fields that it removed. A changed field is also in `added`.
    """

    placed: tuple[Placed, ...]
    verdict: Verdict = "not reached"
    denial: Denied | None = None
    failure: BaseException | None = None
    answered: int | None = None
    enter_us: float | None = None
    leave_us: float | None = None
    added: Pairs = field(default_factory=list)
    removed: Pairs = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """Return the verdict and the costs of the step as values that JSON can hold."""
        denial = self.denial
        return {
            "verdict": self.verdict,
            "reason": denial.reason if denial is not None else None,
            "status": denial.code if denial is not None else self.answered,
            "enter_us": self.enter_us,
            "leave_us": self.leave_us,
        }


TRACE: Slot[tuple[StepTrace, ...]] = Slot("trace")
"""The traces of the steps of a run's plan, in the order in which they act."""


def traced(groups: Sequence[tuple[Placed, ...]], steps: Sequence[Step]) -> list[Step]:
    """Return steps that do the same as `steps`, one for each of `groups`, and note it in :data:`TRACE`."""
    fresh: list[tuple[tuple[Placed, ...], Verdict]] = [
        (group, "response only" if step.enter is None else "not reached")
        for group, step in zip(groups, steps, strict=True)
    ]

    def trace_at(index: int) -> TraceOf:
        return lambda run: TRACE.made(run, lambda: tuple(StepTrace(*each) for each in fresh))[index]

    noted: list[Step] = []
    for index, step in enumerate(steps):
        enter = _traced_enter(step.enter, trace_at(index)) if step.enter is not None else None
        leave = _traced_leave(step.leave, trace_at(index)) if step.leave is not None else None
        noted.append(Step(enter, leave, step.teardown))
    return noted


def _traced_enter(enter: Enter, trace_of: TraceOf) -> Enter:
    """Return `enter` with notes of its verdict and cost."""

    def traced_enter(run: Run) -> ResponseReturnValue | None:
        trace, reported = trace_of(run), len(run.would_deny)
        start = perf_counter()
        try:
            answer = enter(run)
        except Denied as denial:
            trace.verdict, trace.denial = "denied", denial
            raise
        except HTTPException as error:
            trace.verdict, trace.failure, trace.answered = "answered", error, error.code
            raise
        except Exception as error:
            trace.verdict, trace.failure = "failed", error
            raise
        finally:
            trace.enter_us = _microseconds_since(start)
        trace.verdict = "allowed"
        if len(run.would_deny) > reported:
            trace.verdict, trace.denial = "would deny", run.would_deny[-1]
        if answer is None:
            return None
        response = run.state.app.make_response(answer)
        trace.verdict, trace.denial = ("denied", run.denial) if run.denial is not None else ("answered", None)
        trace.answered = response.status_code
        return response

    return traced_enter


def _traced_leave(leave: Leave, trace_of: TraceOf) -> Leave:
    """Return `leave` with notes of its cost and its changes of header fields."""

    def traced_leave(run: Run, response: Response) -> Response | None:
        trace = trace_of(run)
        before = list(response.headers)
        start = perf_counter()
        replaced = leave(run, response)
        trace.leave_us = _microseconds_since(start)
        after = list((replaced or response).headers)
        trace.added += _more(after, before)
        trace.removed += _more(before, after)
        return replaced

    return traced_leave


def _more(pairs: Pairs, than: Pairs) -> Pairs:
    """Return the members of `pairs` that the others lack, in order."""
    left = Counter(pairs) - Counter(than)
    return [pair for pair in dict.fromkeys(pairs) for _ in range(left[pair])]


def _microseconds_since(start: float) -> float:
    return round((perf_counter() - start) * 1e6, 1)
