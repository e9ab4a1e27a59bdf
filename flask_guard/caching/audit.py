"""Audit rules about caching."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.facts import AuditRule, Checks, Finding, Inventory, shown
from .cache import Cache

SHARED = AuditRule(
    "FG080",
    "warning",
    "Shared caches may store responses to one caller",
    "A proxy or a CDN may answer one caller with the response to another.",
    "Leave for_everyone out, unless the response is the same for every caller.",
    ("ASVS 14.3.2", "API8:2023"),
)


def _shared(inventory: Inventory) -> Iterator[Finding]:
    for each in inventory.applications(Cache.kind):
        policy = each.placed.policy
        if isinstance(policy, Cache) and policy.for_everyone:
            known = [entry for entry in each.entries if inventory.serves(entry, "authentication")]
            if known:
                message = f"cache(for_everyone=True) lets shared caches store the answers of {shown(known)}"
                yield SHARED.on(each, message)


CHECKS: Checks = ((SHARED, _shared),)
