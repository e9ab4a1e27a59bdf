"""What limits, concurrency limits and bans have in common: they ask one storage, together, in one step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, get_args

from ..core.policy import DenyingPolicy, Phase, Placed, Scope, Step
from ..core.request_run import Enter, Leave, Teardown
from ..errors import ConfigError
from ..support.callables import takes_request
from ..support.text import did_you_mean, names
from ..typing import Response
from .charge import Take, charging_once, release_now, release_when_sent, take_leases, take_or_deny
from .concern import OnStoreError
from .deployment_warnings import Cautions
from .fields import field_names_in, field_writer
from .identity import By, check_by, phase_of
from .storage import Backend, Charge, Counter

if TYPE_CHECKING:
    from ..core.app_state import AppState
    from ..core.policy import Target
    from ..core.request_run import Run

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@dataclass(frozen=True, slots=True)
class Meter:
    """One metered policy at one place, compiled.

    :ivar charge: adds what a request is charged.
    :ivar leave: acts on the response.
    :ivar leases: whether what is charged is to be given back.
    """

    charge: Callable[[Run, list[Charge]], None]
    leave: Leave | None = None
    leases: bool = False


@dataclass(frozen=True, kw_only=True, repr=False)
class Metered(DenyingPolicy, abstract=True):
    """A policy that asks the limit storage. Neighbours of its sort are compiled into one step, and one call."""

    __slots__ = ()

    joins: ClassVar[Hashable | None] = "metered"

    by: By = "address"
    shared: str | None = None
    methods: frozenset[str] | None = None
    when: Callable[..., object] | None = None
    on_store_error: OnStoreError | None = None

    def __post_init__(self) -> None:
        check_by(self.by, f"{self.kind}(by=…)")
        if self.shared is not None and not (isinstance(self.shared, str) and _is_name(self.shared)):
            raise ConfigError(f"{self.kind}(shared=…) must be a name such as 'exports', not {self.shared!r}")
        if self.when is not None and not callable(self.when):
            raise ConfigError(f"{self.kind}(when=…) must be a callable, not {self.when!r}")
        if self.when is not None:
            takes_request(self.when, f"{self.kind}(when=…)")
        if self.methods is not None:
            object.__setattr__(self, "methods", _methods(self.methods, self.kind))
        if self.on_store_error not in (None, *get_args(OnStoreError)):
            choices = names(get_args(OnStoreError))
            raise ConfigError(f"{self.kind}(on_store_error=…) must be one of {choices}, not {self.on_store_error!r}")
        DenyingPolicy.__post_init__(self)

    @property
    def phase(self) -> Phase:  # type: ignore[override]  # it depends on an option
        return phase_of(self.by)

    @property
    def keeps(self) -> bool:
        return self.shared is not None

    def exposes(self, state: AppState) -> tuple[str, ...]:
        return field_names_in(state)

    def applies(self, target: Target, scope: Scope) -> bool:
        if target.preflight or target.automatic or not self._counts(target):
            return False
        return self.shared is not None or not (scope.kind == "app" and _is_flasks_static_view(target))

    def _counts(self, target: Target) -> bool:
        return self.methods is None or not self.methods.isdisjoint((target.counted_method, target.method))

    def meter(self, target: Target, placed: Placed, backend: Backend) -> Meter:
        """Return its meter for `target`."""
        raise NotImplementedError

    def compile_joined(self, target: Target, group: tuple[Placed, ...]) -> Step:
        backend = target.state.service(Backend)
        if not backend.enabled:
            return Step()
        metered = [(each.policy, each) for each in group if isinstance(each.policy, Metered)]
        shared = [policy.shared for policy, _ in metered if policy.shared]
        take = charging_once if len(set(shared)) < len(shared) else take_or_deny
        return _step([policy.meter(target, each, backend) for policy, each in metered], backend, target.state, take)

    def own_scope(self, target: Target, placed: Placed) -> str:
        """Return the name of its budget for `target`: shared by all that names it, or the endpoint's own."""
        if self.shared:
            return f"shared:{self.shared}"
        own = (
            f"view:{target.endpoint.replace('#', '%23')}"
            if target.endpoint is not None
            else f"404:{target.blueprint or ''}"
        )
        if placed.place.kind == "method":
            own += f":{target.counted_method}"
        return f"{own}#{placed.ordinal}" if placed.ordinal else own


def _is_flasks_static_view(target: Target) -> bool:
    """Return whether Flask itself serves the endpoint, from the static folder of the app or of a blueprint."""
    owner, _, name = (target.endpoint or "").rpartition(".")
    scaffold = target.app.blueprints.get(owner) if owner else target.app
    return name == "static" and scaffold is not None and scaffold.has_static_folder


def _step(meters: list[Meter], backend: Backend, state: AppState, take: Take) -> Step:
    """Return what all meters of a group do, in one call of the storage."""
    leaves: list[Leave] = [meter.leave for meter in meters if meter.leave]
    teardown: Teardown | None = None
    leases = any(meter.leases for meter in meters)
    enter = _enter(meters, backend.counter, state, partial(take_leases, take=take) if leases else take)
    if leases:
        leaves.append(release_when_sent)
        teardown = release_now
    write = state.service(field_writer)

    def leave(run: Run, response: Response) -> None:
        for act in leaves:
            act(run, response)
        write(run, response)

    return Step(enter, leave if leaves else write, teardown)


def _enter(meters: list[Meter], counter: Counter, state: AppState, take: Take) -> Enter:
    charging = [meter.charge for meter in meters]
    cautions = state.service(Cautions)

    def enter(run: Run) -> None:
        charges: list[Charge] = []
        for charge in charging:
            charge(run, charges)
        if charges:
            if cautions.watching:
                cautions.look(run.request)
            take(run, counter, charges)

    return enter


# Options ----------------------------------------------------------------------------------------------------------


def _is_name(text: str) -> bool:
    return text.isascii() and text[:1].isalpha() and text.replace("_", "").replace("-", "").isalnum()


def _methods(methods: Iterable[str], kind: str) -> frozenset[str]:
    listed = (methods,) if isinstance(methods, str) else tuple(methods)
    if not listed or not all(isinstance(method, str) and method.isalpha() for method in listed):
        raise ConfigError(f"{kind}(methods=…) must list HTTP methods such as ['POST'], not {methods!r}")
    for method in listed:
        if method.upper() not in METHODS and (hint := did_you_mean(method.upper(), METHODS)):
            raise ConfigError(f"{kind}(methods=…): {method!r} is not a method{hint}")
    return frozenset(method.upper() for method in listed)
