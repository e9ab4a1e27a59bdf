"""Audit rules about the API keys of the configuration, not of stores. Findings name keys by their id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..core.facts import AuditRule, Checks, Finding, Inventory, shown
from ..support.text import printable
from .concern import API_KEYS
from .require_api_key import RequireApiKey

SHORT = AuditRule(
    "FG060",
    "error",
    "A short API key",
    "An attacker can guess a short key: each missing character makes a guess sixty times easier.",
    "Make a key with python -c 'import secrets; print(secrets.token_urlsafe(32))'.",
    ("ASVS 11.5.1", "API2:2023"),
)
PLAIN = AuditRule(
    "FG061",
    "warning",
    "An API key in plain text",
    "Anyone who reads the configuration, a backup or an error page has the key.",
    "Write its hash: 'sha256:' and the 64 hex digits. The README shows how to make it, under require_api_key.",
    ("ASVS 13.3.1", "API2:2023"),
)
NO_EXPIRY = AuditRule(
    "FG062",
    "info",
    "An API key that never expires",
    "A key that has leaked unnoticed works indefinitely.",
    'Write "expires": "2031-01-31" beside its hash, and rotate it before.',
    ("ASVS 13.3.4", "API2:2023"),
)
IN_URL = AuditRule(
    "FG063",
    "warning",
    "API keys in the URL",
    "URLs end up in logs, histories and Referer headers, and with them the keys.",
    'Take keys from a header: in_=("bearer", "x-api-key").',
    ("ASVS 14.2.1", "API2:2023"),
)
SHORTEST = 20
"""Characters of a secret: 20 random letters and digits have 119 bits."""


def _configured(inventory: Inventory) -> Iterator[tuple[str, Any]]:
    """Yield the keys that the configuration lists, by id."""
    keys = inventory.state.config[API_KEYS]
    if isinstance(keys, Mapping):
        yield from ((printable(name), entry) for name, entry in keys.items())


def _is_secret(entry: Any) -> bool:
    return isinstance(entry, str) and not entry.lower().startswith("sha256:")


def _short(inventory: Inventory) -> Iterator[Finding]:
    for name, entry in _configured(inventory):
        if _is_secret(entry) and len(entry) < SHORTEST:
            yield SHORT.about(f"key {name}", f"the secret of key {name!r} has fewer than {SHORTEST} characters")


def _plain(inventory: Inventory) -> Iterator[Finding]:
    for name, entry in _configured(inventory):
        if _is_secret(entry):
            yield PLAIN.about(f"key {name}", f"key {name!r} is configured in plain text")


def _no_expiry(inventory: Inventory) -> Iterator[Finding]:
    for name, entry in _configured(inventory):
        if not isinstance(entry, Mapping) or entry.get("expires") is None:
            yield NO_EXPIRY.about(f"key {name}", f"key {name!r} never expires")


def _in_url(inventory: Inventory) -> Iterator[Finding]:
    for each in inventory.applications(RequireApiKey.kind):
        policy = each.placed.policy
        places = [place for place in getattr(policy, "in_", ()) if place.startswith("query:")]
        if places:
            yield IN_URL.on(each, f"{shown(each.entries)} takes API keys from the query string ({places[0]})")


CHECKS: Checks = ((SHORT, _short), (PLAIN, _plain), (NO_EXPIRY, _no_expiry), (IN_URL, _in_url))
