"""General rules about endpoints: what each one lacks."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.endpoint_traits import is_static_view, may_take_credentials, takes_credentials
from ...core.facts import AuditRule, Checks, Entry, Finding, Inventory
from ...support.text import names

OPEN_WRITE = AuditRule(
    "FG001",
    "error",
    "A write without authentication",
    "Anyone on the network can change state here, and any web site can make a visitor's browser do so.",
    "Write @require_api_key, @require_auth(…) or @same_origin on the view, its blueprint or the app. If something that"
    " the audit cannot see protects it, say so: @allow('FG001', because='…').",
    ("ASVS 8.2.1", "ASVS 3.5.1", "API2:2023", "API5:2023"),
)
UNKNOWN_WRITE = AuditRule(
    "FG002",
    "info",
    "A write behind something that the audit cannot judge",
    "A hook or middleware may refuse these requests, or not: the audit does not run it.",
    "Look at it. If it authenticates, say so: @allow('FG002', because='…'); a policy such as require_auth is seen.",
    ("ASVS 8.2.1", "API5:2023"),
)
NOTHING = AuditRule(
    "FG003",
    "info",
    "An endpoint without any policy",
    "Nobody has decided how it is protected, so nothing limits, logs or hardens it.",
    "Give the app policies for all endpoints: Guard(app, policies=[log_timing, secure_headers, limit('600/minute')]).",
    ("ASVS 8.1.1", "API9:2023"),
)
NO_LIMIT = AuditRule(
    "FG004",
    "warning",
    "An authenticated endpoint without a limit",
    "One client, or one stolen credential, can use it as fast as the network allows.",
    "Write @limit('100/minute', by='api_key') or by='principal' on the view, its blueprint or the app.",
    ("ASVS 2.4.1", "API4:2023"),
)


def _open_writes(inventory: Inventory) -> Iterator[Finding]:
    for entry in inventory.entries:
        if _is_open_write(inventory, entry) and not _unknown(inventory, entry):
            yield OPEN_WRITE.at(entry, f"{entry.where} changes state and asks for no authentication or CSRF protection")


def _unknown_writes(inventory: Inventory) -> Iterator[Finding]:
    for entry in inventory.entries:
        unknown = _unknown(inventory, entry)
        if unknown and _is_open_write(inventory, entry):
            yield UNKNOWN_WRITE.at(
                entry, f"{entry.where} changes state behind {names(unknown)}, which may refuse or not"
            )


def _unprotected(inventory: Inventory) -> Iterator[Finding]:
    for entry in inventory.entries:
        ours = entry.plan is not None and entry.plan.policies
        protected = ours or any(not each.is_idle for each in (*entry.foreign, *inventory.foreign))
        elsewhere = _is_open_write(inventory, entry) or may_take_credentials(entry)  # FG001, FG002 and FG030 find these
        if not (protected or elsewhere or is_static_view(inventory.app, entry.endpoint)) and entry.view is not None:
            yield NOTHING.at(entry, f"{entry.where} has no policy at all")


def _unlimited(inventory: Inventory) -> Iterator[Finding]:
    for entry in inventory.entries:
        if inventory.serves(entry, "authentication") and not inventory.serves(entry, "limit"):
            yield NO_LIMIT.at(entry, f"{entry.where} authenticates its callers and does not limit them")


def _is_open_write(inventory: Inventory, entry: Entry) -> bool:
    """Return whether an entry changes state for anyone. A log-in is open by its nature, and FG030 is about it."""
    if not entry.is_writing or entry.view is None or takes_credentials(entry):
        return False
    return not inventory.serves(entry, "authentication", "csrf")


def _unknown(inventory: Inventory, entry: Entry) -> list[str]:
    """Return the names of what may refuse a request to an entry, or not."""
    ours = [each.name for each in inventory.enforced(entry) if "unknown" in each.purposes]
    facts = (*entry.foreign, *inventory.foreign)
    theirs = [each.by for each in facts if each.purpose == "unknown" and not each.is_idle]
    return list(dict.fromkeys((*ours, *theirs)))


OPEN: Checks = ((OPEN_WRITE, _open_writes), (NOTHING, _unprotected))
"""The rules that find endpoints which are open and should not be."""

CHECKS: Checks = (*OPEN, (UNKNOWN_WRITE, _unknown_writes), (NO_LIMIT, _unlimited))
