"""Orders of security headers: which of two values makes browsers more careful.

None stands for a header that is left out: browsers do then as they do by default. A value that a browser does not know
counts as different from all others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..support.orders import (
    Comparison,
    Order,
    by,
    more_is_stronger,
    none_weakest,
    ranked,
    together,
)
from .csp_order import policy_order

# Values that are tokens -----------------------------------------------------------------------------------------------


def _levels(*weakest_first: str, default: str) -> Order:
    """Return the order of tokens, the weakest first. `default` is the one that browsers take for a missing header."""
    listed = ranked(*weakest_first)

    def token(value: Any) -> str:
        return default if value is None else str(value).strip().lower()

    return lambda old, new: listed(token(old), token(new))


_SENT: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "unsafe-url": (2, 2, 2),
        "no-referrer-when-downgrade": (2, 2, 0),
        "origin-when-cross-origin": (2, 1, 1),
        "strict-origin-when-cross-origin": (2, 1, 0),
        "same-origin": (2, 0, 0),
        "origin": (1, 1, 1),
        "strict-origin": (1, 1, 0),
        "no-referrer": (0, 0, 0),
    }
)
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


def _stores_less(old: Any, new: Any) -> bool:
    return old == new or "no-store" in str(new).lower()


def _cleared(value: Any) -> list[str]:
    return re.findall(r"[\w*]+", str(value or ""))


# The orders, by the names of the options ------------------------------------------------------------------------------

csp: Order = policy_order
hsts: Order = by(_holds_longer)
frame_options: Order = _levels("", "sameorigin", "deny", default="")
content_type_options: Order = _levels("", "nosniff", default="")
referrer_policy: Order = by(_sends_less)
permissions_policy: Order = _compare_permissions
opener_policy: Order = _levels("unsafe-none", "same-origin-allow-popups", "same-origin", default="unsafe-none")
embedder_policy: Order = _levels("unsafe-none", "credentialless", "require-corp", default="unsafe-none")
resource_policy: Order = _levels("cross-origin", "same-site", "same-origin", default="cross-origin")
origin_agent_cluster: Order = _levels("?0", "?1", default="?0")
cache_control: Order = by(_stores_less)
dns_prefetch_control: Order = _levels("on", "off", default="on")
cross_domain_policies: Order = none_weakest(ranked("all", "master-only", "none"))
download_options: Order = _levels("", "noopen", default="")
same_site: Order = ranked(None, "Lax", "Strict")


def clear_site_data(old: Any, new: Any) -> Comparison:
    """Compare the kinds of data that are cleared: more is stronger."""
    return more_is_stronger(_cleared(old), _cleared(new))
