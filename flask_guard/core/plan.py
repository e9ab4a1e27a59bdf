"""From the marks on an app, its blueprints and its views to the calls of one request.

Four steps, none of which sees a request: *collect* the scopes around an endpoint, *merge* them so that the nearest
policy of a kind wins, *order* the rest by phase, and *compile* it into flat tuples of callables. A plan is made once
for each endpoint and method. It is what requests run, and what every report reads.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ..errors import ConfigError
from ..typing import Mode
from .app_state import AppState
from .marks import Mark, scaffold_marks
from .path_scopes import PathScopes
from .policy import Exemption, Phase, Placed, Policy, Scope, Step, Target
from .report_mode import reporting
from .request_run import Steps
from .shared_parts import SharedParts
from .step_costs import timed
from .tracing import traced
from .views import ViewMarks, class_marks, method_functions


@dataclass(frozen=True, slots=True, eq=False)
class Plan(Steps):
    """The policies that reach one endpoint and method, in the order in which they act.

    ``require_api_key in plan`` asks for a kind of policy, ``plan["limit"]`` finds the one of that name, and iteration
    gives them all.
    """

    target: Target
    policies: tuple[Placed, ...] = ()

    @property
    def method(self) -> str:
        """Return the method."""
        return self.target.method

    def __contains__(self, kind: object) -> bool:
        key = kind.key if isinstance(kind, Policy) else kind
        return any(key in (each.policy.key, each.policy.name) for each in self.policies)

    def __iter__(self) -> Iterator[Placed]:
        return iter(self.policies)

    def __getitem__(self, name: str) -> Placed:
        """Return the policy called `name`, and where it was written.

        :raises KeyError: if there is none, or several, as of limits that add up: iterate over the plan then.
        """
        found = [each for each in self.policies if each.policy.name == name]
        if len(found) != 1:
            raise KeyError(f"the plan of {self.endpoint!r} has {len(found)} policies called {name!r}")
        return found[0]


def make_plan(target: Target) -> Plan:
    """Return the plan of `target`.

    :raises ConfigError: if a policy in force there cannot be compiled.
    """
    scopes = list(collect(target))
    placed = order(merge(scopes, target)[0])
    target.state.credentials.update(each for one in placed for each in one.policy.credential_places)
    target = _with_declarations(placed, target)
    shared = target.state.service(SharedParts)
    groups = list(_groups(placed, target))
    steps = _each_leave_once([shared.step(group, target, partial(_compile, group, target)) for group in groups])
    sources = [group[0].policy.name for group in groups]
    if any(each.policy.measures for each in placed):
        steps = [timed(name, step) for name, step in zip(sources, steps, strict=True)]
    if target.state.traces:
        steps = traced(groups, steps)
    covers = frozenset(mark for scope in scopes for mark in scope.marks if mark.what.is_guarding)
    named = list(zip(sources, steps, strict=True))
    enters = [(step.enter, name) for name, step in named if step.enter]
    leaves = [(step.leave, name) for name, step in reversed(named) if step.leave]
    teardowns = [step.teardown for step in reversed(steps) if step.teardown]
    return Plan(
        target,
        tuple(placed),
        endpoint=target.endpoint,
        names=shared.one(tuple(each.policy.name for each in placed)),
        enter=tuple(enter for enter, _ in enters),
        leave=tuple(leave for leave, _ in leaves),
        teardown=tuple(teardowns),
        covers=shared.one(covers),
        sources=shared.one(tuple(name for _, name in (*enters, *leaves))),
        quiet=not (covers or enters or leaves or teardowns),
    )


def _each_leave_once(steps: list[Step]) -> list[Step]:
    """Return the steps. Of several with the same ``leave``, such as limits in two phases, the last one keeps it."""
    leaves = [step.leave for step in steps]
    return [
        dataclasses.replace(step, leave=None) if step.leave in leaves[position:] else step
        for position, step in enumerate(steps, 1)
    ]


def _with_declarations(placed: list[Placed], target: Target) -> Target:
    """Return `target` with what the policies in force declare about the response."""
    state = target.state
    exposes = tuple(dict.fromkeys(field for each in placed for field in each.policy.exposes(state)))
    is_open = any(each.policy.opens(state) for each in placed)
    return dataclasses.replace(target, exposes=exposes, is_open=is_open) if exposes or is_open else target


# Collect ---------------------------------------------------------------------------------------------------------


def collect(target: Target) -> Iterator[Scope]:
    """Yield the scopes around `target`, outermost first."""
    app = target.app
    yield Scope("app", app.name, scaffold_marks(app))
    yield from _path_scopes(target)
    for name in blueprint_names(target):
        if name in app.blueprints:
            yield Scope("blueprint", name, scaffold_marks(app.blueprints[name]))
    view = app.view_functions.get(target.endpoint) if target.endpoint is not None else None
    if target.endpoint is None or view is None:
        return
    for cls, marks in class_marks(view):
        yield Scope("class", cls.__qualname__, marks)
    view_marks = target.state.service(ViewMarks)
    yield Scope("view", target.endpoint, view_marks.of(view))
    functions = method_functions(view, target.method)
    if functions:
        cls = vars(view)["view_class"]
        name = f"{cls.__qualname__}.{target.method.lower()}"
        yield Scope("method", name, tuple(mark for function in functions for mark in view_marks.of(function)))


def _path_scopes(target: Target) -> Iterator[Scope]:
    """Yield the scopes by path that hold: for an endpoint with rules on both sides all but the exemptions do."""
    paths = target.state.service(paths_of)
    for scope in paths.all:
        relations = paths.relations(scope, target.endpoint) if target.endpoint is not None else set()
        if scope.path in target.paths or relations == {"inside"}:
            yield Scope("path", scope.path, scope.marks)
        elif "inside" in relations:
            yield Scope("path", scope.path, tuple(mark for mark in scope.marks if mark.what.is_guarding))


def paths_of(state: AppState) -> PathScopes:
    """Make the scopes by path of an app; kept as a service of `state`."""
    return PathScopes(state.app)


def blueprint_names(target: Target) -> Iterator[str]:
    """Yield the names of the blueprints around `target`, outermost first."""
    dotted = target.endpoint.rpartition(".")[0] if target.endpoint is not None else target.blueprint
    parts = dotted.split(".") if dotted else []
    for end in range(1, len(parts) + 1):
        yield ".".join(parts[:end])


# Merge and order -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A policy that was written around a target and is not in force there.

    :ivar by: the mark of the nearer policy or the exemption that takes it away, if one does.
    """

    placed: Placed
    why: Literal["replaced", "exempt", "repeated", "not concerned", "switched off"]
    by: Mark | None = None


def merge(scopes: list[Scope], target: Target) -> tuple[list[Placed], list[LeftOut]]:
    """Return the policies in force: of each kind the nearest, and those that stay in force whatever is nearer.

    The second list says what was left out, and why.
    """
    in_force: dict[Hashable, list[Placed]] = {}
    left_out: list[LeftOut] = []
    for depth, scope in enumerate(scopes):
        for mark in scope.marks:
            if isinstance(mark.what, Exemption):
                for key in [key for key, group in in_force.items() if group and mark.what.removes(group[0].policy)]:
                    left_out += [LeftOut(each, "exempt", mark) for each in in_force.pop(key)]
        here, others = _concerned(dataclasses.replace(scope, depth=depth), target)
        left_out += others
        for key, nearer in here.items():
            in_force[key] = _merge_kind(in_force.get(key, []), nearer, left_out)
    for key in target.off:
        left_out += [LeftOut(each, "switched off") for each in in_force.pop(key, ())]
    return [placed for group in in_force.values() for placed in group], left_out


def _merge_kind(outer: list[Placed], nearer: list[Placed], left_out: list[LeftOut]) -> list[Placed]:
    """Return the policies of one kind in force where `nearer` are written inside of `outer`."""
    kept = [each for each in outer if each.policy.keeps]
    replaced = [each for each in outer if not each.policy.keeps]
    if replaced:
        left_out += [LeftOut(each, "replaced", nearer[-1].mark) for each in replaced]
        nearer = [dataclasses.replace(each, policy=each.policy.over(replaced[-1].policy)) for each in nearer]
    repeated = [each for each in kept if any(each.policy == other.policy for other in nearer)]
    left_out += [LeftOut(each, "repeated", nearer[-1].mark) for each in repeated]
    return [*(each for each in kept if each not in repeated), *nearer]


def _concerned(scope: Scope, target: Target) -> tuple[dict[Hashable, list[Placed]], list[LeftOut]]:
    """Return the policies of one scope that concern `target`, by kind, and those that do not."""
    groups: dict[Hashable, list[Placed]] = {}
    others: list[LeftOut] = []
    for placed in target.state.service(SharedParts).placed(scope):
        if placed.policy.applies(target, scope):
            groups.setdefault(placed.policy.key, []).append(placed)
        else:
            others.append(LeftOut(placed, "not concerned"))
    return groups, others


def order(placed: list[Placed]) -> list[Placed]:
    """Return the policies by phase; within a phase the outer scope first, then as written."""

    def position(each: Placed) -> tuple[Phase, int, int]:
        return (each.policy.phase, each.place.depth, each.position)

    before: dict[Hashable, tuple[Policy, ...]] = {}
    ordered = []
    for each in sorted(placed, key=position):
        key = each.policy.key
        earlier = before.get(key, ())
        ordered.append(dataclasses.replace(each, earlier=earlier) if earlier else each)
        before[key] = (*earlier, each.policy)
    return ordered


# Compile ---------------------------------------------------------------------------------------------------------


def _groups(placed: list[Placed], target: Target) -> Iterator[tuple[Placed, ...]]:
    """Yield what is compiled into one step each: neighbours that join, those in report mode apart from the others."""

    def together(each: Placed) -> object:
        return id(each) if each.policy.joins is None else each.policy.joins

    for _, neighbours in itertools.groupby(placed, together):
        in_mode: dict[Mode, list[Placed]] = {"enforce": [], "report": []}
        for each in neighbours:
            in_mode[each.policy.mode_in(target.state)].append(each)
        yield from map(tuple, filter(None, in_mode.values()))


def _compile(group: tuple[Placed, ...], target: Target) -> Step:
    policy = group[0].policy
    try:
        step = _step_of(policy, target, group)
    except ConfigError as error:
        raise ConfigError(f"{policy.name} at {group[0].site}: {error}") from error
    if step.enter and policy.mode_in(target.state) == "report":
        step = dataclasses.replace(step, enter=reporting(step.enter))
    return step


def _step_of(policy: Policy, target: Target, group: tuple[Placed, ...]) -> Step:
    step: object = policy.compile_joined(target, group)
    if not isinstance(step, Step):
        raise ConfigError(f"compile must return a Step, such as Step(enter), not a {type(step).__name__}")
    return step
