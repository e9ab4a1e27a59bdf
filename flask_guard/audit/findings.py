"""The audit: runs the rules of the package and of every concern, and sorts their findings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timezone
from itertools import chain

from ..concerns import audit_rules
from ..core.facts import SEVERITIES, AuditRule, Checks, Entry, Finding, Inventory
from .rules import endpoints, hooks, marks, settings
from .silences import RULES_ABOUT_SILENCES, Silence, Silences


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit.

    :ivar findings: the gravest first.
    :ivar silenced: the findings that the code accepts, each with its silence.
    """

    findings: tuple[Finding, ...]
    silenced: tuple[tuple[Finding, Silence], ...] = ()


def all_checks() -> Checks:
    """Return every rule and its check in the order of the ids, without the rules about silences."""
    general = (*endpoints.CHECKS, *settings.CHECKS, *hooks.CHECKS, *marks.CHECKS)
    return tuple(sorted((*general, *chain.from_iterable(audit_rules())), key=lambda check: check[0].id))


def all_rules() -> tuple[AuditRule, ...]:
    """Return every rule, in the order of the ids."""
    return tuple(sorted([*(rule for rule, _ in all_checks()), *RULES_ABOUT_SILENCES], key=lambda rule: rule.id))


def open_entries(inventory: Inventory) -> list[Entry]:
    """Return the entries that should not be open: writes for anyone, and entries without any policy."""
    kept = Silences(inventory, _today())
    return [entry for finding in _run(endpoints.OPEN, inventory) for entry in kept.split(finding)[0]]


def _today() -> date:
    return datetime.now(timezone.utc).date()


def examine(inventory: Inventory, *, today: date | None = None) -> Audit:
    """Audit an app.

    :param today: the day that decides whether a silence has ended; by default today in UTC.
    """
    kept = Silences(inventory, today or _today())
    findings: list[Finding] = []
    silenced: list[tuple[Finding, Silence]] = []
    for finding in _run(all_checks(), inventory):
        left, silence = kept.split(finding)
        if silence is not None:
            silenced.append((finding, silence))
        if silence is None or left:
            findings.append(dataclasses.replace(finding, entries=left))
    findings += kept.faults(all_rules())
    return Audit(tuple(sorted(findings, key=_rank)), tuple(silenced))


def _run(checks: Checks, inventory: Inventory) -> Iterator[Finding]:
    for _, check in checks:
        yield from check(inventory)


def _rank(finding: Finding) -> tuple[int, str, str, str]:
    return (SEVERITIES.index(finding.rule.severity), finding.rule.id, finding.where, finding.message)
