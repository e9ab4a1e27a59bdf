"""The program that `instructions` runs under callgrind: it serves requests, and marks where to count.

``os.getppid`` is the mark: a function of libc that no request calls, so that callgrind finds it in every build of
Python. With ``--bytecodes``, the program counts the bytecodes that a request executes instead, and needs no callgrind.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from types import FrameType
from typing import Any

from tests.benchmarks import overhead, shapes
from tests.benchmarks.overhead import Variant

WARM_UP, BATCHES, REQUESTS = 15, 4, 10
"""Requests before counting, times that requests are counted, and requests that are counted each time."""


def variants() -> list[Variant]:
    """Return the variants whose speed is held."""
    return [*overhead.variants(), *shapes.counts([20]), *shapes.nested([5]), *shapes.denied()]


def serve(made: list[Variant]) -> None:
    """Serve batches of requests between marks, twice a batch."""
    for _ in range(BATCHES):
        for variant in made:
            variant.request()
            os.getppid()
            for _ in range(REQUESTS):
                variant.request()
            os.getppid()


def bytecodes(variant: Variant) -> int:
    """Return how many bytecodes a request executes: the fewest of some, as a request may do more than it must."""
    counts = []
    sys._getframe().f_trace_opcodes = True  # else Python 3.12 and later count none at first
    for _ in range(BATCHES):
        counter = _Counter()
        sys.settrace(counter)
        try:
            variant.request()
        finally:
            sys.settrace(None)
        counts.append(counter.executed)
    return min(counts)


class _Counter:
    """A trace function that counts bytecodes."""

    def __init__(self) -> None:
        self.executed = 0

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> _Counter:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            self.executed += 1
        return self


def main() -> None:
    """Serve; or print the bytecodes of each variant, beside the variant that it is measured over."""
    overhead.listen()
    made = variants()
    for variant in made:
        for _ in range(WARM_UP):
            variant.request()
    gc.collect()
    gc.freeze()
    gc.disable()
    if "--bytecodes" in sys.argv:
        for variant in made:  # Python 3.13 counts code from its second traced call on
            bytecodes(variant)
        print(json.dumps([(variant.name, variant.over, bytecodes(variant)) for variant in made]))
    else:
        serve(made)


if __name__ == "__main__":
    main()
