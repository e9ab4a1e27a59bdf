"""Measuring: interleaved rounds, and the figures of each variant.

Rounds are interleaved, so that variants of one run compare, and their order changes, as some disturb those after them:
the threads of a peer's storage, for one. The least disturbed round counts; the median and the spread
of the rounds say how disturbed the run was. Times of two runs do not compare, ratios to the bare request do.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median, quantiles
from typing import Protocol


class Measurable(Protocol):
    """Something to measure. See :class:`tests.benchmarks.overhead.Variant`."""

    name: str
    unit: str
    over: str
    peer: str
    goals: Mapping[str, float]
    most_rounds: int

    def sample(self, requests: int) -> float:
        """Return one measurement, in `unit`."""
        ...


@dataclass(frozen=True)
class Goal:
    """A ratio that was wanted, and the measured one.

    :ivar of: what it is a ratio of: see :attr:`tests.benchmarks.overhead.Variant.goals`.
    """

    of: str
    at_most: float
    measured: float

    @property
    def is_met(self) -> bool:
        """Return whether the goal is reached."""
        return self.measured <= self.at_most


@dataclass(frozen=True)
class Figures:
    """What was measured of a variant.

    :ivar spread: the difference between the third and the first quartile.
    :ivar adds: the difference to the variant that it is measured over.
    :ivar of_bare: this difference, as a share of the first variant of the group.
    :ivar of_peer: this difference, as a share of the peer's.
    """

    name: str
    unit: str
    least: float
    median: float
    spread: float
    adds: float | None
    of_bare: float | None
    peer: str
    of_peer: float | None
    goals: Sequence[Goal]


def measure(variants: Sequence[Measurable], rounds: int, requests: int) -> list[Figures]:
    """Measure variants in interleaved rounds; the first is the bare one."""
    samples: dict[str, list[float]] = {each.name: [] for each in variants}
    for each in variants:
        each.sample(requests)
    gc.collect()
    order, shuffle = list(variants), Random(0).shuffle  # noqa: S311
    for number in range(rounds):
        shuffle(order)
        for each in order:
            if number < each.most_rounds:
                samples[each.name].append(each.sample(requests))
    return figures(variants, samples)


def figures(variants: Sequence[Measurable], samples: Mapping[str, Sequence[float]]) -> list[Figures]:
    """Return the figures of variants from the measurements of each round."""
    least = {name: min(taken) for name, taken in samples.items()}
    measured_over = [each for each in variants if each.over in least and each.over != each.name]
    adds = {each.name: least[each.name] - least[each.over] for each in measured_over}
    bare = least[variants[0].name]

    def ratio(of: str, each: Measurable) -> float | None:
        if of not in ("adds", "bare", "peer"):
            return least[each.name] / (1 if of == "amount" else least[of])
        if each.name not in adds or (of == "peer" and not each.peer):
            return None
        return adds[each.name] / {"adds": 1, "bare": bare, "peer": adds.get(each.peer, 1)}[of]

    return [
        Figures(
            name=each.name,
            unit=each.unit,
            least=least[each.name],
            median=median(samples[each.name]),
            spread=spread(samples[each.name]),
            adds=adds.get(each.name),
            of_bare=ratio("bare", each),
            peer=each.peer,
            of_peer=ratio("peer", each),
            goals=[Goal(of, at_most, ratio(of, each) or 0) for of, at_most in each.goals.items()],
        )
        for each in variants
    ]


def spread(taken: Sequence[float]) -> float:
    """Return the difference between the third and the first quartile."""
    if len(taken) < 2:
        return 0
    first, _, third = quantiles(taken, n=4)
    return third - first
