"""The list of concerns: one line for each room of the house."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from .access_log import concern as access_log
from .authentication import concern as authentication
from .caching import concern as caching
from .compression import concern as compression
from .core.concern import Concern
from .core.config import CORE_SETTINGS, Setting
from .core.facts import Checks
from .core.policy import Policy
from .cross_origin import concern as cross_origin
from .deferral import CONCERN as DEFER
from .keys import concern as keys
from .prometheus import concern as prometheus
from .rate_limits import concern as rate_limits
from .request_rules import concern as request_rules
from .security_headers import concern as security_headers

CONCERNS: tuple[Concern, ...] = (
    access_log.CONCERN,
    prometheus.CONCERN,
    cross_origin.CONCERN,
    security_headers.CONCERN,
    caching.CONCERN,
    compression.CONCERN,
    request_rules.CONCERN,
    rate_limits.CONCERN,
    authentication.CONCERN,
    keys.CONCERN,
    DEFER,
)

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
