"""What a policy tells of its options, for reports and lock files, and which of two policies is weaker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..support.options import orders_of, plain_defaults, plain_values
from ..support.orders import Comparison, together, unordered
from .documented import NOTHING, Documented

if TYPE_CHECKING:
    from .app_state import AppState


class Described:
    """A frozen dataclass of options, each with an order: see :func:`flask_guard.option`."""

    __slots__ = ()

    def plain_options(self) -> dict[str, Any]:
        """Return the options as values that JSON can hold, without secrets: for reports and lock files."""
        return plain_values(self)

    def documented(self, state: AppState) -> Documented:
        """Return what the policy adds to the OpenAPI document of an operation."""
        return NOTHING

    def plain_options_in(self, state: AppState) -> dict[str, Any]:
        """Return the options in force on an app: as :meth:`plain_options`, with what the configuration adds."""
        return self.plain_options()

    @classmethod
    def default_options(cls) -> dict[str, Any]:
        """Return the options that a policy of this kind has where none is given, as :meth:`plain_options` has them."""
        return plain_defaults(cls)

    @classmethod
    def compare(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
        """Return whether a policy of this kind became weaker.

        By default option by option, in the order that each declares. An option that is missing has its default.

        :param old: its options as :meth:`plain_options` has them.
        :param new: the same after a change.
        """
        orders, defaults = orders_of(cls), cls.default_options()
        return together(
            orders.get(name, unordered)(old.get(name, defaults.get(name)), new.get(name, defaults.get(name)))
            for name in sorted({*defaults, *old, *new})
        )
