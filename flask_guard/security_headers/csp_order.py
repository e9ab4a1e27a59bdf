"""The order of content security policies: the stronger one allows fewer sources, and no more for anything (CSP 3)."""

from __future__ import annotations

from typing import Any

from ..support.orders import Order, by
from .csp import FETCH_DIRECTIVES
from .csp_match import FALLBACKS

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


policy_order: Order = by(_allows_no_more)
"""Compares whole policies. None, and an empty one, allow everything."""
