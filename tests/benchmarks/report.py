"""The table of a run, its JSON, and how two runs differ."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import Figures, Goal

NOTABLE, NOTABLE_SHARE = 0.03, 0.1
"""The least change of a ratio to the bare request that is worth a line, and the same as a share of the ratio."""
PACKAGES = ("flask", "werkzeug", "flask-limiter", "limits", "flask-cors", "flask-talisman", "flask-httpauth", "redis")

Run = Mapping[str, Sequence[Figures]]


def table(group: str, found: Sequence[Figures]) -> Iterator[str]:
    """Yield the lines of a group."""
    yield f"\n{group:28}{'least':>9}{'median':>9}{'spread':>8}    {'adds':>9}{'of bare':>9}{'of peer':>9}  goals"
    for each in found:
        yield (
            f"{each.name:28}{_amount(each.least)}{_amount(each.median)}{each.spread:8.1f} {each.unit:3}"
            f"{_optional(each.adds, 1)}{_optional(each.of_bare, 2)}{_optional(each.of_peer, 3)}"
            f"  {', '.join(map(_goal, each.goals))}"
        ).rstrip()


def _amount(amount: float) -> str:
    return f"{amount:9.1f}"


def _optional(amount: float | None, digits: int, width: int = 9) -> str:
    return " " * width if amount is None else f"{amount:{width}.{digits}f}"


def _goal(goal: Goal) -> str:
    verdict = "met" if goal.is_met else f"MISSED: {goal.measured:.3f}"
    return f"≤ {goal.at_most:.3g}{'' if goal.of in ('adds', 'amount') else f' of {goal.of}'} {verdict}"


def save(file: Path, run: Run) -> None:
    """Write a run as JSON, with what it ran on."""
    versions = {package: version(package) for package in PACKAGES}
    environment = {"python": platform.python_version(), "machine": platform.machine(), **versions}
    groups = {group: {each.name: asdict(each) for each in found} for group, found in run.items()}
    file.write_text(json.dumps({"environment": environment, "groups": groups}, indent=1) + "\n")


def load(file: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the figures of a file, by group and variant."""
    groups: dict[str, dict[str, dict[str, Any]]] = json.loads(file.read_text())["groups"]
    return groups


def changes(before: Mapping[str, Mapping[str, Mapping[str, Any]]], now: Run) -> Iterator[str]:
    """Yield a line for each figure that has changed: of times the ratios, as times of two runs do not compare."""
    for group, found in now.items():
        for each in found:
            old = before.get(group, {}).get(each.name)
            if old is None:
                yield f"{group}, {each.name}: new"
            elif each.of_bare is not None and old["of_bare"] is not None:
                if abs(each.of_bare - old["of_bare"]) > max(NOTABLE, NOTABLE_SHARE * abs(old["of_bare"])):
                    yield f"{group}, {each.name}: {old['of_bare']:.2f} of bare, now {each.of_bare:.2f}"
            elif each.unit != "µs" and abs(each.least - old["least"]) > NOTABLE_SHARE * old["least"]:
                yield f"{group}, {each.name}: {old['least']:.1f} {each.unit}, now {each.least:.1f}"
        for name in before.get(group, {}).keys() - {each.name for each in found}:
            yield f"{group}, {name}: gone"
