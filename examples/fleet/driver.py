"""Many parallel requests, and their answers."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

CONNECTIONS = 32


@dataclass(frozen=True)
class Answer:
    """The answer to one request.

    :ivar worker: the id of the process that let the request through; 0 if the request was denied.
    """

    port: int
    status: int
    worker: int
    seconds: float


def drive(ports: Sequence[int], requests: int) -> list[Answer]:
    """Send requests to `ports` in turn, many in parallel, each on a new connection."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(get, [ports[number % len(ports)] for number in range(requests)]))


def get(port: int, path: str = "/") -> Answer:
    """Send one request."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    worker = json.loads(body).get("worker", 0) if response.status == 200 else 0
    return Answer(port, response.status, worker, time.perf_counter() - start)


def passed(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers to the requests that were let through."""
    return [each for each in answers if each.status == 200]


def summary(answers: Sequence[Answer]) -> str:
    """Return the number of requests by status, and the duration of the slowest."""
    statuses = Counter(each.status for each in answers)
    counted = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    return f"{len(answers)} requests: {counted}; the slowest took {max(each.seconds for each in answers):.2f} s"
