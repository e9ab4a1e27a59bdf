"""The common part of limits, concurrency limits and bans: they ask one storage, together, in one step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias

from ..core.app_state import AppState
from ..core.denials import Denied
from ..core.described import Documented
from ..core.plan_lookup import METHODS
from ..core.policy import DenyingPolicy, Phase, Placed, Scope, Step, Target
from ..core.request_run import Enter, Leave, Run, Teardown
from ..core.views import is_static_view
from ..errors import ConfigError
from ..support import options as check
from ..support.callables import of_request, takes_request
from ..support.options import option
from ..support.orders import more_is_stronger, none_strongest, none_weakest, ranked, unordered
from ..support.text import did_you_mean
from ..typing import Purpose, Response
from .charge import Take, drawer, take_added_up, take_or_deny
from .deployment_warnings import Cautions
from .fields import FIELD_TEXTS, field_names_in, field_writer
from .identity import By, Identify, check_by, identifier, phase_of
from .leases import release_now, release_when_sent, take_leases
from .settings import ON_STORE_ERROR, OnStoreError
from .storage import Backend, Budget, Charge, Counter, drawing

ClientOf: TypeAlias = "Callable[[Run], str | None]"
"""Identifies the client of a request; returns None for a request that is not charged."""


@dataclass(frozen=True, slots=True)
class FixedCharge:
    """A charge that is the same for each request but for the client: the usual case."""

    budget: Budget
    client_of: ClientOf
    cost: int


@dataclass(frozen=True, slots=True)
class Meter:
    """One metered policy at one place, compiled.

    :ivar charge: adds the charges of a request.
    :ivar leave: acts on the response.
    :ivar leases: whether the charges are leases, to be given back.
    :ivar alone: the charge, if it is the only one and fixed.
    :ivar batched: whether workers take batches of its budgets.
    """

    charge: Callable[[Run, list[Charge]], None]
    leave: Leave | None = None
    leases: bool = False
    alone: FixedCharge | None = None
    batched: bool = False

    def counter(self, backend: Backend) -> Counter:
        """Return what counts its charges."""
        return backend.batched if self.batched else backend.counter


def _name(value: object, what: str) -> str:
    """Check for a name of a budget."""
    if not (isinstance(value, str) and value.isascii() and value[:1].isalpha()) or not (
        value.replace("_", "").replace("-", "").isalnum()
    ):
        raise ConfigError(f"{what} must be a name such as 'exports', not {value!r}")
    return value


def _methods(methods: str | Iterable[str], what: str) -> frozenset[str]:
    """Check for HTTP methods."""
    listed = check.listed(methods)
    if not listed or not all(isinstance(method, str) and method.isalpha() for method in listed):
        raise ConfigError(f"{what} must list HTTP methods such as ['POST'], not {methods!r}")
    for method in listed:
        if method.upper() not in METHODS and (hint := did_you_mean(method.upper(), METHODS)):
            raise ConfigError(f"{what}: {method!r} is not a method{hint}")
    return frozenset(method.upper() for method in listed)


@dataclass(frozen=True, kw_only=True, repr=False)
class Metered(DenyingPolicy, abstract=True):
    """A policy that asks the limit storage. Neighbours of its sort are compiled into one step, and one call."""

    __slots__ = ()

    joins: ClassVar[Hashable | None] = "metered"
    repeatable: ClassVar[bool] = True

    by: By = option("address", check_by)
    shared: str | None = option(None, check.optional(_name), none_weakest(unordered))
    methods: frozenset[str] | None = option(None, check.optional(_methods), none_strongest(more_is_stronger))
    when: Callable[..., object] | None = option(None, check.optional(of_request), none_strongest(unordered))
    on_store_error: OnStoreError | None = option(
        None, check.optional(check.one_of("local", "allow", "deny")), ranked("allow", "local", "deny")
    )

    @property
    def phase(self) -> Phase:  # type: ignore[override]  # it depends on an option
        return phase_of(self.by)

    @property
    def keeps(self) -> bool:
        return self.shared is not None

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        return ("limit",)

    def exposes(self, state: AppState) -> tuple[str, ...]:
        return field_names_in(state)

    def hint(self, option: str) -> str:
        return _HINTS.get(option, "")

    def applies(self, target: Target, scope: Scope) -> bool:
        if target.preflight or target.automatic or not self.counts(target):
            return False
        return self.shared is not None or not (
            scope.kind == "app" and is_static_view(target.app, target.endpoint or "")
        )

    def counts(self, target: Target) -> bool:
        """Return whether the method of `target` is counted."""
        return self.methods is None or not self.methods.isdisjoint((target.counted_method, target.method))

    def remedy(self, denial: Denied) -> str:
        if denial.reason == "store":
            return (
                "Start the storage of the limits, or mend RATELIMIT_STORAGE_URI. on_store_error='local' does without."
            )
        wait = dict(denial.headers).get("Retry-After", "some")
        if denial.reason == "banned":
            return f"Wait {wait} s, or lift the ban: flask guard bans lift --key CLIENT."
        free = "until a request of the client ends" if self.kind == "limit.concurrent" else f"{wait} s"
        return f"Wait {free}, raise the limit, or clear what is counted: flask guard limits reset --key CLIENT."

    def scope(self, target: Target, placed: Placed) -> str:
        """Return the name of its budget for `target`: shared by all that names it, or the endpoint's own."""
        if self.shared:
            return f"shared:{self.shared}"
        if target.endpoint is None:
            own = f"404:{target.blueprint or ''}"
        else:
            own = f"view:{target.endpoint.replace('#', '%23')}"
        if placed.place.kind == "method":
            own += f":{target.counted_method}"
        return f"{own}#{placed.ordinal}" if placed.ordinal else own

    def documented(self, state: AppState) -> Documented:
        if not state.service(Backend).enabled:
            return Documented()
        default: OnStoreError = state.config[ON_STORE_ERROR]
        statuses = (429, 503) if (self.on_store_error or default) == "deny" else (429,)
        shown = field_names_in(state) if getattr(self, "headers", False) else ()
        fields = {name: FIELD_TEXTS.get(name, "Where the client stands.") for name in shown if name != "Retry-After"}
        return Documented(statuses=statuses, fields=fields)

    def plain_options_in(self, state: AppState) -> dict[str, Any]:
        default: OnStoreError = state.config[ON_STORE_ERROR]
        options = DenyingPolicy.plain_options_in(self, state)
        mode = options["mode"] if state.service(Backend).enabled else "off"
        return {**options, "on_store_error": self.on_store_error or default, "mode": mode}

    @classmethod
    def default_options(cls) -> dict[str, Any]:
        return {**super().default_options(), "on_store_error": ON_STORE_ERROR.default}

    def check_inline(self) -> None:
        """Raise ConfigError if it cannot be used inside a view."""
        self.check_target(None)

    def names(self) -> list[str]:
        """Return the names of its budgets in the RateLimit fields."""
        return []

    def meter(self, scope: str, names: list[str], backend: Backend) -> Meter:
        """Return its meter.

        :param scope: the name of its budget.
        :param names: as `names`, made distinct from those of other limits in force there.
        """
        raise NotImplementedError

    def client_finder(self) -> ClientOf:
        """Return the function that identifies the client of a request, or returns None where ``when`` says so."""
        identify: Identify = identifier(self.by, f"{self.kind}(by=…)")
        if self.when is None:
            return identify
        applies = takes_request(self.when, f"{self.kind}(when=…)")
        return lambda run: identify(run) if applies(run.request) else None

    def compile_joined(self, target: Target, group: tuple[Placed, ...]) -> Step:
        backend = target.state.service(Backend)
        if not backend.enabled:
            return Step()
        meters, shared = [], []
        for each in group:
            policy = each.policy
            assert isinstance(policy, Metered)  # noqa: S101  # only these join
            meters.append(policy.meter(policy.scope(target, each), _distinct_names(policy, each), backend))
            shared.append(policy.shared)
        named = [name for name in shared if name]
        return _step(meters, backend, target.state, take_added_up if len(set(named)) < len(named) else take_or_deny)


def _distinct_names(policy: Metered, placed: Placed) -> list[str]:
    """Return the names of its budgets, with a number where an earlier limit has the same name."""
    taken = [name for each in placed.earlier if isinstance(each, Metered) for name in each.names()]
    distinct = []
    for name in policy.names():
        taken.append(name)
        count = taken.count(name)
        distinct.append(f"{name}-{count}" if count > 1 else name)
    return distinct


def _step(meters: list[Meter], backend: Backend, state: AppState, take: Take) -> Step:
    """Return the step of a group of meters, with one call of the storage."""
    leaves: list[Leave] = [meter.leave for meter in meters if meter.leave]
    teardown: Teardown | None = None
    if any(meter.leases for meter in meters):
        take = partial(take_leases, take=take)
        leaves.append(release_when_sent)
        teardown = release_now
    write = state.service(field_writer)

    def leave(run: Run, response: Response) -> None:
        for act in leaves:
            act(run, response)
        write(run, response)

    counter = backend.batched if any(meter.batched for meter in meters) else backend.counter
    alone = meters[0].alone if len(meters) == 1 else None
    enter = _enter_alone(alone, counter, state) if alone else _enter(meters, counter, state, take)
    return Step(enter, leave if leaves else write, teardown)


def _enter_alone(charge: FixedCharge, counter: Counter, state: AppState) -> Enter:
    client_of, cautions = charge.client_of, state.service(Cautions)
    draw_or_deny = drawer(drawing(counter, charge.budget, charge.cost), charge.budget, charge.cost)

    def enter(run: Run) -> None:
        client = client_of(run)
        if client is not None:
            if cautions.watching:
                cautions.look(run.request)
            draw_or_deny(run, client)

    return enter


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


_HINTS = {
    "key_func": ". Write by=, with a callable or 'address', 'api_key' or 'principal'",
    "exempt_when": ". Write when=, which says the opposite: the requests that count",
    "scope": ". Write shared=, with a name",
    "scope_func": ". Write shared=, with a name, or by=, with a callable",
    "per_method": ". Write a limit on each method of a MethodView, or one for each of methods=",
    "error_message": ". Write an @app.errorhandler(429)",
    "on_breach": ". Write an @app.errorhandler(429), or connect to the signal request_denied",
    "override_defaults": ". Leave it out: the nearest limit replaces outer ones, but for shared= ones",
    "strategy": ". Write algorithm=",
    "limit_value": ". Write the rate first: limit('10/minute')",
    "meta_limits": ". Write a ban, which denies everything for a while: @ban(after='3/hour', on=429)",
    "key_prefix": ". Set RATELIMIT_KEY_PREFIX in the app's configuration",
    "storage_uri": ". Set RATELIMIT_STORAGE_URI in the app's configuration",
}
"""Options of Flask-Limiter, and what to write in their place."""
