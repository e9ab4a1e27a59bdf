"""Audit rules about cross-origin access."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from ..core.facts import EVERY_METHOD, Application, AuditRule, Checks, Entry, Finding, Foreign, Inventory, shown
from ..support.origins import ANY
from ..support.text import names
from .cors import Cors
from .response_headers import CorsOptions

EVERY_ORIGIN = AuditRule(
    "FG040",
    "error",
    "Every origin may call an endpoint that is not public",
    "Any web page can call the endpoint from the browsers of its visitors, also inside private networks.",
    "List the origins of your own pages. Use '*' only for public, read-only endpoints.",
    ("ASVS 3.4.2", "API8:2023"),
)
LOOSE_PATTERN = AuditRule(
    "FG041",
    "error",
    "A pattern of origins that is not anchored to a host, with credentials",
    "An attacker can register a host that the pattern matches, and act as the user from there.",
    r"Fix the host, and escape its dots: re.compile(r'https://[a-z0-9-]+\.example\.com').",
    ("ASVS 3.4.2", "API8:2023"),
)
ABSENT_METHOD = AuditRule(
    "FG042",
    "info",
    "CORS allows a method that the path does not have",
    "Preflights allow a call that the app refuses. A view that is added for the method later is open to pages, too.",
    "Leave methods=… out: cors takes the methods of the route.",
    ("ASVS 4.1.4",),
)
_ALL_ORIGINS = re.compile(r"\borigins \*(,|$)")
_SUFFIX = re.compile(r"(?:[A-Za-z0-9-]|\\[.-])+\Z")


def _policies(inventory: Inventory) -> Iterator[tuple[Application, CorsOptions]]:
    for each in inventory.applications(Cors.kind):
        if isinstance(each.placed.policy, Cors):
            yield each, each.placed.policy.options_in(inventory.state)


def _every_origin(inventory: Inventory) -> Iterator[Finding]:
    for each, options in _policies(inventory):
        if options.origins is not ANY:
            continue
        private = [entry for entry in each.entries if entry.is_writing or inventory.serves(entry, "authentication")]
        if private:
            yield EVERY_ORIGIN.on(each, f"cors(origins='*') opens {shown(private)} to every site")
        elif each.placed.place.kind == "app":
            yield EVERY_ORIGIN.on(each, "cors(origins='*') covers the whole app, and so each view that is added later")

    yield from _every_origin_of_others(inventory)


def _every_origin_of_others(inventory: Inventory) -> Iterator[Finding]:
    """Yield the same findings about Flask-CORS, whose default is every origin."""
    opened: dict[Foreign, list[Entry]] = defaultdict(list)
    for entry in inventory.entries:
        if entry.is_writing or inventory.serves(entry, "authentication"):
            for fact in entry.foreign:
                if fact.purpose == "cors" and _ALL_ORIGINS.search(fact.detail):
                    opened[fact].append(entry)
    for fact, entries in opened.items():
        by_entry = [[entry] for entry in entries] if fact.scope == "view" else [entries]
        for group in by_entry:
            where = group[0].where if fact.scope == "view" else f"{fact.by} of {fact.scope}"
            message = f"{fact.by}, {fact.detail}, opens {shown(group)} to every site"
            yield Finding(EVERY_ORIGIN, message, where, group[0].site, tuple(group))


def _loose_pattern(inventory: Inventory) -> Iterator[Finding]:
    for each, options in _policies(inventory):
        for pattern in options.origins.patterns if options.credentials else ():
            evil = next((probe for probe in _probes(pattern.pattern) if pattern.fullmatch(probe)), None)
            if evil is not None:
                message = f"cors allows {evil} to make requests with credentials to {shown(each.entries)}"
                yield LOOSE_PATTERN.on(each, message)


def _probes(source: str) -> Iterator[str]:
    """Yield origins that no careful pattern matches: foreign hosts, and hosts that look like the intended ones."""
    for scheme in ("https", "http"):
        yield f"{scheme}://evil.test"
        yield f"{scheme}://app.evil.test:8443"
    suffix = _SUFFIX.search(source)
    host = suffix[0].replace("\\", "").lstrip(".") if suffix else ""
    if "." in host:
        yield f"https://evil{host}"
    if not re.search(r"[\[(|*+?{]", source):  # plain text, in which a dot matches any character
        yield re.sub(r"(?<!\\)\.", "-", source).replace("\\", "")
    elif "." in host or suffix:
        plain = re.search(r"[A-Za-z0-9-]+(?:\\?\.[A-Za-z0-9-]+)+\Z", source)
        if plain and re.search(r"(?<!\\)\.", plain[0]):
            yield "https://app." + re.sub(r"(?<!\\)\.", "-", plain[0]).replace("\\", "")


def _absent_methods(inventory: Inventory) -> Iterator[Finding]:
    methods: dict[str, set[str]] = defaultdict(set)
    for entry in inventory.entries:
        methods[entry.path].add(entry.method)
    for each, options in _policies(inventory):
        for path in sorted({entry.path for entry in each.entries}):
            has = methods[path]
            absent = sorted(set(options.methods or ()) - has - {"HEAD", "OPTIONS"})
            if absent and EVERY_METHOD not in has:
                yield ABSENT_METHOD.about(
                    path, f"cors allows {names(absent)} on {path}, which has none", each.placed.site
                )


CHECKS: Checks = (
    (EVERY_ORIGIN, _every_origin),
    (LOOSE_PATTERN, _loose_pattern),
    (ABSENT_METHOD, _absent_methods),
)
