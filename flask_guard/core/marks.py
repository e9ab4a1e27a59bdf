"""Marks: the traces that policies leave on what they are applied to, and how they are found again."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from flask.sansio.scaffold import Scaffold

from ..errors import ConfigError
from ..typing import ViewFunction

if TYPE_CHECKING:
    from .policy import Policy
    from .protect import Exemption

APPLIED = "__guard_applied__"
LEFT = "__guard_left__"
MARKS = "__guard_marks__"


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """One application of a policy (or an exemption), and where it was written. Compared by identity."""

    what: Policy | Exemption
    site: str

    @property
    def written(self) -> tuple[str, Hashable]:
        """Return what tells where it was written, and which kind of policy: the same each time an app is made."""
        return (self.site, self.what.key)

    def __repr__(self) -> str:
        return f"{self.what!r} at {self.site}"


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """What a shim carries. `functools.wraps` copies the reference, so other people's wrappers carry it too."""

    shim: ViewFunction
    inner: ViewFunction
    marks: tuple[Mark, ...]
    checked: frozenset[Mark]


@dataclass(frozen=True, slots=True, eq=False)
class Left:
    """A mark left on a decorated function, for the case that the function is registered and its shim is not.

    ``through`` is the wrapper that was decorated, where that does not say what it wraps and this was found inside.
    """

    mark: Mark
    through: ViewFunction | None = None

    def applies(self, function: ViewFunction, in_use: InUse) -> bool:
        """Return whether it has a say where `function` is registered."""
        registered_itself = self.mark.written in in_use.get(id(function), frozenset())
        return not registered_itself and (self.through is None or id(self.through) not in in_use)


InUse: TypeAlias = Mapping[int, frozenset["tuple[str, Hashable]"]]
"""By the id of each function that is registered, or called by one that is: the marks that shims of it carry there."""


def functions_in_use(registered: Iterable[ViewFunction]) -> InUse:
    """Return what is in use where the functions `registered` are."""
    in_use: dict[int, frozenset[tuple[str, Hashable]]] = {}
    for outermost in registered:
        carried: frozenset[tuple[str, Hashable]] = frozenset(mark.written for mark in carried_marks(outermost))
        for function in unwrapped(outermost):
            in_use[id(function)] = in_use.get(id(function), frozenset()) | carried
    return in_use


def calling_site() -> str:
    """Return ``file:line`` of the nearest caller outside this package, and outside Flask (for ``View.decorators``)."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in (
        "flask_guard",
        "flask",
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def scaffold_marks(target: Scaffold) -> tuple[Mark, ...]:
    """Return the marks of a blueprint or an app, as written."""
    return cast("tuple[Mark, ...]", getattr(target, MARKS, ()))


def own_class_marks(cls: type) -> tuple[Mark, ...]:
    """Return the marks of `cls` itself, without those of its bases, as written."""
    return cast("tuple[Mark, ...]", cls.__dict__.get(MARKS, ()))


def carried_marks(function: ViewFunction) -> tuple[Mark, ...]:
    """Return the marks that `function` carries as a shim, or as a wrapper of one, outermost first."""
    applied = applied_to(function)
    return applied.marks if applied else ()


def view_marks(function: ViewFunction, in_use: InUse) -> tuple[Mark, ...]:
    """Return the marks in force where `function` is registered, outermost first.

    A mark that was left on it applies unless a shim of it that carries the mark is registered too.
    """
    left: tuple[Left, ...] = getattr(function, LEFT, ())
    return (*(each.mark for each in reversed(left) if each.applies(function, in_use)), *carried_marks(function))


def unwrapped(function: ViewFunction) -> Iterator[ViewFunction]:
    """Yield `function` and what it wraps, outside in."""
    seen: set[int] = set()
    while id(function) not in seen:
        seen.add(id(function))
        yield function
        function = getattr(function, "__wrapped__", function)


def applied_to(function: ViewFunction) -> Applied | None:
    """Return what `function` carries as a shim, or as a wrapper of one."""
    return cast("Applied | None", getattr(function, APPLIED, None))


def leave(mark: Mark, function: ViewFunction) -> None:
    """Leave `mark` on `function`, and on all that it wraps."""
    last = function
    for last in unwrapped(function):
        _leave(Left(mark), last)
    for hidden in _held_by_wrapper(last):
        for below in unwrapped(hidden):
            _leave(Left(mark, through=last), below)


def _leave(left: Left, function: ViewFunction) -> None:
    owner = getattr(function, "__func__", function)  # a bound method keeps no attributes of its own
    others = tuple(each for each in getattr(owner, LEFT, ()) if each.mark.written != left.mark.written)
    try:
        setattr(owner, LEFT, (*others, left))
    except (AttributeError, TypeError):
        raise ConfigError(
            f"{left.mark}: {function!r} cannot carry a policy; write a function that calls it, and decorate that"
        ) from None


def _held_by_wrapper(function: ViewFunction) -> Iterator[ViewFunction]:
    """Yield the functions in the closure of what looks like a decorator's wrapper without `functools.wraps`."""
    code = getattr(function, "__code__", None)
    passes_all = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
    if code is None or code.co_flags & passes_all != passes_all:
        return
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            if inspect.isroutine(cell.cell_contents):
                yield cell.cell_contents
