"""The idea: each cross-cutting concern is a policy, and a policy goes on any part of an app.

A policy is an immutable value that knows no app and no request. A call with options returns a refined copy. A call with
a view, a class-based view, a blueprint or an app applies the policy there::

    @app.get("/orders")
    @limit("10/minute")             # refined, then applied
    def orders(): ...

    cors(origins="https://app.example.com")(blueprint)

:mod:`flask_guard.core.protect` applies several policies, and exempts from policies. :mod:`flask_guard.core.plan` finds
the policies of an endpoint, and their order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from ..errors import ConfigError
from ..support.log import log
from ..support.options import check_options, option, optional
from ..support.orders import Comparison, ranked, represented
from ..support.text import did_you_mean
from ..typing import Flask, Mode, Purpose, Scaffold, TargetT
from .app_state import AppState
from .attach import attach, is_target
from .config import MODES, check_mode
from .described import Described
from .marks import Applicable, Mark, Site, calling_site
from .request_run import Enter, Leave, Teardown

if TYPE_CHECKING:
    from typing_extensions import Self

    from .denials import Denied

Credential: TypeAlias = "tuple[Literal['header', 'query'], str]"
"""A place of credentials: a header field, in lower case, or a query parameter."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""

ScopeKind: TypeAlias = Literal["app", "path", "blueprint", "class", "view", "method"]


class Phase(IntEnum):
    """The phase in which a policy acts on a request. On the response, phases act in the reverse order."""

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
    """A policy compiled for one target: up to three callables."""

    enter: Enter | None = None
    leave: Leave | None = None
    teardown: Teardown | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The purpose of a plan: the requests that reach one endpoint with one method.

    :ivar endpoint: the endpoint, or None for paths that no rule matches.
    :ivar blueprint: the blueprint below whose prefix an unmatched path lies.
    :ivar paths: the scopes by path that hold because of the path of the request, and not of the endpoint's rules.
    :ivar preflight: whether this is for the CORS preflight of a `method` request.
    :ivar automatic: whether Flask or a policy answers without a view, as for OPTIONS.
    :ivar off: the keys of the kinds of policy that are switched off, for tests.
    :ivar exposes: the response fields that the policies in force declare for pages of other origins. Known when a plan
        is compiled.
    :ivar is_open: whether a policy in force lets pages of every origin read the response. Known when a plan is
        compiled.
    """

    state: AppState = field(repr=False, compare=False)
    endpoint: str | None
    method: str
    blueprint: str | None = None
    preflight: bool = False
    automatic: bool = False
    paths: tuple[str, ...] = ()
    off: frozenset[Hashable] = frozenset()
    exposes: tuple[str, ...] = field(default=(), repr=False, compare=False)
    is_open: bool = field(default=False, repr=False, compare=False)

    @property
    def app(self) -> Flask:
        """Return the app."""
        return self.state.app

    @property
    def counted_method(self) -> str:
        """Return the method, with HEAD as the GET that it is without a body (RFC 9110, section 9.3.2)."""
        return "GET" if self.method == "HEAD" else self.method

    @property
    def is_safe(self) -> bool:
        """Return whether requests with the method change nothing (RFC 9110, section 9.2.1)."""
        return self.method in SAFE_METHODS


@dataclass(frozen=True, slots=True)
class Scope:
    """A place around an endpoint where policies are written. ``depth`` counts from the outermost one."""

    kind: ScopeKind
    name: str
    marks: tuple[Mark, ...] = field(default=(), repr=False)
    depth: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, repr=False)
class Placed:
    """A policy in force for a target, with its place.

    :ivar place: the scope in which it was written.
    :ivar position: its rank among the policies of the scope.
    :ivar ordinal: the number of policies of its kind before it in the scope.
    :ivar earlier: the policies of its kind that act before it.
    """

    policy: Policy
    mark: Mark
    place: Scope
    position: int = 0
    ordinal: int = 0
    earlier: tuple[Policy, ...] = ()

    @property
    def scope(self) -> str:
        """Return the scope in which it was written, such as ``blueprint api``."""
        return str(self.place)

    @property
    def site(self) -> str:
        """Return the ``file:line`` of its place."""
        return str(self.mark.site)

    def __repr__(self) -> str:
        return f"{self.policy!r} from {self.scope} at {self.site}"


@dataclass(frozen=True, repr=False)
class Policy(Described, Applicable):
    """A configured concern. Subclass it as a frozen dataclass to add a concern of your own.

    A subclass has a ``kind``, declares its options with :func:`~flask_guard.support.options.option`, and implements
    :meth:`compile`. For most needs :func:`flask_guard.middleware` is shorter.

    :cvar kind: its name in ``GUARD_MODES``, plans, logs and reports.
    :cvar phase: the phase in which it acts.
    :cvar repeatable: whether one target may have several.
    :cvar joins: equal for neighbours that the first of them compiles into one step; see :meth:`compile_joined`.
    :cvar answers_preflights: whether it answers CORS preflights.
    :cvar records: whether it makes a log record of each request, which names the policy that denied it.
    :cvar presence: its effect on the protection of an endpoint: stronger, weaker (as for ``cors``), or the same.
    """

    __slots__ = ()

    kind: ClassVar[str]
    phase: ClassVar[Phase] = Phase.CUSTOM
    repeatable: ClassVar[bool] = False
    joins: ClassVar[Hashable | None] = None
    answers_preflights: ClassVar[bool] = False
    records: ClassVar[bool] = False
    presence: ClassVar[Comparison] = "stronger"

    def __init_subclass__(cls, *, abstract: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        kind = getattr(cls, "kind", None)
        if not abstract and not (isinstance(kind, str) and kind):
            raise ConfigError(f"{cls.__qualname__} needs a kind, such as kind: ClassVar[str] = 'require_json'")
        if "compile_key" not in vars(cls):  # an inherited one tells of the calls of another class
            cls.compile_key = Policy.compile_key  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        check_options(self, self.name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a refined copy. Each policy declares its own options."""
        if len(args) == 1 and not options and is_target(args[0]) and not isinstance(args[0], Applicable):
            return apply((self,), args[0], calling_site())
        return self.refine(*args, **options)

    @property
    def name(self) -> str:
        return self.kind

    @property
    def key(self) -> Hashable:
        return self.kind

    @property
    def keeps(self) -> bool:
        """Return whether it stays in force beside a nearer policy of its kind."""
        return False

    @property
    def measures(self) -> bool:
        """Return whether it needs the cost of every policy of its plan: :mod:`flask_guard.core.step_costs`."""
        return False

    @property
    def credential_places(self) -> tuple[Credential, ...]:
        """Return the places where it reads credentials, which logs mask: see ``AppState.credentials``."""
        return ()

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        """Return its purposes. Audits look for endpoints that lack one."""
        return ()

    def refine(self, *args: Any, **options: Any) -> Self:
        """Return a copy with `options` changed.

        :raises TypeError: for an unknown option.
        """
        if args:
            shown = ", ".join(repr(arg) for arg in args)
            raise TypeError(
                f"{self.name}() takes options by keyword, or one view, View class, blueprint or app: {shown}"
            )
        known = [each.name for each in dataclasses.fields(self)]
        for name in options:
            if name not in known:
                raise TypeError(f"{self.name}() has no option {name!r}{self.hint(name) or did_you_mean(name, known)}")
        return dataclasses.replace(self, **options)

    def hint(self, option: str) -> str:
        """Return a hint for an option of another package: the one to write in its place, or an empty string."""
        return ""

    def compile(self, target: Target) -> Step:
        """Return the calls of the policy for `target`. Called once for each target, before its first request."""
        raise ConfigError(f"{type(self).__qualname__} needs a method compile(self, target) that returns a Step")

    def compile_joined(self, target: Target, group: tuple[Placed, ...]) -> Step:
        """Return the calls of this policy, the first of `group`, and of the neighbours that join with it."""
        return self.compile(target)

    def compile_key(self, target: Target, place: Scope) -> Hashable | None:
        """Return the facts of `target` and `place` that the calls of the policy depend on, beside the app.

        Endpoints of which the facts are equal share the calls, which saves memory and time at the start. None, the
        default, shares nothing: for calls that depend on the endpoint itself.
        """
        return None

    def exposes(self, state: AppState) -> tuple[str, ...]:
        """Return the response fields of the policy that pages of other origins may read."""
        return ()

    def opens(self, state: AppState) -> bool:
        """Return whether the policy lets pages of every origin read the response."""
        return False

    def applies(self, target: Target, scope: Scope) -> bool:
        """Return whether it acts on `target`, written in `scope`. If not, it replaces no other policy."""
        return True

    def over(self, outer: Self) -> Self:
        """Return the policy in force if this one is nearer than `outer`."""
        return self

    def mode_in(self, state: AppState) -> Mode:
        """Return the mode in force."""
        return "enforce"

    def remedy(self, denial: Denied) -> str:
        """Return advice to the sender of a denied request: how it passes, without secrets."""
        return ""

    def conflict_with(self, other: Applicable) -> str:
        if isinstance(other, Exemption):
            return other.conflict_with(self)
        if self.repeatable or self.key != other.key:
            return ""
        return f"one target takes one {self.name}: remove the other one"

    def __repr__(self) -> str:
        """Return the policy as code, with the options that are not the defaults and masked secrets."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        changed = [each.name for each in dataclasses.fields(self) if values[each.name] != each.default]
        options = [f"{name}={represented(name, values[name])}" for name in changed]
        return f"{self.name}({', '.join(options)})" if options else self.name


def _mode_order(old: Mode | None, new: Mode | None) -> Comparison:
    return ranked("off", "report", "enforce")(old or "enforce", new or "enforce")


@dataclass(frozen=True, kw_only=True, repr=False)
class DenyingPolicy(Policy, abstract=True):
    """A policy that may refuse a request, with ``mode="report"`` for trials."""

    __slots__ = ()

    mode: Mode | None = option(None, optional(check_mode), _mode_order)

    def check_app(self, state: AppState) -> None:
        """Warn at each start of a policy for authentication that lets everybody through."""
        is_open = self.phase is Phase.AUTHENTICATE and self.mode_in(state) == "report"
        if is_open and state.once(f"report mode of {self.name}"):
            log.warning(
                "%s is in report mode on %r: it lets everybody through, and logs the requests that it would deny",
                self.name,
                state.app.name,
            )

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        return ("unknown",)

    def mode_in(self, state: AppState) -> Mode:
        """Return the mode in force: its own, else that of ``GUARD_MODES``, else ``"enforce"``."""
        return self.mode or state.config[MODES].get(self.name, "enforce")

    def plain_options_in(self, state: AppState) -> dict[str, Any]:
        mode = self.mode_in(state)
        return {**self.plain_options(), "mode": None if mode == "enforce" else mode}


@dataclass(frozen=True, slots=True)
class Exemption(Applicable):
    """Removes kinds of policy of outer scopes from its target.

    :ivar phases: the phases of which it removes every policy.
    """

    policies: tuple[Policy, ...] = ()
    phases: frozenset[Phase] = frozenset()
    is_guarding: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return "exempt"

    @property
    def key(self) -> Hashable:
        return (self.name, *sorted(self.phases), *(policy.key for policy in self.policies))

    def removes(self, policy: Policy) -> bool:
        """Return whether it removes an inherited `policy`."""
        return policy.phase in self.phases or any(policy.key == each.key for each in self.policies)

    def __call__(self, target: TargetT) -> TargetT:
        return apply((self,), target, calling_site())

    def check_target(self, target: object) -> None:
        if isinstance(target, Flask):
            raise ConfigError("exempt() goes on a view, a View class or a blueprint; on an app, leave the policy out")

    def conflict_with(self, other: Applicable) -> str:
        if isinstance(other, Policy) and self.removes(other):
            return f"one target both applies and exempts {other.name}. Remove the exemption: the nearest policy wins"
        return ""

    def __repr__(self) -> str:
        removed = (*(policy.name for policy in self.policies), *(phase.name for phase in sorted(self.phases)))
        return f"exempt({', '.join(removed)})"


def apply(parts: Sequence[Applicable], target: TargetT, site: Site, *, under: str | None = None) -> TargetT:
    """Apply policies or exemptions to `target` as written at `site`; return `target`, or the shim of a function.

    :param under: the path of an app below which they hold; None for the whole app.
    :raises TypeError: for a `target` that takes no policies.
    :raises ConfigError: if a policy cannot be applied there, or conflicts with another one.
    """
    if not is_target(target):
        shown = ", ".join(map(repr, parts))
        raise TypeError(f"{shown} applies to a view, a View class, a blueprint or an app, not to {target!r}")
    for part in parts if isinstance(target, Scaffold) else reversed(parts):  # a decorator goes in front
        if under is None or not isinstance(part, Exemption):
            part.check_target(target)
        target = attach(Mark(part, site), target, under)
    return target
