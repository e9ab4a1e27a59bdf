"""Processes for tests of a storage that many share.

``python -m tests.rate_limits.storage.hammer`` says "ready". For each job, a line of JSON, each of its threads asks so
many times, and it prints how many were let through, and how many asked.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from limits import parse
from limits.storage import storage_from_string

from flask_guard.rate_limits.storage import Budget, SQLiteStorage, rate_budget


def budget_of(algorithm: str, amount: int) -> Budget:
    """Return the budget that the workers draw on: of a day, so that no window ends meanwhile."""
    return rate_budget(parse(f"{amount}/day"), "hammered", algorithm)


def work(uri: str, algorithm: str, amount: int, threads: int, each: int) -> tuple[int, int]:
    """Ask from several threads at once; return how many passed, and how many asked."""
    storage: Any = storage_from_string(uri)
    assert isinstance(storage, SQLiteStorage)
    budget = budget_of(algorithm, amount)
    together = threading.Barrier(threads)

    def ask(_number: int) -> int:
        together.wait()
        return sum(storage.take([(budget, "client", 1, 1)])[0] for _ in range(each))

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(ask, range(threads))), threads * each


class Hammers:
    """Processes that hammer a storage together."""

    def __init__(self, processes: int) -> None:
        command = [sys.executable, "-m", "tests.rate_limits.storage.hammer"]
        self._workers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(processes)
        ]

    def __call__(self, uri: str, algorithm: str, amount: int, *, threads: int, each: int) -> tuple[int, int]:
        """Let all processes hammer a storage at the same time; return how many passed, and how many asked."""
        job = json.dumps([uri, algorithm, amount, threads, each])
        for worker in self._workers:
            print(job, file=worker.stdin, flush=True)
        answers = [json.loads(self._read(worker)) for worker in self._workers]
        return sum(passed for passed, _ in answers), sum(asked for _, asked in answers)

    def wait(self) -> None:
        """Wait until all are ready."""
        assert {self._read(worker) for worker in self._workers} == {"ready\n"}

    def stop(self) -> None:
        """End them."""
        for worker in self._workers:
            worker.kill()
            worker.communicate()

    def _read(self, worker: subprocess.Popen[str]) -> str:
        assert worker.stdout is not None
        return worker.stdout.readline()


@contextmanager
def hammers(processes: int) -> Iterator[Hammers]:
    """Run processes for a ``with`` block."""
    made = Hammers(processes)
    try:
        made.wait()
        yield made
    finally:
        made.stop()


def in_a_child(work: Callable[[], bool]) -> bool:
    """Return what `work` returns in a forked child."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(work(*json.loads(line))), flush=True)
