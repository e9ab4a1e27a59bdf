"""The additions of a policy to the OpenAPI document of an operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Documented:
    """The additions of one policy.

    :ivar schemes: the alternative security schemes, by name (OpenAPI 3.1, section 4.8.27).
    :ivar is_optional: whether a client passes without any scheme.
    :ivar statuses: the statuses of its denials.
    :ivar fields: the descriptions of response fields for clients, by name.
    """

    schemes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _NOTHING)
    is_optional: bool = False
    statuses: tuple[int, ...] = ()
    fields: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


NOTHING: Documented = Documented()
