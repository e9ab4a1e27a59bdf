"""A policy as reports, lock files and OpenAPI documents show it, and the comparison of two policies by strength."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..support.options import orders_of, plain_defaults, plain_values
from ..support.orders import Comparison, together, unordered
from .app_state import AppState

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Documented:
    """The additions of one policy to the OpenAPI document of an operation.

    :ivar schemes: the alternative security schemes, by name (OpenAPI 3.1, section 4.8.27).
    :ivar is_optional: whether a client passes without any scheme.
    :ivar statuses: the statuses of its denials.
    :ivar fields: the descriptions of response fields for clients, by name.
    """

    schemes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _NOTHING)
    is_optional: bool = False
    statuses: tuple[int, ...] = ()
    fields: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


class Described:
    """A frozen dataclass of options, each with an order: see :func:`flask_guard.option`."""

    __slots__ = ()

    def plain_options(self) -> dict[str, Any]:
        """Return the options as values that JSON can hold, without secrets: for reports and lock files."""
        return plain_values(self)

    def documented(self, state: AppState) -> Documented:
        """Return the additions of the policy to the OpenAPI document of an operation."""
        return Documented()

    def plain_options_in(self, state: AppState) -> dict[str, Any]:
        """Return the options in force on an app: :meth:`plain_options` together with the configuration."""
        return self.plain_options()

    @classmethod
    def default_options(cls) -> dict[str, Any]:
        """Return the default options of this kind of policy, in the form of :meth:`plain_options`."""
        return plain_defaults(cls)

    @classmethod
    def compare(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
        """Return whether a policy of this kind became weaker.

        By default the options are compared one by one, each by its order. A missing option has its default.

        :param old: the options before a change, in the form of :meth:`plain_options`.
        :param new: the options after it.
        """
        orders, defaults = orders_of(cls), cls.default_options()
        return together(
            orders.get(name, unordered)(old.get(name, defaults.get(name)), new.get(name, defaults.get(name)))
            for name in sorted({*defaults, *old, *new})
        )
