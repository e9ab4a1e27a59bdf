"""Two gunicorns of two workers and one limit, before, while and after their Redis is killed.

The demonstration needs redis-server, gunicorn and the extra `redis`. All processes listen on free loopback ports, and
are stopped at the end, also after Ctrl-C or a failure.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from . import LIMIT
from .driver import Answer, drive, get, passed, summary
from .processes import Fleet, free_ports, uninterrupted, wait_until

REQUESTS = 10 * LIMIT
GUNICORNS, WORKERS = 2, 4
BACK_WITHIN = 5
"""Seconds within which all workers count in Redis again once it is back."""


def main() -> None:
    """Run the demonstration. The exit status is 1 if a check fails."""
    check_installed()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    try:
        with uninterrupted():
            temporary = tempfile.TemporaryDirectory()
        with temporary as folder, Fleet(Path(folder)) as fleet:
            run(fleet)
        say("Stopped all of it.")
    except KeyboardInterrupt:
        say("Interrupted. Stopped all of it.")
        sys.exit(130)
    except (RuntimeError, OSError) as error:
        sys.exit(f"{error}\nStopped all of it.")


def check_installed() -> None:
    """Exit with the command that installs a missing program."""
    if which("redis-server") is None:
        sys.exit("redis-server is not installed: apt-get install redis-server, or brew install redis")
    missing = [name for name in ("gunicorn", "redis") if find_spec(name) is None]
    if missing:
        sys.exit(f"{' and '.join(missing)} cannot be imported: pip install {' '.join(missing)}")


def run(fleet: Fleet) -> None:
    """Run the demonstration step by step."""
    redis_port, *ports = free_ports(1 + GUNICORNS)
    redis = fleet.start_redis(redis_port)
    for port in ports:
        fleet.start_gunicorn(port, redis_port)
    say(f"Redis on port {redis_port}; gunicorns of two workers on ports {' and '.join(map(str, ports))}.")

    count_together(ports)

    say("\nRedis is killed.")
    fleet.kill(redis)
    count_alone(ports)
    say(f"  in the logs: {one_line_for_each_worker(fleet, 'the limit store is down')}")

    say("\nRedis is started again, empty.")
    fleet.start_redis(redis_port)
    wait_until(lambda: is_back(fleet, ports), "the workers count in Redis again", BACK_WITHIN)
    say(f"  in the logs: {one_line_for_each_worker(fleet, 'the limit store is back')}")
    count_together(ports)


def count_together(ports: list[int]) -> None:
    """Drive the fleet while Redis is up: the gunicorns share the limit."""
    answers = drive(ports, REQUESTS)
    say(f"  {summary(answers)}")
    by_port = [sum(each.port == port for each in passed(answers)) for port in ports]
    say(f"  let through: {' + '.join(map(str, by_port))} = {sum(by_port)}; the limit is {LIMIT} a minute")
    check(sum(by_port) == LIMIT, "the sum let through is not the limit")
    check_no_error(answers)


def count_alone(ports: list[int]) -> None:
    """Drive the fleet while Redis is down: the site stays up, and each worker counts alone."""
    answers = drive(ports, REQUESTS)
    say(f"  the site stays up. {summary(answers)}")
    by_worker = Counter(each.worker for each in passed(answers))
    shares = " + ".join(map(str, sorted(by_worker.values(), reverse=True)))
    say(f"  let through by the workers, each of which counts locally: {shares}")
    check(max(by_worker.values()) <= LIMIT, "a worker let more through than the limit")
    check_no_error(answers)


def is_back(fleet: Fleet, ports: list[int]) -> bool:
    """Send a request to each gunicorn, and return whether all workers have noticed that Redis is back.

    A worker probes Redis in the background, after a request that Redis would have counted.
    """
    for port in ports:
        get(port, "/health")
    return len(fleet.logged("the limit store is back")) >= WORKERS


def one_line_for_each_worker(fleet: Fleet, text: str) -> str:
    """Return the log line with `text`, and its count."""
    lines = fleet.logged(text)
    check(len(lines) == WORKERS, f"{len(lines)} lines in the logs say {text!r}, of {WORKERS} workers")
    return f"{lines[0]} ({len(lines)} times, once for each worker)"


def check_no_error(answers: list[Answer]) -> None:
    """Raise unless every request was let through or denied by the limit."""
    check({each.status for each in answers} <= {200, 429}, "a request was answered with an error")


def check(holds: bool, otherwise: str) -> None:
    """Raise RuntimeError with `otherwise` unless a check `holds`."""
    if not holds:
        raise RuntimeError(f"The demonstration failed: {otherwise}.")


def say(text: str) -> None:
    """Print without a buffer, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
