"""The ``GUARD_*`` keys of an app's configuration, read once into a frozen object.

A concern declares its keys as :class:`Setting` objects, and lists them in its ``concern.py``. The keys of the core are
here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast, get_args

from flask import Config

from ..errors import ConfigError
from ..support.options import Check, flag, one_of
from ..support.text import did_you_mean, names
from ..typing import Mode

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Setting(Generic[T]):
    """One key of the configuration.

    :param key: its name, such as ``GUARD_REALM``.
    :param default: the value for an app that sets none.
    :param check: takes the app's value and the key, and returns the value to keep, or raises ConfigError.
    """

    key: str
    default: T
    check: Check[T]


class GuardConfig:
    """The values of an app's ``GUARD_*`` keys, by setting."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[Setting[Any], Any] = MappingProxyType({})) -> None:
        self._values = MappingProxyType(dict(values))

    def __getitem__(self, setting: Setting[T]) -> T:
        return cast(T, self._values.get(setting, setting.default))

    def __repr__(self) -> str:
        return f"<config with {', '.join(sorted(setting.key for setting in self._values)) or 'defaults'}>"


def read_config(
    config: Config, settings: Iterable[Setting[Any]], given_in_code: Mapping[Setting[Any], Any]
) -> GuardConfig:
    """Read the ``GUARD_*`` keys of `config`.

    :param settings: the known keys.
    :param given_in_code: values that win over the configuration.
    :raises ConfigError: for an unknown key or an invalid value.
    """
    known = {setting.key: setting for setting in settings}
    given = {key: value for key, value in config.items() if key.startswith("GUARD_")}
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known) or "."
            raise ConfigError(f"unknown config key {key}{hint} The known ones: {', '.join(known)}")
    return GuardConfig({**{known[key]: known[key].check(value, key) for key, value in given.items()}, **given_in_code})


# The settings of the core ------------------------------------------------------------------------------------------


check_mode: Check[Mode] = one_of(*get_args(Mode))
"""Checks for a mode of policies."""


def _modes(modes: Any, what: str) -> Mapping[str, Mode]:
    if not isinstance(modes, Mapping):
        raise ConfigError(f"{what} must map kinds of policy to a mode, such as {{'limit': 'report'}}")
    return MappingProxyType({kind: check_mode(mode, f"{what}[{kind!r}]") for kind, mode in modes.items()})


def check_kinds(modes: Mapping[str, Mode], denying: Collection[str], others: Collection[str]) -> None:
    """Check the kinds in ``GUARD_MODES``, when a Guard is installed.

    A policy of the app's own may be imported later, so an unknown name is an error only if it looks like a built-in
    kind. :mod:`flask_guard.core.start` checks the rest.

    :param denying: the built-in kinds with a mode.
    :param others: the built-in kinds without a mode.
    :raises ConfigError: for a kind without a mode, and for one that looks misspelled.
    """
    for kind in modes:
        hint = did_you_mean(str(kind), denying)
        if kind not in denying and (hint or kind in others or not isinstance(kind, str)):
            raise ConfigError(
                f"GUARD_MODES names {kind!r}, which is not a kind of policy with a mode{hint or '.'}"
                f" Write one of {names(sorted(denying))}"
            )


ENABLED: Setting[bool] = Setting("GUARD_ENABLED", True, flag)
"""False switches every policy off, with a warning at start."""

MODES: Setting[Mapping[str, Mode]] = Setting("GUARD_MODES", MappingProxyType({}), _modes)
"""The mode by kind of policy, such as ``{"limit": "report"}``."""

ERROR_FORMAT: Setting[str] = Setting("GUARD_ERROR_FORMAT", "auto", one_of("auto", "problem", "html"))
"""The format of denials: ``"auto"`` (by the Accept header), ``"problem"`` or ``"html"``."""

PROBLEMS: Setting[str] = Setting("GUARD_PROBLEMS", "denials", one_of("denials", "all"))
"""The errors that are problem documents: ``"denials"`` of policies, or ``"all"``, such as the app's 404 and 500."""

CORE_SETTINGS: tuple[Setting[Any], ...] = (ENABLED, MODES, ERROR_FORMAT, PROBLEMS)
