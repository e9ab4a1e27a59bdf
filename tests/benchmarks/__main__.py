"""The cost of guarding, beside Flask's own and the peers': python -m tests.benchmarks

It prints one table, in groups. ``least`` is the least disturbed round, ``spread`` the difference between the third and
the first quartile, ``adds`` the difference to a bare request of the group, ``of peer`` the ratio to what the peer adds.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from tests.benchmarks import overhead, report
from tests.benchmarks.limits import private_redis
from tests.benchmarks.measuring import Figures, measure
from tests.benchmarks.suite import GROUPS, Place, check


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[*GROUPS], help="measure this group; may be given again")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--requests", type=int, default=20, help="in each round, for each variant")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="print the differences to the figures in FILE")
    options = parser.parse_args()
    run = measure_groups(options.only or [*GROUPS], options.rounds, options.requests)
    if options.compare:
        print(f"\nchanged since {options.compare}:")
        print("\n".join(report.changes(report.load(options.compare), run)) or "nothing")
    if options.json:
        report.save(options.json, run)


def measure_groups(groups: list[str], rounds: int, requests: int) -> dict[str, list[Figures]]:
    """Measure groups, and print each."""
    overhead.listen()
    run = {}
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory())
        redis = opened.enter_context(private_redis(Path(folder))) if {"storages", "floors"} & {*groups} else ""
        for group in groups:
            made = GROUPS[group](Place(redis, Path(folder)))
            check(made)
            run[group] = measure(made, rounds, requests)
            print("\n".join(report.table(group, run[group])), flush=True)
    return run


if __name__ == "__main__":
    main()
