"""Orders of security headers: which of two values makes browsers more careful.

None stands for a header that is left out: browsers do then as they do by default. A value that a browser does not know
counts as different from all others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..support.orders import Comparison, Order, by, more_is_stronger, none_weakest, ranked, together
from .csp import FETCH_DIRECTIVES
from .csp_match import FALLBACKS

# Values that are tokens -----------------------------------------------------------------------------------------------


def _levels(*weakest_first: str, default: str) -> Order:
    """Return the order of tokens, the weakest first. `default` is the one that browsers take for a missing header."""
    listed = ranked(*weakest_first)

    def token(value: Any) -> str:
        return default if value is None else str(value).strip().lower()

    return lambda old, new: listed(token(old), token(new))


_SENT: Mapping[str, tuple[int, int, int]] = {
    "unsafe-url": (2, 2, 2),
    "no-referrer-when-downgrade": (2, 2, 0),
    "origin-when-cross-origin": (2, 1, 1),
    "strict-origin-when-cross-origin": (2, 1, 0),
    "same-origin": (2, 0, 0),
    "origin": (1, 1, 1),
    "strict-origin": (1, 1, 0),
    "no-referrer": (0, 0, 0),
}
"""How much each ``Referrer-Policy`` sends to its own site, to others, and from https to http."""


def _sends_less(old: Any, new: Any) -> bool:
    first, second = (_sent(each) for each in (old, new))
    if first is None or second is None:
        return bool(old == new)
    return all(after <= before for before, after in zip(first, second, strict=True))


def _sent(value: Any) -> tuple[int, int, int] | None:
    """Return what a header sends. The last value that browsers know counts (Referrer Policy, section 8.1)."""
    if value is None:
        return _SENT["strict-origin-when-cross-origin"]
    known = [each for each in re.split(r"[\s,]+", str(value).lower()) if each in _SENT]
    return _SENT[known[-1]] if known else None


# Values with parts ----------------------------------------------------------------------------------------------------


def _holds_longer(old: Any, new: Any) -> bool:
    """Return whether an HSTS header makes no fewer requests secure than another one (RFC 6797, section 6.1)."""
    (first, *before), (second, *after) = _hsts(old), _hsts(new)
    return second >= first and all(kept >= had for had, kept in zip(before, after, strict=True))


def _hsts(value: Any) -> tuple[int, bool, bool]:
    text = str(value or "").lower()
    age = re.search(r"max-age\s*=\s*\"?(\d+)", text)
    seconds = int(age[1]) if age else 0
    return seconds, bool(seconds) and "includesubdomains" in text, bool(seconds) and "preload" in text


def _compare_permissions(old: Any, new: Any) -> Comparison:
    first, second = _permissions(old), _permissions(new)
    return together(_compare_allowed(first.get(name), second.get(name)) for name in sorted({*first, *second}))


def _permissions(value: Any) -> dict[str, frozenset[str]]:
    """Return who may use each feature, by a ``Permissions-Policy``."""
    found = re.findall(r"([a-z][a-z0-9-]*)\s*=\s*(\*|self|\([^)]*\))", str(value or "").lower())
    return {name: frozenset(allowed.strip("()").split()) for name, allowed in found}


def _compare_allowed(old: frozenset[str] | None, new: frozenset[str] | None) -> Comparison:
    """Compare who may use a feature. By default, that depends on the feature: nobody is stronger, all are weaker."""

    def at_least(before: frozenset[str] | None, after: frozenset[str] | None) -> bool:
        if before == after or before == frozenset("*") or after == frozenset():
            return True
        return before is not None and after is not None and after <= before

    return by(at_least)(old, new)


def _cleared(value: Any) -> list[str]:
    return re.findall(r"[\w*]+", str(value or ""))


# Content security policies (CSP 3): the stronger one allows fewer sources, and no more for anything -------------------

Policy = dict[str, frozenset[str]]

_SOURCE_LISTS = (*FETCH_DIRECTIVES[1:], "base-uri", "form-action", "frame-ancestors")
"""Directives that list sources, but for ``default-src``, which only stands in for others."""
_SWITCHES = ("upgrade-insecure-requests", "block-all-mixed-content")
_REPORTS = ("report-to", "report-uri")


def _parsed(value: Any) -> Policy:
    policy: Policy = {}
    for directive in str(value or "").split(";"):
        words = directive.split()
        if words and words[0].lower() not in policy:  # only the first of a name counts
            policy[words[0].lower()] = frozenset(map(_source, words[1:]))
    return policy


def _source(word: str) -> str:
    return word.lower() if not word.startswith(("'nonce-", "'sha")) else word


def _sources(policy: Policy, directive: str) -> frozenset[str] | None:
    """Return the sources that a policy allows for a directive; None for all there are."""
    standing_in = FALLBACKS.get(directive, (directive, "default-src"))
    listed = next((policy[each] for each in standing_in if each in policy), None)
    if listed is None:
        return None
    found = listed - {"'none'"}
    if any(each.startswith(("'nonce", "'sha", "'strict-dynamic'")) for each in found):
        found -= {"'unsafe-inline'"}  # which browsers ignore then
    return found


def _allows_no_more(old: Any, new: Any) -> bool:
    before, after = _parsed(old), _parsed(new)
    if not all(_is_within(_sources(after, each), _sources(before, each)) for each in _SOURCE_LISTS):
        return False
    if any(each in before and each not in after for each in _SWITCHES) or not _is_sandboxed(before, after):
        return False
    known = {*_SOURCE_LISTS, *_SWITCHES, *_REPORTS, "default-src", "sandbox"}
    return all(after.get(each) == before[each] for each in before.keys() - known)


def _is_within(sources: frozenset[str] | None, others: frozenset[str] | None) -> bool:
    """Return whether all of `sources` are among `others`. With ``strict-dynamic`` they are compared with their like."""
    if sources is None or others is None:
        return others is None
    if ("'strict-dynamic'" in sources) != ("'strict-dynamic'" in others) and sources:
        return False
    return sources <= others or ("*" in others and not any(map(_is_beyond_any, sources - others)))


def _is_beyond_any(source: str) -> bool:
    """Return whether ``*`` does not cover a source: it stands for hosts."""
    return (source.startswith("'") and source != "'self'") or source in ("data:", "blob:", "filesystem:")


def _is_sandboxed(before: Policy, after: Policy) -> bool:
    if "sandbox" not in before:
        return True
    return "sandbox" in after and after["sandbox"] <= before["sandbox"]


# The orders, by the names of the options ------------------------------------------------------------------------------

csp: Order = by(_allows_no_more)
"""Compares whole policies. None, and an empty one, allow everything."""
hsts: Order = by(_holds_longer)
frame_options: Order = _levels("", "sameorigin", "deny", default="")
content_type_options: Order = _levels("", "nosniff", default="")
referrer_policy: Order = by(_sends_less)
permissions_policy: Order = _compare_permissions
opener_policy: Order = _levels("unsafe-none", "same-origin-allow-popups", "same-origin", default="unsafe-none")
embedder_policy: Order = _levels("unsafe-none", "credentialless", "require-corp", default="unsafe-none")
resource_policy: Order = _levels("cross-origin", "same-site", "same-origin", default="cross-origin")
origin_agent_cluster: Order = _levels("?0", "?1", default="?0")
cache_control: Order = by(lambda old, new: old == new or "no-store" in str(new).lower())
dns_prefetch_control: Order = _levels("on", "off", default="on")
cross_domain_policies: Order = none_weakest(ranked("all", "master-only", "none"))
download_options: Order = _levels("", "noopen", default="")
same_site: Order = ranked(None, "Lax", "Strict")


def clear_site_data(old: Any, new: Any) -> Comparison:
    """Compare the kinds of data that are cleared: more is stronger."""
    return more_is_stronger(_cleared(old), _cleared(new))
