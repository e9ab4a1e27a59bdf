"""What the plans of one app have in common, kept once: two thousand endpoints do not hold two thousand copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from .app_state import AppState
from .policy import Placed, Policy, Scope, Step, Target

T = TypeVar("T", bound=Hashable)

OWN_SCOPES = ("view", "method")
"""The scopes of single endpoints, which share nothing with others."""


class SharedParts:
    """The parts that plans share. A service of an app's state: made anew when more is registered."""

    def __init__(self, state: AppState) -> None:
        self._steps: dict[Hashable, Step] = {}
        self._values: dict[Any, Any] = {}
        self._placed: dict[Scope, tuple[Placed, ...]] = {}

    def one(self, value: T) -> T:
        """Return the first value that was equal to `value`."""
        kept: T = self._values.setdefault(value, value)
        return kept

    def step(self, group: tuple[Placed, ...], target: Target, make: Callable[[], Step]) -> Step:
        """Return the step of `group`, made by `make` where no endpoint has an equal one."""
        policy = group[0].policy
        key = policy.compile_key(target, group[0].place) if len(group) == 1 else None
        if key is None:
            return make()
        whole = (policy, key)
        try:
            step = self._steps.get(whole)
        except TypeError:  # an option that has no hash
            return make()
        if step is None:
            step = self._steps[whole] = make()
        return step

    def placed(self, scope: Scope) -> tuple[Placed, ...]:
        """Return the policies that are written in `scope`."""
        if scope.kind in OWN_SCOPES:
            return _placed(scope)
        found = self._placed.get(scope)
        if found is None:
            found = self._placed[scope] = _placed(scope)
        return found


def _placed(scope: Scope) -> tuple[Placed, ...]:
    seen: Counter[Hashable] = Counter()
    placed = []
    for position, mark in enumerate(scope.marks):
        if isinstance(mark.what, Policy):
            placed.append(Placed(mark.what, mark, scope, position, seen[mark.what.key]))
            seen[mark.what.key] += 1
    return tuple(placed)
