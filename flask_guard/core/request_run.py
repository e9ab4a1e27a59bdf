"""One request's passage through its plan: what it has met so far, and what concerns keep for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Generic, TypeAlias, TypeVar, cast

from flask import Request, request
from flask.typing import ResponseReturnValue
from flask.wrappers import Response
from werkzeug.local import LocalProxy
from werkzeug.routing import Rule

from .app_state import AppState
from .denials import Denied

T = TypeVar("T")
ATTRIBUTE = "_flask_guard_run"
"""Where a request carries its run. On the request object: one app called inside another's view has its own.

A request whose plan is quiet carries what a run is made of instead, until somebody asks for the run: the context, the
plan, the rule and the method.
"""

this_request: LocalProxy[Request] = cast("LocalProxy[Request]", request)

Enter: TypeAlias = "Callable[[Run], ResponseReturnValue | None]"
"""Runs before the view. Returns a response to answer at once, raises ``Denied`` to refuse, or returns None."""

Leave: TypeAlias = "Callable[[Run, Response], Response | None]"
"""Runs on the response. Changes it in place, or returns another."""

Teardown: TypeAlias = "Callable[[Run, BaseException | None], None]"
"""Runs when the request context goes, whatever happened. Gets the exception that nobody handled, if there was one."""


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What a request runs: flat tuples of callables.

    :ivar endpoint: the endpoint; None for paths that no rule matches.
    :ivar names: the names of the policies, in the order in which they act.
    :ivar covers: the marks that it was made from, exempted ones included.
    :ivar sources: the names of the policies whose calls `enter` and then `leave` are, for messages.
    :ivar quiet: whether there is nothing to run, and no mark to look for: such a request is left alone.
    """

    endpoint: str | None = field(default=None, repr=False, kw_only=True)
    names: tuple[str, ...] = field(default=(), repr=False, kw_only=True)
    enter: tuple[Enter, ...] = field(default=(), repr=False, kw_only=True)
    leave: tuple[Leave, ...] = field(default=(), repr=False, kw_only=True)
    teardown: tuple[Teardown, ...] = field(default=(), repr=False, kw_only=True)
    covers: frozenset[Hashable] = field(default=frozenset(), repr=False, kw_only=True)
    sources: tuple[str, ...] = field(default=(), repr=False, kw_only=True)
    quiet: bool = field(default=False, repr=False, kw_only=True)


NOTHING = Steps()
"""The plan of a request while the app's policies are switched off, or while its own cannot be made."""


class Run:
    """What happened to one request so far.

    :ivar rule: the URL rule that serves the request; for a preflight, the one that would serve the announced request,
        or None if the path lacks that method.
    :ivar context: the request context that began it.
    :ivar method: the method for which the plan was chosen.
    :ivar left: whether the part of the plan on the response has begun.
    :ivar identities: what names the caller, by sort: ``api_key``, ``principal``. Set by what authenticates; an empty
        string for a recognised caller without a name.
    :ivar exposed: the response fields beyond a plan's own that pages of other origins may read.
    :ivar outgoing: called with the response as it goes out, after every ``after_request`` hook: a ``leave`` that has to
        see that, and not only what the policies made of it, adds to it.
    :ivar kept: the values of :class:`Slot`.
    """

    __slots__ = (
        "context",
        "denial",
        "entered",
        "exposed",
        "identities",
        "kept",
        "left",
        "method",
        "outgoing",
        "plan",
        "request",
        "rule",
        "started",
        "state",
        "would_deny",
    )

    def __init__(
        self, state: AppState, plan: Steps, request: Request, rule: Rule | None, context: object, method: str
    ) -> None:
        self.state: AppState = state
        self.plan: Steps = plan
        self.request: Request = request
        self.rule: Rule | None = rule
        self.context: object = context
        self.method: str = method
        self.started: float = perf_counter()
        self.entered: bool = False
        self.left: bool = False
        self.denial: Denied | None = None
        self.would_deny: tuple[Denied, ...] = ()
        self.identities: dict[str, str] = {}
        self.exposed: tuple[str, ...] = ()
        self.outgoing: tuple[Callable[[Run, Response], None], ...] = ()
        self.kept: dict[Slot[Any], Any] = {}

    @property
    def rehearsal(self) -> bool:
        """Return whether the request is only rehearsed: nothing may be counted, noted, sent or logged for it."""
        return self.state.rehearses is not None


class Slot(Generic[T]):
    """A place in every run for a value of one concern. Declared once, at module level.

    ::

        OUTCOME: Slot[Outcome] = Slot("log_timing.outcome")
        OUTCOME.put(run, Outcome())
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name: str = name

    def get(self, run: Run) -> T | None:
        """Return the value, or None."""
        value: T | None = run.kept.get(self)
        return value

    def put(self, run: Run, value: T) -> None:
        """Set the value."""
        run.kept[self] = value

    def take(self, run: Run) -> T | None:
        """Return the value, or None, and forget it."""
        return cast("T | None", run.kept.pop(self, None))

    def made(self, run: Run, make: Callable[[], T]) -> T:
        """Return the value, which is `make()` at the first call."""
        value: T | None = run.kept.get(self)
        if value is None:
            value = run.kept[self] = make()
        return value

    def __repr__(self) -> str:
        return f"Slot({self.name!r})"


def run_of(request: Request) -> Run | None:
    """Return the run of `request`, or None if no Guard has seen it."""
    found: Any = request.__dict__.get(ATTRIBUTE)
    return found if found is None or type(found) is Run else _late_run(*found)


def current_run() -> Run | None:
    """Return the run of the current request, or None outside a guarded request."""
    try:
        request = this_request._get_current_object()
    except RuntimeError:
        return None
    return run_of(request)


def _late_run(context: Any, plan: Steps, rule: Rule | None, method: str) -> Run:
    """Return the run of a request with a quiet plan, now that somebody asks for it."""
    request = context.request
    run = request.__dict__[ATTRIBUTE] = Run(AppState.of(context.app), plan, request, rule, context, method)
    run.entered = True
    return run


class Current(LocalProxy[Any]):
    """Stands for the value of a slot in the current request; false without one.

    :param name: the name of the variable that holds this, for messages.
    :param kind: the kind of policy that fills the slot.
    """

    __slots__ = ("_kind", "_name")

    def __init__(self, name: str, kind: str, slot: Slot[Any]) -> None:
        def current() -> Any:
            run = current_run()
            if run is None:
                raise RuntimeError(f"{name} is only available while a guarded request is handled")
            return slot.get(run)

        super().__init__(current)
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_kind", kind)

    def __getattr__(self, attribute: str) -> Any:
        value = self._get_current_object()
        if value is None:
            raise AttributeError(f"{self._name}.{attribute}: {self._name} is None, because {self._why_none()}")
        return getattr(value, attribute)

    def _why_none(self) -> str:
        run: Run | None = current_run()
        policies = getattr(run.plan, "policies", ()) if run is not None else ()
        if not any(each.policy.kind == self._kind for each in policies):
            return f"no {self._kind} guards this request. Put @{self._kind} on the view, its blueprint or the app"
        return f"the request presented nothing, or {self._kind} has not run yet. Write 'if {self._name}:' first"


__all__ = ["Current", "Enter", "Leave", "Run", "Slot", "Steps", "Teardown", "current_run", "run_of", "this_request"]
