"""A cache of the answers of a table of keys. A change of a key removes its answers."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")

MOST = 10_000
"""The largest number of answers in a cache."""


class Remembered(Generic[Q, A]):
    """Answers by question, for several threads.

    :ivar generation: the number of changes so far. Read the number before the table, and pass it to :meth:`put`: an
        answer from before a change must not be cached after the change.
    """

    def __init__(self) -> None:
        self.generation: int = 0
        self._lock = threading.Lock()
        self._answers: dict[Q, tuple[float, A, str]] = {}

    def get(self, question: Q, now: float) -> A | None:
        """Return the answer, or None if there is no answer at `now`."""
        found = self._answers.get(question)
        return found[1] if found is not None and found[0] > now else None

    def put(self, question: Q, key_id: str, answer: A, until: float, generation: int) -> None:
        """Remember an answer about a key, unless a key has changed since `generation`."""
        with self._lock:
            if generation == self.generation:
                if len(self._answers) >= MOST:
                    self._answers.clear()
                self._answers[question] = (until, answer, key_id)

    def clear(self) -> None:
        with self._lock:
            self.generation += 1
            self._answers = {}

    def forget(self, key_id: str) -> None:
        with self._lock:
            self.generation += 1
            self._answers = {question: each for question, each in self._answers.items() if each[2] != key_id}
