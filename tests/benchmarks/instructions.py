"""Counts of instructions, which do not depend on how busy the machine is: python -m tests.benchmarks.instructions

Each variant serves requests under ``valgrind --tool=callgrind``. Its cost is the instructions of a request beyond those
of a bare one, as a share of the bare request's. Costs over 3 % above those in ``instructions.json`` are an error.
The file has one entry for each version of Python, Flask and Werkzeug. Which figures are compared:

- Under the build of Python that the entry was made with: instructions.
- Under another build of that version, or without valgrind: the bytecodes that a request executes. They are the same in
  every build, but do not tell what the C code of Python does.
- Under versions of Flask and Werkzeug without an entry: bytecodes, with the entry of the same Python that is nearest.
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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.counting import BATCHES, REQUESTS

ROOT = Path(__file__).parent.parent.parent
FILE = Path(__file__).with_suffix(".json")
RENEW = "python -m tests.benchmarks.instructions --renew"
TOLERANCE = 0.03


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
    counted: list[tuple[str, str, int]] = json.loads(
        _run([sys.executable, "-m", "tests.benchmarks.counting", "--bytecodes"])
    )
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
        _run([
            "valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-before=getppid",
            sys.executable, "-m", "tests.benchmarks.counting",
        ])  # fmt: skip
        dumps = [_total(out.with_suffix(f".{number}")) for number in range(1, 2 * BATCHES * len(names) + 1)]
    batches = dumps[1::2]  # the others are of what is between batches
    return {name: min(batches[index :: len(names)]) // REQUESTS for index, name in enumerate(names)}


def _total(dump: Path) -> int:
    lines = (line for line in dump.read_text().splitlines() if line.startswith("totals: "))
    return int(next(lines).removeprefix("totals: "))


def _run(command: Sequence[str]) -> str:
    """Run a program in an environment that is the same everywhere, as its size moves the stack; return the output."""
    environ = {"PATH": os.defpath, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
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


def is_exact(name: str, before: Entry, known_as: str, now: Entry) -> bool:
    """Return whether instructions can be compared, and not only bytecodes."""
    return known_as == name and before.build == now.build and before.bare is not None and now.bare is not None


def differences(before: Entry, now: Entry, *, exact: bool) -> dict[str, tuple[float, float]]:
    """Return the costs of each variant, before and now, that both entries have."""
    pairs = {name: (before.costs[name], cost) for name, cost in now.costs.items() if name in before.costs}
    return {name: (_figure(old, exact), _figure(new, exact)) for name, (old, new) in pairs.items()}


def _figure(cost: Cost, exact: bool) -> float:
    return cost.share if exact and cost.share is not None else cost.bytecodes


def complaints(before: Entry, now: Entry, *, exact: bool) -> list[str]:
    """Return a line for each variant that costs more than before, or that only one of the entries has."""
    unit = "instructions" if exact else "bytecodes"
    found = [
        f"{name}: {unit} a request over bare were {old:.2%} of a bare request's and are {new:.2%}: {new / old - 1:+.1%}"
        for name, (old, new) in differences(before, now, exact=exact).items()
        if new > old * (1 + TOLERANCE)
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
    exact = is_exact(name, before, known_as, now)
    print(f"compared: {'instructions' if exact else 'bytecodes'}, with those of {known_as}")
    if not exact:
        print(f"(this is {name}, {now.build}{'' if now.bare else ', without valgrind'})")
    found = complaints(before, now, exact=exact)
    for line in found:
        print(line)
    if found:
        print(f"If this is meant, renew the figures, and commit them: {RENEW}")
    elif any(new < old * (1 - TOLERANCE) for old, new in differences(before, now, exact=exact).values()):
        print(f"Some variants are over {TOLERANCE:.0%} cheaper. To hold this: {RENEW}")
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
