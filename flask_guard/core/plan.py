"""From the marks on an app, its blueprints and its views to the calls of one request.

Four steps, none of which sees a request: *collect* the scopes around an endpoint, *merge* them so that the nearest
policy of a kind wins, *order* what is left by phase, and *compile* it into flat tuples of callables. A plan is made
once for each endpoint and method; it is what requests run, and what every report reads.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from flask.views import http_method_funcs

from ..typing import Enter, Flask, Leave, Mode, Teardown, ViewFunction
from .marks import Mark, functions_in_use, own_class_marks, scaffold_marks, view_marks
from .policy import DenyingPolicy, Phase, Policy, Step
from .protect import Exemption
from .report_mode import in_shadow
from .step_costs import timed

if TYPE_CHECKING:
    from .app_state import AppState

T = TypeVar("T")
ScopeKind: TypeAlias = Literal["app", "blueprint", "class", "view", "method"]


@dataclass(frozen=True, slots=True)
class Scope:
    """One of the places around an endpoint where policies can be written. ``depth`` counts from the outermost."""

    kind: ScopeKind
    name: str
    marks: tuple[Mark, ...] = field(default=(), repr=False)
    depth: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a policy is compiled for: what the request reaches, and the scope that brought the policy there.

    :ivar endpoint: the endpoint, or None for paths that no rule matches.
    :ivar blueprint: the blueprint below whose prefix an unmatched path lies.
    :ivar preflight: whether this is for the CORS preflight of a `method` request.
    :ivar automatic: whether Flask answers itself, as it does an OPTIONS request.
    :ivar scope: where the policy was written.
    :ivar ordinal: how many policies of its kind stand before it in that scope.
    :ivar earlier: the policies of its kind that act before it.
    :ivar neighbours: the policies that act next to it, where those are compiled into one step with it.
    """

    state: AppState = field(repr=False)
    endpoint: str | None
    method: str
    blueprint: str | None = None
    preflight: bool = False
    automatic: bool = False
    scope: Scope = Scope("app", "")
    ordinal: int = 0
    earlier: tuple[Policy, ...] = field(default=(), repr=False)
    neighbours: tuple[tuple[Policy, Place], ...] = field(default=(), repr=False)

    @property
    def app(self) -> Flask:
        """Return the app."""
        return self.state.app


@dataclass(frozen=True, slots=True, repr=False)
class Placed:
    """A policy in force at a place. ``site`` is the ``file:line`` where it was written, ``position`` its rank there."""

    policy: Policy
    site: str
    place: Place
    position: int

    @property
    def scope(self) -> str:
        """Return the scope it comes from, such as ``blueprint api``."""
        return str(self.place.scope)

    def __repr__(self) -> str:
        return f"{self.policy!r} from {self.scope} at {self.site}"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What reaches one endpoint and method. ``policies`` are in the order in which they act."""

    endpoint: str | None
    method: str
    policies: tuple[Placed, ...] = ()
    names: tuple[str, ...] = field(default=(), repr=False)
    enter: tuple[Enter, ...] = field(default=(), repr=False)
    leave: tuple[Leave, ...] = field(default=(), repr=False)
    teardown: tuple[Teardown, ...] = field(default=(), repr=False)
    covers: frozenset[Mark] = field(default=frozenset(), repr=False)


def make_plan(place: Place) -> Plan:
    """Return the plan of `place`.

    :raises ConfigError: if a policy in force there cannot be compiled.
    """
    scopes = list(collect(place))
    placed = order(merge(scopes, place))
    groups = list(_groups(placed))
    steps = [_compile(group) for group in groups]
    if any(each.policy.measures for each in placed):
        steps = [timed(group[0].policy.name, step) for group, step in zip(groups, steps, strict=True)]
    return Plan(
        place.endpoint,
        place.method,
        tuple(placed),
        tuple(each.policy.name for each in placed),
        enter=tuple(step.enter for step in steps if step.enter),
        leave=_once_each([step.leave for step in reversed(steps) if step.leave]),
        teardown=tuple(step.teardown for step in reversed(steps) if step.teardown),
        covers=frozenset(mark for scope in scopes for mark in scope.marks if mark.what.is_policy),
    )


# Collect ---------------------------------------------------------------------------------------------------------


def collect(place: Place) -> Iterator[Scope]:
    """Yield the scopes around `place`, outermost first."""
    app = place.app
    yield Scope("app", app.name, scaffold_marks(app))
    for name in _blueprint_names(place):
        if name in app.blueprints:
            yield Scope("blueprint", name, scaffold_marks(app.blueprints[name]))
    if place.endpoint is not None and place.endpoint in app.view_functions:
        yield from _view_scopes(place.endpoint, app.view_functions[place.endpoint], place)


def _blueprint_names(place: Place) -> Iterator[str]:
    dotted = place.endpoint.rpartition(".")[0] if place.endpoint is not None else place.blueprint
    parts = dotted.split(".") if dotted else []
    for end in range(1, len(parts) + 1):
        yield ".".join(parts[:end])


def _view_scopes(endpoint: str, view: ViewFunction, place: Place) -> Iterator[Scope]:
    cls: type | None = getattr(view, "view_class", None)
    for base in reversed(cls.__mro__ if cls else ()):
        yield Scope("class", base.__qualname__, own_class_marks(base))
    yield Scope("view", endpoint, view_marks(view, functions_in_use(place.app.view_functions.values())))
    if cls is not None:
        yield Scope("method", f"{cls.__qualname__}.{place.method.lower()}", _method_marks(cls, place.method))


def _method_marks(cls: type, method: str) -> tuple[Mark, ...]:
    functions = [getattr(cls, name, None) for name in ("dispatch_request", *http_method_funcs)]
    in_use = functions_in_use(function for function in functions if function)
    handler = getattr(cls, method.lower(), None)
    if handler is None and method == "HEAD":
        handler = getattr(cls, "get", None)
    dispatcher = getattr(cls, "dispatch_request", None)
    return tuple(mark for function in (dispatcher, handler) if function for mark in view_marks(function, in_use))


# Merge and order -------------------------------------------------------------------------------------------------


def merge(scopes: list[Scope], place: Place) -> list[Placed]:
    """Return the policies in force: of each kind the nearest, and those that stay in force whatever is nearer."""
    in_force: dict[Hashable, list[Placed]] = {}
    for depth, scope in enumerate(scopes):
        for mark in scope.marks:
            if isinstance(mark.what, Exemption):
                for policy in mark.what.policies:
                    in_force.pop(policy.key, None)
        for key, here in _by_kind(dataclasses.replace(scope, depth=depth), place).items():
            outer = in_force.get(key, [])
            kept = [each for each in outer if each.policy.keeps]
            replaced = [each for each in outer if not each.policy.keeps]
            if replaced:
                here = [dataclasses.replace(each, policy=each.policy.over(replaced[-1].policy)) for each in here]
            in_force[key] = [*(each for each in kept if not _repeated(each, here)), *here]
    return [placed for group in in_force.values() for placed in group]


def _by_kind(scope: Scope, place: Place) -> dict[Hashable, list[Placed]]:
    seen: Counter[Hashable] = Counter()
    groups: dict[Hashable, list[Placed]] = {}
    for position, mark in enumerate(scope.marks):
        if isinstance(mark.what, Policy):
            key = mark.what.key
            here = dataclasses.replace(place, scope=scope, ordinal=seen[key])
            seen[key] += 1
            if mark.what.applies(here):
                groups.setdefault(key, []).append(Placed(mark.what, mark.site, here, position))
    return groups


def _repeated(placed: Placed, others: list[Placed]) -> bool:
    return any(placed.policy == other.policy for other in others)


def order(placed: list[Placed]) -> list[Placed]:
    """Return the policies by phase; within a phase the outer scope first, then as written."""

    def position(each: Placed) -> tuple[Phase, int, int]:
        return (each.policy.phase, each.place.scope.depth, each.position)

    before: dict[Hashable, tuple[Policy, ...]] = {}
    ordered = []
    for each in sorted(placed, key=position):
        key = each.policy.key
        earlier = before.get(key, ())
        ordered.append(dataclasses.replace(each, place=dataclasses.replace(each.place, earlier=earlier)))
        before[key] = (*earlier, each.policy)
    return ordered


# Compile ---------------------------------------------------------------------------------------------------------


def _groups(placed: list[Placed]) -> Iterator[list[Placed]]:
    """Yield what is compiled into one step each: neighbours that join, those in shadow apart from the others."""

    def together(each: Placed) -> object:
        return id(each) if each.policy.joins is None else each.policy.joins

    for _, neighbours in itertools.groupby(placed, together):
        in_mode: dict[Mode, list[Placed]] = {"enforce": [], "report": []}
        for each in neighbours:
            in_mode[_mode(each)].append(each)
        yield from filter(None, in_mode.values())


def _mode(placed: Placed) -> Mode:
    policy = placed.policy
    return policy.mode_in(placed.place.state) if isinstance(policy, DenyingPolicy) else "enforce"


def _compile(group: list[Placed]) -> Step:
    first = group[0]
    others = tuple((each.policy, each.place) for each in group[1:])
    step = first.policy.compile(dataclasses.replace(first.place, neighbours=others))
    if step.enter and _mode(first) == "report":
        step = dataclasses.replace(step, enter=in_shadow(step.enter))
    return step


def _once_each(calls: list[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(calls))
