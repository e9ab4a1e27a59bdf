"""Audit rules about security headers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..core.endpoint_traits import shows_html
from ..core.facts import Application, AuditRule, Checks, Finding, Inventory, shown
from .secure_headers import SecureHeaders

NO_HEADERS = AuditRule(
    "FG050",
    "warning",
    "A page without security headers",
    "Browsers apply their loose defaults: other sites may frame the page, and injected scripts run.",
    "Write Guard(app, policies=[secure_headers]), or @secure_headers('relaxed') on pages.",
    ("ASVS 3.4.3", "ASVS 3.4.4", "ASVS 3.4.6", "API8:2023"),
)
WEAK_CSP = AuditRule(
    "FG051",
    "warning",
    "A weak Content-Security-Policy",
    "The policy does not stop injected scripts, or other sites from framing the page.",
    "Start from a preset, add the hosts that the page needs, and use nonces in place of 'unsafe-inline'.",
    ("ASVS 3.4.3", "ASVS 3.4.6"),
)
HSTS = AuditRule(
    "FG052",
    "warning",
    "Strict-Transport-Security is missing or short",
    "The first request of a visit may use plain http, where anyone on the network can read and change it.",
    "Leave hsts=… out, for the two years of every preset, or write 'max-age=31536000; includeSubDomains' or more.",
    ("ASVS 3.4.1", "API8:2023"),
)
ONE_YEAR = 31_536_000
_NONCE_OR_HASH = re.compile(r"'nonce\b|'(sha256|sha384|sha512)-|'strict-dynamic'")


def _no_headers(inventory: Inventory) -> Iterator[Finding]:
    for entry in inventory.entries:
        if entry.method == "GET" and not inventory.serves(entry, "headers") and shows_html(entry):
            yield NO_HEADERS.at(entry, f"{entry.where} serves a page without security headers")


def _headers(inventory: Inventory) -> Iterator[tuple[Application, Mapping[str, str | None]]]:
    for each in inventory.applications(SecureHeaders.kind):
        if isinstance(each.placed.policy, SecureHeaders):
            yield each, {name: value and str(value) for name, value in each.placed.policy.settled().items()}


def _weak_csp(inventory: Inventory) -> Iterator[Finding]:
    for each, headers in _headers(inventory):
        csp = headers["csp"]
        if csp is not None:
            weak = list(weaknesses(csp))
            if weak:
                yield WEAK_CSP.on(each, f"the policy of {shown(each.entries)} is weak: {'; '.join(weak)}")
        elif pages := [entry for entry in each.entries if shows_html(entry)]:
            yield WEAK_CSP.on(each, f"{shown(pages)} serves a page, and secure_headers(csp=None) leaves the policy out")


def weaknesses(csp: str) -> Iterator[str]:
    """Yield the weaknesses of a Content-Security-Policy (CSP 3)."""
    directives = [each.split() for each in csp.split(";") if each.strip()]
    sources = {each[0].lower(): [source.lower() for source in each[1:]] for each in reversed(directives)}
    default = sources.get("default-src", ["*"])
    scripts = sources.get("script-src", default)
    if "'unsafe-inline'" in scripts and not any(_NONCE_OR_HASH.match(each) for each in scripts):
        yield "scripts may be inline ('unsafe-inline')"
    if "'unsafe-eval'" in scripts:
        yield "scripts may be made of text ('unsafe-eval')"
    if "'strict-dynamic'" not in scripts and (wide := {"*", "http:", "https:", "data:"} & set(scripts)):
        yield f"scripts may come from anywhere ({min(wide)})"
    if "object-src" not in sources and default != ["'none'"]:
        yield "object-src is missing"
    for name in ("base-uri", "frame-ancestors"):
        if name not in sources:
            yield f"{name} is missing"
        elif "*" in sources[name]:
            yield f"{name} is *"


def _hsts(inventory: Inventory) -> Iterator[Finding]:
    for each, headers in _headers(inventory):
        value = headers["hsts"]
        age = re.search(r"max-age\s*=\s*\"?(\d+)", value or "", re.IGNORECASE)
        if age is None:
            yield HSTS.on(each, f"secure_headers leaves Strict-Transport-Security out on {shown(each.entries)}")
        elif int(age[1]) < ONE_YEAR:
            yield HSTS.on(
                each,
                f"Strict-Transport-Security on {shown(each.entries)} lasts {int(age[1])} s, which is less than a year",
            )


CHECKS: Checks = ((NO_HEADERS, _no_headers), (WEAK_CSP, _weak_csp), (HSTS, _hsts))
