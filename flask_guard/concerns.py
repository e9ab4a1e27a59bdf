"""The list of concerns: one line for each room of the house."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from .core.concern import Concern
from .core.config import CORE_SETTINGS, Setting
from .core.facts import Checks
from .core.policy import Policy

ROOMS = (
    "access_log.concern",
    "prometheus.concern",
    "cross_origin.concern",
    "security_headers.concern",
    "caching.concern",
    "compression.concern",
    "request_rules.concern",
    "rate_limits.concern",
    "authentication.concern",
    "keys.concern",
    "deferral",
)
"""The modules with the declarations of the concerns."""

CONCERNS: tuple[Concern, ...] = tuple(import_module(f"{__package__}.{room}").CONCERN for room in ROOMS)

ALL_SETTINGS: tuple[Setting[Any], ...] = (*CORE_SETTINGS, *(each for concern in CONCERNS for each in concern.settings))


def built_in_policies() -> Iterator[Policy]:
    """Yield the policies of every concern, with their default options."""
    for concern in CONCERNS:
        for each in concern.policies:
            home, _, path = each.partition(":")
            value: Any = import_module(f"{__package__}.{home}")
            for name in path.split("."):
                value = getattr(value, name)
            yield value


def audit_rules() -> Iterator[Checks]:
    """Yield the audit rules that each concern brings."""
    for concern in CONCERNS:
        if concern.audit:
            yield import_module(f"{__package__}.{concern.audit}").CHECKS
