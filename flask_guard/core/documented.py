"""What a policy adds to the OpenAPI document of an operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Documented:
    """The share of one policy.

    :ivar schemes: the security schemes by name, of which each lets a client in (OpenAPI 3.1, section 4.8.27).
    :ivar is_optional: whether a client gets in without any of them.
    :ivar statuses: the statuses of its denials.
    :ivar fields: the response fields that clients may go by: a description by name.
    """

    schemes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _NOTHING)
    is_optional: bool = False
    statuses: tuple[int, ...] = ()
    fields: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


NOTHING: Documented = Documented()
