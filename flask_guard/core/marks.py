"""Marks: the traces of policies on their targets, which :mod:`flask_guard.core.attach` leaves there."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from ..typing import Scaffold, ViewFunction
from .app_state import AppState

APPLIED = "__guard_applied__"
FALLBACKS = "__guard_fallbacks__"
MARKS = "__guard_marks__"


class Applicable:
    """The content of a mark: a policy, or an exemption from policies."""

    __slots__ = ()

    is_guarding: ClassVar[bool] = True
    """Whether a view must not be called without it. An exemption is not guarding: a view without it is guarded more."""

    in_a_view: ClassVar[str] = ""
    """Its use in a view, or in a function that a view calls, for messages; empty if it only goes on views."""
    needs_guard: ClassVar[bool] = True
    """Whether its target refuses to serve on an app without a Guard."""

    @property
    def name(self) -> str:
        """Return its name in plans, logs and messages."""
        raise NotImplementedError

    @property
    def key(self) -> Hashable:
        """Return the identity of its kind."""
        raise NotImplementedError

    def conflict_with(self, other: Applicable) -> str:
        """Return the reason why it cannot share a target with `other`, or an empty string."""
        raise NotImplementedError

    def check_target(self, target: object) -> None:
        """Raise ConfigError if it cannot be applied to `target` as it stands."""

    def check_app(self, state: AppState) -> None:
        """Raise ConfigError if it cannot work with the app's configuration. Called as early as the app is known."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the source.

    :ivar namespace: the global names of the module there.
    """

    file: str
    line: int
    namespace: dict[str, Any] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(slots=True, eq=False)
class Mark:
    """An application of a policy or an exemption, and its place in the source. Compared by identity.

    :ivar carried: whether a view that carries it is known to be registered.
    :ivar reached: whether it is known to hold for an endpoint of some app.
    :ivar reported: whether the log says that it holds for no endpoint.
    :ivar shim: the shim that the decorator returned for a function.
    """

    what: Applicable
    site: Site
    carried: bool = False
    reached: bool = False
    reported: bool = False
    shim: weakref.ref[Any] | None = None

    @property
    def written(self) -> tuple[str, int, Hashable]:
        """Return where it was written and which kind it is: the same each time that an app factory runs."""
        return (self.site.file, self.site.line, self.what.key)

    def __repr__(self) -> str:
        return f"{self.what!r} at {self.site}"


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """The content of a shim. `functools.wraps` copies the reference, so the wrappers of other packages carry it too.

    :ivar inner: the function that the shim calls.
    :ivar marks: the marks in force where it is registered, outermost first.
    :ivar checked: the marks of which the shim checks that they are in force.
    """

    shim: ViewFunction
    inner: ViewFunction
    marks: tuple[Mark, ...]
    checked: frozenset[Mark]


@dataclass(frozen=True, slots=True, eq=False)
class Fallback:
    """A mark left on a decorated function, or on a function inside.

    :ivar own: whether it stands among the function's own decorators, and so holds for every endpoint of the function.
    :ivar through: the decorated opaque wrapper in which the function was found; None without one.
    """

    mark: Mark
    own: bool
    through: object | None = None


# Where marks are written --------------------------------------------------------------------------------------------


def calling_site() -> Site:
    """Return the place of the nearest caller outside this package, and outside Flask (for ``View.decorators``)."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in (
        "flask_guard",
        "flask",
    ):
        frame = frame.f_back
    return Site(frame.f_code.co_filename, frame.f_lineno, frame.f_globals)


def note_in_module(mark: Mark) -> None:
    """Note `mark` in its module, so that a mark without an endpoint can be found.

    Only the latest mark of a line and kind is kept: each run of an app factory makes another one.
    """
    mark.site.namespace.setdefault(MARKS, {})[mark.written] = mark


def marks_in_module(namespace: dict[str, Any]) -> Iterable[Mark]:
    """Return the marks on functions that are written in a module."""
    return tuple(cast("dict[Any, Mark]", namespace.get(MARKS, {})).values())


def use_in_a_view(marks: Iterable[Mark]) -> str:
    """Return a sentence that says how to use the policies of `marks` inside a view, or an empty string."""
    uses = sorted({mark.what.in_a_view for mark in marks if mark.what.in_a_view})
    return f" If a view calls it, use the policy inside the view: {', '.join(uses)}." if uses else ""


# Finding them again ---------------------------------------------------------------------------------------------------


def scaffold_marks(target: Scaffold) -> tuple[Mark, ...]:
    """Return the marks of a blueprint or an app, as written."""
    return cast("tuple[Mark, ...]", getattr(target, MARKS, ()))


def own_class_marks(cls: type) -> tuple[Mark, ...]:
    """Return the marks of `cls`, without its base classes, as written."""
    return cast("tuple[Mark, ...]", cls.__dict__.get(MARKS, ()))


def applied_to(function: object) -> Applied | None:
    """Return the content of a shim, or of a wrapper around a shim that was made with `functools.wraps`."""
    found = getattr(function, APPLIED, None)
    return found if isinstance(found, Applied) else None


def is_shim(function: object) -> bool:
    """Return whether `function` is a shim, and not a wrapper that carries the content of one."""
    applied = applied_to(function)
    return applied is not None and applied.shim is function


def carried_marks(function: object) -> tuple[Mark, ...]:
    """Return the marks that `function` carries, outermost first."""
    applied = applied_to(function)
    return applied.marks if applied else ()


def fallbacks_on(function: object) -> tuple[Fallback, ...]:
    """Return the fallback marks on `function`, in the order in which they were left: innermost first."""
    return cast("tuple[Fallback, ...]", getattr(function, FALLBACKS, ()))
