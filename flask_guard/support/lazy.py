"""Names that a package imports at their first use, so that the package itself imports fast."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def importing(package: str, homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package (PEP 562).

    :param package: the name of the package.
    :param homes: the public names, by the module of the package that defines them. A public module has an empty tuple:
        ``"access_log.fields:log_fields": ()``.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    modules = {public: home for home, _, public in (each.partition(":") for each in homes) if public}

    def get(name: str) -> Any:
        if name in modules:
            value: Any = import_module(f"{package}.{modules[name]}")
        elif name in home_of:
            value = getattr(import_module(f"{package}.{home_of[name]}"), name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    return get
