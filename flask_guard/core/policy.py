"""The idea: each cross-cutting concern is a policy, and a policy goes on anything.

A policy is an immutable value that knows no app and no request. Calling it with options returns a refined copy;
calling it with a view, a class-based view, a blueprint or an app applies it there::

    @app.get("/orders")
    @limit("10/minute")             # refined, then applied
    def orders(): ...

    cors(origins="https://app.example.com")(blueprint)

Several at once, and exemptions, are in :mod:`flask_guard.core.protect`. What reaches an endpoint, and in which order,
is worked out by :mod:`flask_guard.core.plan`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import did_you_mean
from ..typing import Enter, Leave, Mode, Scaffold, TargetT, Teardown
from .attach import attach, is_target
from .config import check_mode
from .marks import Mark, calling_site

if TYPE_CHECKING:
    from typing_extensions import Self

    from .app_state import AppState
    from .plan import Place
    from .protect import Exemption


class Phase(IntEnum):
    """When a policy acts on a request. Its ``leave`` acts in the reverse order on the response."""

    OBSERVE = 10
    CORS = 20
    HEADERS = 30
    PRECONDITION = 40
    LIMIT = 50
    AUTHENTICATE = 60
    QUOTA = 70
    CUSTOM = 80


@dataclass(frozen=True, slots=True)
class Step:
    """What a policy does at one place, compiled: up to three callables."""

    enter: Enter | None = None
    leave: Leave | None = None
    teardown: Teardown | None = None


class Applicable:
    """Anything that can be applied to a target: a policy, an exemption, or several policies composed."""

    __slots__ = ()

    def parts(self) -> tuple[Policy | Exemption, ...]:
        """Return the policies or exemptions that applying this applies."""
        raise NotImplementedError

    def apply(self, target: TargetT, site: str) -> TargetT:
        """Apply to `target` as written at `site` (``file:line``)."""
        if not is_target(target):
            raise TypeError(f"{self!r} applies to a view, a View class, a blueprint or an app, not to {target!r}")
        parts = self.parts()
        for part in parts if isinstance(target, Scaffold) else reversed(parts):  # a decorator goes in front
            part.check_target(target)
            target = attach(Mark(part, site), target)
        return target


@dataclass(frozen=True, repr=False)
class Policy(Applicable):
    """One concern, configured. Subclass it as a frozen dataclass to add a concern of your own to the kit.

    A subclass says its ``kind`` and ``phase`` and implements :meth:`compile`. For most needs
    :func:`flask_guard.middleware` is shorter.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """What ``GUARD_MODES`` calls it."""
    repeatable: ClassVar[bool] = False
    """Whether one target may have several."""
    is_policy: ClassVar[bool] = True

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply it to the one target given, or return a refined copy. Each policy declares its own options."""
        if len(args) == 1 and not options and is_target(args[0]) and not isinstance(args[0], Applicable):
            return self.apply(args[0], calling_site())
        return self.refine(*args, **options)

    @property
    def name(self) -> str:
        """Return what plans, logs and reports call it."""
        return self.kind

    @property
    def key(self) -> Hashable:
        """Return what tells one kind of policy from another."""
        return self.kind

    @property
    def phase(self) -> Phase:
        """Return when it acts."""
        return Phase.CUSTOM

    @property
    def joins(self) -> Hashable | None:
        """Return what is equal for neighbours that the first of them compiles into one step, or None."""
        return None

    @property
    def keeps(self) -> bool:
        """Return whether it stays in force when a nearer policy of its kind appears."""
        return False

    @property
    def measures(self) -> bool:
        """Return whether it wants to know what every policy of its plan costs: :mod:`flask_guard.core.step_costs`."""
        return False

    def refine(self, *args: Any, **options: Any) -> Self:
        """Return a copy with `options` changed."""
        if args:
            shown = ", ".join(repr(arg) for arg in args)
            raise TypeError(
                f"{self.name}() takes options by keyword, or one view, View class, blueprint or app: {shown}"
            )
        known = [field.name for field in dataclasses.fields(self)]
        for name in options:
            if name not in known:
                raise TypeError(f"{self.name}() has no option {name!r}{did_you_mean(name, known)}")
        return dataclasses.replace(self, **options)

    def compile(self, place: Place) -> Step:
        """Return what it does at `place`. Called once for each place, before the first request there."""
        raise NotImplementedError

    def applies(self, place: Place) -> bool:
        """Return whether it has a say at `place` at all; if not, it replaces nothing there either."""
        return True

    def over(self, outer: Self) -> Self:
        """Return what is in force where this one is nearer than `outer`."""
        return self

    def check_target(self, target: object) -> None:
        """Raise ConfigError if it cannot be applied to `target` as it stands."""

    @classmethod
    def check_config(cls, state: AppState) -> None:
        """Raise ConfigError if what the app's configuration says to policies of this kind cannot be meant."""

    def check_app(self, state: AppState) -> None:
        """Raise ConfigError if it cannot work with the app's configuration. Called as early as the app is known."""

    def conflict_with(self, other: Policy | Exemption) -> str:
        """Return why it cannot share a target with `other`, or an empty string."""
        if not other.is_policy:
            return other.conflict_with(self)
        if self.repeatable or self.key != other.key:
            return ""
        return f"one target takes one {self.name}. Write the one that is meant"

    def parts(self) -> tuple[Policy | Exemption, ...]:
        return (self,)

    def __repr__(self) -> str:
        """Return the policy as it may be written, with the options that are not the defaults."""
        values = {field: getattr(self, field.name) for field in dataclasses.fields(self)}
        options = [f"{field.name}={value!r}" for field, value in values.items() if value != field.default]
        return f"{self.name}({', '.join(options)})" if options else self.name


@dataclass(frozen=True, kw_only=True, repr=False)
class DenyingPolicy(Policy):
    """A policy that may refuse a request, and can be tried in shadow with ``mode="report"``."""

    __slots__ = ()

    mode: Mode | None = None

    def __post_init__(self) -> None:
        if self.mode is not None:
            check_mode(self.mode, f"{self.kind}(mode=…)")

    def mode_in(self, state: AppState) -> Mode:
        """Return the mode in force: its own, else that of ``GUARD_MODES``, else ``"enforce"``."""
        return self.mode or state.config.modes.get(self.kind, "enforce")


def kinds_of_policy(root: type[Policy] = Policy) -> dict[str, type[Policy]]:
    """Return the classes of policy that there are, by kind."""
    own = {root.kind: root} if hasattr(root, "kind") else {}
    for each in root.__subclasses__():
        own |= kinds_of_policy(each)
    return own
