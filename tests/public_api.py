"""The public names of the package as text: one line for each name and method, with its parameters and defaults.

After a wanted change, make the list anew: ``python -m tests.public_api > tests/data/public_api.txt``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar, get_origin

from blinker import NamedSignal
from werkzeug.local import LocalProxy

from flask_guard import DenyingPolicy, Policy

PACKAGES = (
    "flask_guard",
    "flask_guard.keys",
    "flask_guard.security_headers",
    "flask_guard.testing",
    "flask_guard.wsgi",
)
MADE_BY_THE_KIT = {
    "FrozenClock": ("now",),
    "LimitStatus": ("allowed", "rate", "remaining", "reset"),
    "Placed": ("mark", "place", "policy", "scope", "site"),
    "Plan": ("endpoint", "method", "names", "policies", "target"),
    "Preflight": ("problems", "response"),
    "Run": ("denial", "identities", "plan", "rehearsal", "request", "rule", "state", "would_deny"),
    "Target": ("app", "automatic", "counted_method", "endpoint", "is_safe", "method", "preflight", "state"),
}
"""Classes whose objects apps read and do not make, with the attributes to rely on. The others are the kit's own."""
IN_A_VIEW = {"Limit": ("concurrent", "hit", "peek"), "ConcurrencyLimit": ()}
"""The members of a built-in policy that apps use, beside calling the policy."""
OF_MODULES = {"log_fields": ("header", "query", "response_header")}
"""The names of a public module that apps use; by default all that it defines."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def listing() -> Iterator[str]:
    """Yield the lines of the list."""
    for package in PACKAGES:
        yield f"[{package}]"
        for name, value in public_names(import_module(package)):
            yield from _lines(name, value)


def public_names(module: ModuleType) -> list[tuple[str, Any]]:
    """Return the public names of a module: those of its ``__all__``, or those that it defines."""
    values = vars(module)
    defined = (name for name in values if getattr(values[name], "__module__", None) == module.__name__)
    names: list[str] = getattr(module, "__all__", None) or [name for name in defined if not name.startswith("_")]
    found = [(name, getattr(module, name)) for name in sorted(names, key=lambda each: (each.lower(), each))]
    return [(name, value) for name, value in found if not isinstance(value, TypeVar)]


def is_class(value: object) -> bool:
    """Return whether `value` is a class, and not an alias such as ``list[str]``, which Python 3.10 takes for one."""
    return isinstance(value, type) and get_origin(value) is None


def public_members(cls: type) -> list[str]:
    """Return the names of the public methods and properties of a class, without those of a public base class."""
    if cls.__name__ in IN_A_VIEW or (issubclass(cls, Policy) and cls not in (Policy, DenyingPolicy)):
        return list(IN_A_VIEW.get(cls.__name__, ()))
    inherited = {name for base in cls.__mro__[1:] if base.__name__ in _names_of_classes() for name in dir(base)}
    owners = {name: base for base in reversed(cls.__mro__) for name in vars(base)}
    ours = [name for name, owner in owners.items() if _is_ours(owner)]
    return sorted(name for name in ours if name[0] != "_" and name not in inherited and _is_member(cls, name))


def _is_member(cls: type, name: str) -> bool:
    value = inspect.getattr_static(cls, name)
    if isinstance(value, property):
        return cls.__name__ not in MADE_BY_THE_KIT
    return inspect.isroutine(getattr(cls, name))


def _lines(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, ModuleType):
        yield f"module {name}"
        within = [(each, found) for each, found in public_names(value) if each in OF_MODULES.get(name, (each,))]
        yield from (f"    {line}" for pair in within for line in _lines(*pair))
    elif is_class(value):
        yield f"class {name}{_constructor(value)}"
        yield from (f"    {line}" for line in _lines_within(value))
    elif inspect.isroutine(value):
        yield f"{name}{_parameters(value)}"
    else:
        yield f"{name}: {_sort(value)}"


def _lines_within(cls: type) -> Iterator[str]:
    if issubclass(cls, Enum):
        yield from (f"{each.name} = {each.value}" for each in cls)
        return
    yield from (name for name in MADE_BY_THE_KIT.get(cls.__name__, ()) if name in (*dir(cls), *_annotated(cls)))
    for name in public_members(cls):
        member = inspect.getattr_static(cls, name)
        yield name if isinstance(member, property) else next(_lines(name, getattr(cls, name)))


def _annotated(cls: type) -> set[str]:
    return {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}


def _names_of_classes() -> set[str]:
    found = (each for package in PACKAGES for each in public_names(import_module(package)))
    return {value.__name__ for _, value in found if is_class(value)}


def _sort(value: object) -> str:
    if isinstance(value, NamedSignal):
        return f"signal {value.name}"
    if isinstance(value, LocalProxy):
        return "proxy"
    return type(value).__name__ if _is_ours(type(value)) else "value"


def _constructor(cls: type) -> str:
    """Return the parameters of a class that apps make objects of, and its public base classes."""
    bases = [base.__name__ for base in cls.__bases__ if base.__name__ in _names_of_classes()]
    shown = f" of {', '.join(bases)}" if bases else ""
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    is_made = cls.__name__ not in MADE_BY_THE_KIT and not getattr(cls, "_is_protocol", False)
    return f"{_parameters(vars(owner)['__init__']) if is_made and _is_ours(owner) else ''}{shown}"


def _is_ours(value: Any) -> bool:
    return bool(value.__module__.partition(".")[0] == "flask_guard")


def _parameters(value: Any) -> str:
    """Return the parameters of a callable with their defaults, without annotations."""
    signature = inspect.signature(value)
    parameters = [
        each.replace(
            annotation=each.empty, default=_Shown(each.default) if each.default is not each.empty else each.empty
        )
        for each in signature.parameters.values()
        if each.name not in ("self", "cls")
    ]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


class _Shown:
    """A default as the list shows it: the same on every machine and under every version of Python."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        if isinstance(self._value, Enum):
            return f"{type(self._value).__name__}.{self._value.name}"
        if isinstance(self._value, frozenset):
            return f"frozenset({sorted(self._value)})"
        if inspect.isroutine(self._value):
            return str(self._value.__name__)
        return _ADDRESS.sub("", repr(self._value))


if __name__ == "__main__":
    print(*listing(), sep="\n")
