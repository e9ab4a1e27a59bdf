"""Audit rules of authentication."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.facts import AuditRule, Checks, Entry, Finding, Inventory
from .require_auth import RequireAuth

FORGEABLE = AuditRule(
    "FG070",
    "warning",
    "A write that a login session allows, without CSRF protection",
    "Browsers send the session cookie along with what other sites make them request: a foreign page acts as the user.",
    "Write @same_origin on the view, its blueprint or the app, or use Flask-WTF's CSRFProtect(app).",
    ("ASVS 3.5.1", "API8:2023"),
)
BY_COOKIE = frozenset(("Flask-Login",))
"""Packages that recognise callers by a cookie."""


def _forgeable(inventory: Inventory) -> Iterator[Finding]:
    for entry in inventory.entries:
        by = _session_of(inventory, entry)
        if entry.is_writing and by and not inventory.serves(entry, "csrf"):
            yield FORGEABLE.at(entry, f"{entry.where} is allowed by a login session ({by}), and has no CSRF protection")


def _session_of(inventory: Inventory, entry: Entry) -> str | None:
    """Return the name of the policy or package that recognises the callers of an entry by a cookie."""
    ours = [each for each in inventory.enforced(entry) if isinstance(each, RequireAuth) and each.session is not None]
    theirs = [each.by for each in (*entry.foreign, *inventory.foreign) if each.by in BY_COOKIE]
    return ours[0].name if ours else theirs[0] if theirs else None


CHECKS: Checks = ((FORGEABLE, _forgeable),)
