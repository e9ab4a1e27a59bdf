"""Counts of instructions, which do not depend on how busy the machine is: python -m tests.benchmarks.instructions

Each variant serves requests under ``valgrind --tool=callgrind``. Its cost is the instructions of a request beyond those
of a bare one, as a share of the bare request's. The bytecodes that a request executes are counted, too: they leave out
the C code of Python, but are the same in every build of a version. A cost over 3 % above the one in
``instructions.json`` is an error. The file has an entry for each version of Python, Flask and Werkzeug:

- Under the build of Python that the entry was made with, instructions and bytecodes are compared.
- Under another build of this version, or without valgrind: bytecodes.
- Under versions of Flask and Werkzeug without an entry: bytecodes, with the last entry for the version of Python.
- Under a version of Python without an entry: nothing. In CI this is an error.

``--renew`` writes this machine's figures into the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.counting import BATCHES, REQUESTS

ROOT = Path(__file__).parent.parent.parent
FILE = Path(__file__).with_suffix(".json")
RENEW = "python -m tests.benchmarks.instructions --renew"
COUNTING = (sys.executable, "-m", "tests.benchmarks.counting")
CALLGRIND = ("valgrind", "--tool=callgrind", "--dump-before=getppid")
TOLERANCE = 0.03
NOISE = 0.005
"""What instructions differ by for nothing, as a share of a bare request's: the addresses of objects decide which ones
collide in Python's tables."""


@dataclass(frozen=True)
class Cost:
    """The cost of a variant.

    :ivar share: the instructions that it adds, as a share of those of the bare request.
    :ivar added: the same in instructions a request.
    :ivar bytecodes: the bytecodes that it adds, as a share of those of the bare request.
    """

    share: float | None
    added: int | None
    bytecodes: float


@dataclass(frozen=True)
class Entry:
    """The figures of one environment.

    :ivar build: the build of Python that the instructions hold for.
    :ivar bare: the instructions of a bare request.
    """

    build: str
    bare: int | None
    costs: Mapping[str, Cost]


@dataclass(frozen=True)
class Pair:
    """One figure of a variant, before and now.

    :ivar noise: the difference that says nothing.
    """

    name: str
    unit: str
    before: float
    now: float
    noise: float = 0

    @property
    def tolerated(self) -> float:
        """Return the difference that is let pass."""
        return max(abs(self.before) * TOLERANCE, self.noise)


# The environment -------------------------------------------------------------------------------------------------


def environment() -> str:
    """Return the versions that figures depend on."""
    return f"Python {python()}, Flask {version('flask')}, Werkzeug {version('werkzeug')}"


def python() -> str:
    """Return the version of Python without its last number."""
    return ".".join(platform.python_version_tuple()[:2])


def build() -> str:
    """Return the build of Python, and the libc and the processors that it runs on."""
    return f"{sys.version}, {' '.join(platform.libc_ver())}, {platform.machine()}"


# Counting --------------------------------------------------------------------------------------------------------


def measure() -> Entry:
    """Count this environment's figures."""
    counted: list[tuple[str, str, int]] = json.loads(_run(*COUNTING, "--bytecodes"))
    bytecodes = {name: executed for name, _, executed in counted}
    instructions = _instructions([*bytecodes]) if shutil.which("valgrind", path=os.defpath) else {}
    costs = {
        name: Cost(
            _share(instructions[name], instructions[over]) if instructions else None,
            instructions[name] - instructions[over] if instructions else None,
            _share(executed, bytecodes[over]),
        )
        for name, over, executed in counted
        if not name.startswith("bare")
    }
    return Entry(build(), instructions.get("bare"), costs)


def _share(amount: int, base: int) -> float:
    return round((amount - base) / base, 4)


def _instructions(names: Sequence[str]) -> dict[str, int]:
    """Return the instructions of a request: the fewest of the batches, as a request may do more than it must."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        _run(*CALLGRIND, f"--callgrind-out-file={out}", *COUNTING)
        dumps = [_total(out.with_suffix(f".{number}")) for number in range(1, 2 * BATCHES * len(names) + 1)]
    batches = dumps[1::2]  # the others are of what is between batches
    return {name: min(batches[index :: len(names)]) // REQUESTS for index, name in enumerate(names)}


def _total(dump: Path) -> int:
    lines = (line for line in dump.read_text().splitlines() if line.startswith("totals: "))
    return int(next(lines).removeprefix("totals: "))


def _run(*command: str) -> str:
    """Run a program that has the same variables and the same path to the code everywhere; return its output."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        code = Path(folder) / "code"
        code.symlink_to(ROOT)
        environ = {"PATH": os.defpath, "PYTHONPATH": str(code), "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


# Comparing -------------------------------------------------------------------------------------------------------


def load(file: Path = FILE) -> dict[str, Entry]:
    """Return the entries of the file, by environment."""
    found = json.loads(file.read_text()) if file.exists() else {}
    return {
        name: Entry(each["build"], each["bare"], {key: Cost(**cost) for key, cost in each["costs"].items()})
        for name, each in found.items()
    }


def save(entries: Mapping[str, Entry], file: Path = FILE) -> None:
    """Write the entries."""
    found = {name: asdict(entry) for name, entry in sorted(entries.items())}
    file.write_text(json.dumps(found, indent=1) + "\n")


def entry_for(name: str, entries: Mapping[str, Entry]) -> tuple[str, Entry] | None:
    """Return the entry of the environment `name`, or the last one of the same version of Python."""
    alike = (
        [name] if name in entries else [each for each in sorted(entries) if each.split(",")[0] == name.split(",")[0]]
    )
    return (alike[-1], entries[alike[-1]]) if alike else None


def pairs(before: Entry, now: Entry, *, exact: bool) -> Iterator[Pair]:
    """Yield the figures to compare: bytecodes, and instructions where they compare."""
    for name, cost in now.costs.items():
        old = before.costs.get(name)
        if old is not None:
            yield Pair(name, "bytecodes", old.bytecodes, cost.bytecodes)
            if exact and old.share is not None and cost.share is not None:
                yield Pair(name, "instructions", old.share, cost.share, NOISE)


def complaints(before: Entry, now: Entry, *, exact: bool) -> list[str]:
    """Return a line for each figure that is worse than before, and each variant that only one of the entries has."""
    found = [
        f"{each.name}: {each.unit} a request were {each.before:.2%} over a bare one's and are {each.now:.2%}: "
        f"{each.now / each.before - 1:+.1%}"
        for each in pairs(before, now, exact=exact)
        if each.now - each.before > each.tolerated
    ]
    found += [f"{name}: no figure to compare with" for name in now.costs if name not in before.costs]
    return found + [f"{name}: the variant is gone" for name in before.costs if name not in now.costs]


def check(name: str, now: Entry, entries: Mapping[str, Entry], *, in_ci: bool) -> int:
    """Print how figures compare with those of the file; return the exit status."""
    known = entry_for(name, entries)
    if known is None:
        print(f"{FILE.name} has no figures for {name.split(',')[0]}. To add them: {RENEW}")
        return int(in_ci)
    known_as, before = known
    exact = known_as == name and before.build == now.build and now.bare is not None
    print(f"compared: {'instructions and bytecodes' if exact else 'bytecodes'}, with those of {known_as}")
    if not exact:
        print(f"(this is {name}, {now.build}{'' if now.bare else ', without valgrind'})")
    found = complaints(before, now, exact=exact)
    for line in found:
        print(line)
    if found:
        print(f"If this is meant, renew the figures, and commit them: {RENEW}")
    elif cheaper := [each for each in pairs(before, now, exact=exact) if each.before - each.now > each.tolerated]:
        names = ", ".join(dict.fromkeys(each.name for each in cheaper))
        print(f"These cost less than before: {names}. To hold this: {RENEW}")
    return int(bool(found))


def report(now: Entry, before: Entry | None) -> None:
    """Print a line for each variant."""
    print(f"{'':22}{'instructions':>14}{'of bare':>9}{'before':>9}{'bytecodes':>11}{'before':>9}")
    for name, cost in now.costs.items():
        old = before.costs.get(name) if before else None
        print(
            f"{name:22}{cost.added or '':>14}{_percent(cost.share):>9}{_percent(old.share if old else None):>9}"
            f"{_percent(cost.bytecodes):>11}{_percent(old.bytecodes if old else None):>9}"
        )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def main() -> int:
    """Count, print, and compare or write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help="write the figures into the file")
    options = parser.parse_args()
    name, now, entries = environment(), measure(), load()
    if options.renew and now.bare is None:
        parser.error("--renew needs valgrind: apt-get install valgrind")
    known = entry_for(name, entries)
    report(now, known[1] if known else None)
    if options.renew:
        save({**entries, name: now})
        return 0
    return check(name, now, entries, in_ci=bool(os.environ.get("CI")))


if __name__ == "__main__":
    sys.exit(main())
