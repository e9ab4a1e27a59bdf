"""Processes for tests of a storage that many share.

``python -m tests.rate_limits.storage.hammer URI ALGORITHM AMOUNT THREADS EACH`` says "ready", waits for a line, lets
each of its threads ask so many times, and prints how many were let through, and the seconds that each took.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from limits import parse
from limits.storage import storage_from_string

from flask_guard.rate_limits.storage import Budget, SQLiteStorage, rate_budget


def budget_of(algorithm: str, amount: int) -> Budget:
    """Return the budget that the workers draw on: of a day, so that no window ends meanwhile."""
    return rate_budget(parse(f"{amount}/day"), "hammered", algorithm)


def main(uri: str, algorithm: str, amount: str, threads: str, each: str) -> None:
    """Be one of the processes that hammer."""
    storage: Any = storage_from_string(uri)
    assert isinstance(storage, SQLiteStorage)
    budget = budget_of(algorithm, int(amount))
    together = threading.Barrier(int(threads))
    seconds: list[float] = []

    def ask(_number: int) -> int:
        together.wait()
        passed = 0
        for _ in range(int(each)):
            started = time.perf_counter()
            passed += storage.take([(budget, "client", 1, 1)])[0]
            seconds.append(time.perf_counter() - started)
        return passed

    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(int(threads)) as pool:
        passed = sum(pool.map(ask, range(int(threads))))
    print(json.dumps([passed, seconds]))


def hammer(
    uri: str, algorithm: str, amount: int, *, processes: int, threads: int, each: int
) -> tuple[int, list[float]]:
    """Let processes hammer one storage at the same time; return how many passed, and how long each took."""
    arguments = [uri, algorithm, str(amount), str(threads), str(each)]
    command = [sys.executable, "-m", "tests.rate_limits.storage.hammer", *arguments]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        answers = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    return sum(passed for passed, _ in answers), sorted(each for _, seconds in answers for each in seconds)


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
    main(*sys.argv[1:])
