"""What limits, concurrency limits and bans have in common: they ask one storage, together, in one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, get_args

from ..core.denials import names
from ..core.policy import DenyingPolicy, Phase, Step
from ..errors import ConfigError, did_you_mean
from ..support.callables import takes_request
from ..typing import Enter, Leave, OnStoreError, Response, Teardown
from .charge import Take, charging_once, release_now, release_when_sent, take_leases, take_or_deny
from .deployment_warnings import Cautions
from .fields import check_field_names, field_writer
from .identity import By, check_by, phase_of
from .storage import Backend, Charge, Counter, check_storage

if TYPE_CHECKING:
    from ..core.app_state import AppState
    from ..core.plan import Place
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
class Metered(DenyingPolicy):
    """A policy that asks the limit storage. Neighbours of its sort are compiled into one step, and one call."""

    __slots__ = ()

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
    def phase(self) -> Phase:
        return phase_of(self.by)

    @property
    def joins(self) -> str:
        return "metered"

    @property
    def keeps(self) -> bool:
        return self.shared is not None

    def applies(self, place: Place) -> bool:
        if place.preflight or place.automatic:
            return False
        method = "GET" if place.method == "HEAD" else place.method
        if self.methods is not None and self.methods.isdisjoint((method, place.method)):
            return False
        is_static = place.endpoint is not None and place.endpoint.rpartition(".")[2] == "static"
        return self.shared is not None or not (is_static and place.scope.kind == "app")

    @classmethod
    def check_config(cls, state: AppState) -> None:
        check_storage(state.app)
        check_field_names(state)

    def meter(self, place: Place, backend: Backend) -> Meter:
        """Return what it does at `place`."""
        raise NotImplementedError

    def compile(self, place: Place) -> Step:
        backend = place.state.service(Backend)
        if not backend.enabled:
            return Step()
        group = [(self, place), *place.neighbours]
        metered = [(policy, at) for policy, at in group if isinstance(policy, Metered)]
        shared = [policy.shared for policy, _ in metered if policy.shared]
        take = charging_once if len(set(shared)) < len(shared) else take_or_deny
        return _step([policy.meter(at, backend) for policy, at in metered], backend, place.state, take)

    def own_scope(self, place: Place) -> str:
        """Return the name of its budget at `place`: shared by all that names it, or the endpoint's own."""
        if self.shared:
            return f"shared:{self.shared}"
        own = (
            f"view:{place.endpoint.replace('#', '%23')}"
            if place.endpoint is not None
            else f"404:{place.blueprint or ''}"
        )
        if place.scope.kind == "method":
            own += f":{'GET' if place.method == 'HEAD' else place.method}"
        return f"{own}#{place.ordinal}" if place.ordinal else own


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
