"""Lending of what is counted in Redis or Valkey: ``lending.lua``, in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from secrets import token_hex

from .budgets import Held
from .lending import SHARE, Ask, Loan, Rest
from .redis import RedisCounter

NOTHING = [0, 0, 0]
"""No loan."""


class RedisLender:
    """Lends what is counted in Redis.

    A note is random, and each loan of a process replaces the earlier one. So a script that the client library sends
    again takes nothing back twice. On a cluster each wish is a call of its own.

    :param counter: returns the counter of the storage, whose connections are used.
    """

    def __init__(self, counter: Callable[[], RedisCounter]) -> None:
        self._counter = counter
        self._script = files(__package__).joinpath("lending.lua").read_text("utf-8")
        self._digest = ""

    def lend(self, asks: Sequence[Ask], holder: str) -> list[Loan]:
        notes = [token_hex(6) for _ in asks]
        lines = [
            f"L {ask.budget.amount} {ask.budget.seconds} {ask.held} {ask.need} {ask.want} {ask.note or '-'} {new}"
            for ask, new in zip(asks, notes, strict=True)
        ]
        answers = self._call([(ask.budget, ask.identity) for ask in asks], lines, holder)
        return [
            Loan(held, left, milliseconds / 1000, note)
            for (held, left, milliseconds), note in zip(answers, notes, strict=True)
        ]

    def take_back(self, rests: Sequence[Rest], holder: str) -> None:
        lines = [f"B {rest.units} {rest.note}" for rest in rests]
        self._call([(rest.budget, rest.identity) for rest in rests], lines, holder)

    def _call(self, owners: Sequence[Held], lines: Sequence[str], holder: str) -> list[list[int]]:
        """Run the script, and return the three numbers of each line."""
        counter = self._counter()
        self._digest = self._digest or counter.digest_of(self._script)
        windows = [counter.key(*owner) for owner in owners]
        pairs = [(key, counter.lent_key(key)) for key in windows]
        if not counter.is_cluster:
            keys = [key for pair in pairs for key in pair]
            numbers = self._evaluate(counter, keys, holder, "\n".join(lines))
            return [numbers[first : first + 3] for first in range(0, len(numbers), 3)]
        return [
            self._evaluate(counter, pair, holder, line) if pair[1] else NOTHING
            for pair, line in zip(pairs, lines, strict=True)
        ]

    def _evaluate(self, counter: RedisCounter, keys: Sequence[str], holder: str, lines: str) -> list[int]:
        answer = counter.evaluate(self._script, self._digest, len(keys), *keys, holder, SHARE, lines)
        return [int(number) for number in answer.split()]
