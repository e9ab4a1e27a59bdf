"""Options of policies: declared once, with a default and a check that runs when a policy is made.

::

    @dataclass(frozen=True, slots=True, kw_only=True, repr=False)
    class RequireJson(DenyingPolicy):
        kind: ClassVar[str] = "require_json"
        max_depth: int = option(20, whole_number(at_least=1))

A check takes the value and the name of the option in messages. It returns the value, in the form to keep, or raises
:class:`~flask_guard.ConfigError`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, TypeAlias, TypeGuard, TypeVar

from ..errors import ConfigError
from .orders import Order, in_order, plain, unordered
from .text import did_you_mean, names

T = TypeVar("T")
Check: TypeAlias = Callable[[Any, str], T]
_CHECK, _ORDER = "check", "order"


def option(default: T, check: Check[Any], order: Order = unordered) -> T:
    """Declare an option of a policy: a field of its dataclass.

    :param order: the order of two values by strength; see :mod:`flask_guard.support.orders`. By default no value is
        weaker, and a change counts as a different protection.
    """
    declared: T = dataclasses.field(default=default, metadata={_CHECK: check, _ORDER: order})
    return declared


def orders_of(owner: type[Any]) -> dict[str, Order]:
    """Return the orders of the options of a frozen dataclass, by the names of its fields."""
    return {field.name: field.metadata.get(_ORDER, unordered) for field in dataclasses.fields(owner)}


def plain_values(owner: Any) -> dict[str, Any]:
    """Return the options of `owner`, an instance of a frozen dataclass, as values of JSON, without secrets."""
    orders = orders_of(type(owner))
    return {name: in_order(plain(getattr(owner, name), name), order) for name, order in orders.items()}


def plain_defaults(owner: type[Any]) -> dict[str, Any]:
    """Return the defaults of the options of a frozen dataclass, as :func:`plain_values` has them."""
    orders = orders_of(owner)
    return {
        each.name: in_order(plain(each.default, each.name), orders[each.name]) for each in dataclasses.fields(owner)
    }


def check_options(owner: Any, name: str) -> None:
    """Check the options of `owner`, an instance of a frozen dataclass, and keep the returned values.

    :param name: the name of `owner` in messages.
    :raises ConfigError: for the first invalid option.
    """
    for field in dataclasses.fields(owner):
        check = field.metadata.get(_CHECK)
        if check is not None:
            value = getattr(owner, field.name)
            checked = check(value, f"{name}({field.name}=…)")
            if checked is not value:
                object.__setattr__(owner, field.name, checked)


def flag(value: object, what: str) -> bool:
    """Check for True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{what} must be True or False, not {value!r}")
    return value


def optional(check: Check[T]) -> Check[T | None]:
    """Return a check that also takes None."""
    return lambda value, what: None if value is None else check(value, what)


class Inherited:
    """The value of an option that is not given: the configuration, a preset or an outer scope decides."""

    def __repr__(self) -> str:
        return "INHERIT"


INHERIT: Final = Inherited()


def or_inherit(check: Check[T]) -> Check[T | Inherited]:
    """Return a check that also takes INHERIT."""
    return lambda value, what: INHERIT if value is INHERIT else check(value, what)


def one_of(*choices: str) -> Check[Any]:
    """Return a check for one of `choices`."""

    def check(value: object, what: str) -> object:
        if value not in choices:
            hint = did_you_mean(value, choices) if isinstance(value, str) else ""
            raise ConfigError(f"{what} must be one of {names(choices)}, not {value!r}{hint}")
        return value

    return check


def is_number(value: object) -> TypeGuard[float]:
    """Return whether `value` is a number, and not True or False."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def whole_number(at_least: int, unit: str = "") -> Check[int]:
    """Return a check for a whole number."""

    def check(value: Any, what: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
            raise ConfigError(
                f"{what} must be a whole number{unit and f' of {unit}'} of at least {at_least}, not {value!r}"
            )
        return value

    return check


def number(at_least: float, at_most: float, unit: str) -> Check[float]:
    """Return a check for a number from `at_least` to `at_most`."""

    def check(value: Any, what: str) -> float:
        if not is_number(value) or not at_least <= value <= at_most:
            bounds = f"from {at_least:g} up" if at_most > 1e300 else f"from {at_least:g} to {at_most:g}"
            raise ConfigError(f"{what} must be {unit} {bounds}, not {value!r}")
        return value

    return check


def whole_seconds(value: Any, what: str) -> int:
    """Check for seconds or a timedelta; return whole seconds."""
    seconds = int(value.total_seconds()) if isinstance(value, timedelta) else value
    if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
        raise ConfigError(f"{what} must be seconds, a timedelta or None, not {value!r}")
    return seconds


def realm(value: object, what: str) -> str:
    """Check for the realm of a challenge (RFC 9110, section 11.5)."""
    if not isinstance(value, str):
        raise ConfigError(f"{what} must be a string, not {value!r}")
    if not value.isascii() or not value.isprintable():
        raise ConfigError(f"{what} must be printable ASCII, not {value!r}")
    return value


def listed(value: object) -> tuple[Any, ...]:
    """Return the members of a collection as a tuple, or a tuple of the single `value`."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else (value,)
