"""General rules about endpoints that lack a protection."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.endpoint_traits import may_take_credentials, takes_credentials
from ...core.facts import AuditRule, Checks, Entry, Finding, Inventory
from ...core.views import is_static_view
from ...support.text import names

OPEN_WRITE = AuditRule(
    "FG001",
    "error",
    "A write without authentication",
    "Anyone on the network can change state here, and any web site can make a visitor's browser do so.",
    "Write @require_api_key, @require_auth(…) or @same_origin on the view, its blueprint or the app. If a protection"
    " that the audit cannot see covers the write, accept the finding: @allow('FG001', because='…').",
    ("ASVS 8.2.1", "ASVS 3.5.1", "API2:2023", "API5:2023"),
)
UNKNOWN_WRITE = AuditRule(
    "FG002",
    "info",
    "A write behind a hook or middleware that the audit cannot judge",
    "The hook or middleware may or may not refuse these requests: the audit does not run it.",
    "Read its code. If it authenticates, accept the finding: @allow('FG002', because='…'). If not, add a policy.",
    ("ASVS 8.2.1", "API5:2023"),
)
NOTHING = AuditRule(
    "FG003",
    "info",
    "An endpoint without any policy",
    "Its protection was never decided: no policy limits its clients, logs its requests or adds security headers.",
    "Give the app policies for all endpoints: Guard(app, policies=[log_timing, secure_headers, limit('600/minute')]).",
    ("ASVS 8.1.1", "API9:2023"),
)
NO_LIMIT = AuditRule(
    "FG004",
    "warning",
    "An authenticated endpoint without a limit",
    "A single client, or a stolen credential, can send requests as fast as the network allows.",
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
                entry, f"{entry.where} changes state behind {names(unknown)}, which may or may not refuse the request"
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
    """Return whether an entry changes state for anyone. A log-in must be open, so FG030 covers it instead."""
    if not entry.is_writing or entry.view is None or takes_credentials(entry):
        return False
    return not inventory.serves(entry, "authentication", "csrf")


def _unknown(inventory: Inventory, entry: Entry) -> list[str]:
    """Return the names of hooks, decorators and policies that may or may not refuse a request to an entry."""
    ours = [each.name for each in inventory.enforced(entry) if "unknown" in each.purposes]
    facts = (*entry.foreign, *inventory.foreign)
    theirs = [each.by for each in facts if each.purpose == "unknown" and not each.is_idle]
    return list(dict.fromkeys((*ours, *theirs)))


OPEN: Checks = ((OPEN_WRITE, _open_writes), (NOTHING, _unprotected))
"""The rules about endpoints that should not be open."""

CHECKS: Checks = (*OPEN, (UNKNOWN_WRITE, _unknown_writes), (NO_LIMIT, _unlimited))
