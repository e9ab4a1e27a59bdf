"""Rules about silences: ``allow(…)`` in the code that accepts no finding, or has ended."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.facts import AuditRule, Finding
from ..silences import Silence, Silences

UNUSED = AuditRule(
    "FG090",
    "info",
    "A silence accepts nothing",
    "The silence would hide the next finding of its rule there, which nobody has reviewed.",
    "Remove the rule from allow(…), or put allow(…) where the finding is: below the route, like a policy.",
)
ENDED = AuditRule(
    "FG091",
    "warning",
    "A silence has ended",
    "The fault was accepted until a day that is over, and is reported again.",
    "Fix the fault, or review it and write a later day.",
)
UNKNOWN = AuditRule(
    "FG092",
    "warning",
    "A silence names a rule that does not exist",
    "No finding is accepted under this id.",
    "Write the id as 'flask guard audit' prints it.",
)
RULES = (UNUSED, ENDED, UNKNOWN)


def check(silences: Silences, rules: tuple[AuditRule, ...]) -> Iterator[Finding]:
    """Look for the faults of all silences, after the other rules have run."""
    dated = {rule.id: rule.dated for rule in rules}
    used = {(mark, rule) for mark, rule in silences.used}
    for mark in silences.marks():
        assert isinstance(mark.what, Silence)  # noqa: S101
        for rule in mark.what.ids:
            where, site = f"allow({rule!r})", str(mark.site)
            if rule not in dated:
                yield UNKNOWN.about(where, f"{mark.what!r} names the unknown rule {rule}", site)
            elif mark.what.has_ended(silences.today):
                yield ENDED.about(where, f"{mark.what!r} has ended", site)
            elif (mark, rule) not in used:
                yield UNUSED.about(where, f"{mark.what!r} accepts nothing: {rule} finds nothing there", site)
            elif dated[rule] and mark.what.until is None:
                yield ENDED.about(where, f"{mark.what!r} has no last day: write until=…", site)
