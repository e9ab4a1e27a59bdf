"""The facts of a report, arranged for a page: columns, rows, and descriptions that many rows share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ...core.facts import SEVERITIES, Finding, Foreign, Inventory
from ...core.policy import DenyingPolicy, Phase
from ..findings import Audit
from ..routes import entry_describer
from ..wording import shown_foreign, site_shortener

UNKNOWN = "unknown"
"""The column of hooks and decorators that may or may not refuse requests."""

Shorten: TypeAlias = "Callable[[str | None], str]"


@dataclass(slots=True)
class Pool:
    """Descriptions that are kept once each, and referred to by a number."""

    kept: list[dict[str, Any]] = field(default_factory=list)
    _numbers: dict[Any, int] = field(default_factory=dict)

    def number(self, description: dict[str, Any]) -> int:
        key = tuple(description.values())
        if key not in self._numbers:
            self._numbers[key] = len(self.kept)
            self.kept.append(description)
        return self._numbers[key]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The facts of a report for its page.

    :ivar columns: the names of the policies in the order in which they act, then of other packages.
    :ivar routes: the facts of each route. Its policies and foreign facts are numbers.
    :ivar accepted: the number of findings that the code accepts.
    """

    app: str
    columns: tuple[str, ...]
    routes: list[dict[str, Any]]
    policies: list[dict[str, Any]]
    foreign: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    accepted: int

    def data(self) -> dict[str, Any]:
        """Return the facts that the script of the page reads."""
        return {
            "columns": self.columns,
            "routes": self.routes,
            "policies": self.policies,
            "foreign": self.foreign,
            "findings": self.findings,
        }


def matrix_of(inventory: Inventory, audit: Audit) -> Matrix:
    policies, foreign = Pool(), Pool()
    by_entry: dict[int, list[int]] = {}
    for number, finding in enumerate(audit.findings):
        for entry in finding.entries:
            by_entry.setdefault(id(entry), []).append(number)
    describe, shorten, routes = entry_describer(inventory), site_shortener(), []
    for entry in inventory.entries:
        route = describe(entry)
        refuses = [isinstance(placed.policy, DenyingPolicy) for placed in entry.plan or ()]
        shown = [_policy(each, may, shorten) for each, may in zip(route["policies"], refuses, strict=True)]
        route["policies"] = list(map(policies.number, shown))
        route["foreign"] = [foreign.number(_named(each, shorten)) for each in route["foreign"]]
        route["findings"] = by_entry.get(id(entry), [])
        route["site"] = shorten(route["site"])
        routes.append(route)
    own = _columns_of_policies(policies.kept)
    others = sorted({each["column"] for each in foreign.kept} - {UNKNOWN})
    has_unknown = any(each["column"] == UNKNOWN for each in foreign.kept)
    columns = (*own, *others, *([UNKNOWN] if has_unknown else ()))
    findings = [_finding(each, shorten) for each in audit.findings]
    accepted = len(audit.silenced)
    return Matrix(inventory.app.name, columns, routes, policies.kept, foreign.kept, findings, accepted)


def _policy(described: dict[str, Any], refuses: bool, shorten: Shorten) -> dict[str, Any]:
    kept = {name: described[name] for name in ("name", "text", "mode", "phase", "scope")}
    return kept | {"site": shorten(described["site"]), "refuses": refuses}


def _named(foreign: dict[str, Any], shorten: Shorten) -> dict[str, Any]:
    column = UNKNOWN if foreign["purpose"] == "unknown" else foreign["by"]
    return foreign | {"column": column, "text": shown_foreign(Foreign(**foreign)), "site": shorten(foreign["site"])}


def _columns_of_policies(policies: Iterable[dict[str, Any]]) -> list[str]:
    first: dict[str, Phase] = {}
    for each in policies:
        phase = Phase[each["phase"]]
        first[each["name"]] = min(phase, first.get(each["name"], phase))
    return sorted(first, key=lambda name: (first[name], name))


def _finding(finding: Finding, shorten: Shorten) -> dict[str, Any]:
    rule = finding.rule
    return {
        "rule": rule.id,
        "severity": rule.severity,
        "rank": SEVERITIES.index(rule.severity),
        "title": rule.title,
        "message": finding.message,
        "why": rule.why,
        "fix": rule.fix,
        "references": list(rule.references),
        "site": shorten(finding.site),
        "routes": len(finding.entries),
    }
