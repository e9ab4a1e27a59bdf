"""Audit rules about compression."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.facts import AuditRule, Checks, Finding, Inventory, shown
from .compress import Compress

FORCED = AuditRule(
    "FG081",
    "warning",
    "Responses to known callers are compressed, even with secrets",
    "The size of a response with input of the request beside a secret reveals the secret (BREACH).",
    "Leave force out, or write it on views that show no secret.",
    ("API8:2023",),
)


def _forced(inventory: Inventory) -> Iterator[Finding]:
    for each in inventory.applications(Compress.kind):
        policy = each.placed.policy
        if isinstance(policy, Compress) and policy.force:
            known = [entry for entry in each.entries if inventory.serves(entry, "authentication")]
            if known:
                yield FORCED.on(each, f"compress(force=True) compresses all answers of {shown(known)}")


CHECKS: Checks = ((FORCED, _forced),)
