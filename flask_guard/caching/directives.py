"""The directives of ``Cache-Control`` (RFC 9111, section 5.2.2): their check, and their form for one caller."""

from __future__ import annotations

import re
from typing import Any

from ..errors import ConfigError
from ..support.orders import Order, by
from ..support.text import did_you_mean, names

SECONDS = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
"""The directives that need a number of seconds."""
PLAIN = frozenset(
    {
        "immutable",
        "must-revalidate",
        "must-understand",
        "no-cache",
        "no-store",
        "no-transform",
        "private",
        "proxy-revalidate",
        "public",
    }
)
FOR_SHARED_CACHES = frozenset({"public", "s-maxage", "proxy-revalidate"})
_ARGUMENT = re.compile(r"0|[1-9][0-9]{0,9}")


def directives(value: str) -> dict[str, str]:
    """Return the directives of a ``Cache-Control`` field, each with its argument or an empty string."""
    pairs = (each.partition("=") for each in value.split(","))
    return {name.strip().lower(): argument.strip() for name, _, argument in pairs}


def cache_control(value: Any, what: str) -> str:
    """Check for the value of a ``Cache-Control`` field; return its normal form.

    :raises ConfigError: for an unknown directive, an invalid argument, and contradictory directives.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{what} must be directives, such as 'public, max-age=300', not {value!r}")
    parts = [part.strip() for part in value.split(",")]
    found = directives(value)
    if len(found) < len(parts):
        raise ConfigError(f"{what}: {value!r} has a directive twice. Write each one once")
    for name, argument in found.items():
        _check_directive(name, argument, what)
    _check_together(found, what)
    return ", ".join(name if not argument else f"{name}={argument}" for name, argument in found.items())


def _check_directive(name: str, argument: str, what: str) -> None:
    if name not in SECONDS | PLAIN:
        known = sorted(SECONDS | PLAIN)
        hint = did_you_mean(name, known) or "."
        raise ConfigError(f"{what} has no directive {name!r}{hint} Choose from {names(known)}")
    if name in SECONDS and not _ARGUMENT.fullmatch(argument):
        raise ConfigError(f"{what}: {name} needs a number of seconds, such as {name}=300, not {argument!r}")
    if name in PLAIN and argument:
        raise ConfigError(f"{what}: {name} takes no argument. Write {name!r}")


def _check_together(found: dict[str, str], what: str) -> None:
    if "no-store" in found and len(found) > 1:
        raise ConfigError(f"{what}: no-store makes the other directives void. Write 'no-store' alone")
    shared = sorted(FOR_SHARED_CACHES & found.keys())
    if "private" in found and shared:
        raise ConfigError(f"{what}: private keeps shared caches out, and {names(shared)} is for them. Leave one out")


def for_one_caller(value: str) -> str:
    """Return `value` for a response to one caller: only the caller's own cache may store it."""
    found = directives(value)
    if "no-store" in found or "private" in found:
        return value
    kept = {name: argument for name, argument in found.items() if name not in FOR_SHARED_CACHES}
    return ", ".join(["private", *(name if not argument else f"{name}={argument}" for name, argument in kept.items())])


def _strength(value: object) -> int:
    found = directives(value) if isinstance(value, str) else {}
    if "no-store" in found:
        return 3
    return 2 if "private" in found else 0 if FOR_SHARED_CACHES & found.keys() else 1


fewer_may_store: Order = by(lambda old, new: repr(old) == repr(new) or _strength(new) > _strength(old))
"""Compare plain values. A value that lets fewer caches store a response is stronger."""
