"""`limit.concurrent`: how many requests of a client may be at work at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

from ..core.policy import Placed
from ..errors import ConfigError
from ..support.callables import takes_request
from .identity import identifier
from .in_view import LimitStatus, enter_block, leave_block
from .metered import Meter, Metered
from .storage import Backend, Charge, concurrency_budget

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..core.app_state import AppState
    from ..core.policy import Target
    from ..core.request_run import Run
    from ..typing import Mode, TargetT
    from .concern import OnStoreError
    from .identity import By


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConcurrencyLimit(Metered):
    """Limits how many requests of a client may be at work at once: ``limit.concurrent(5)``.

    A request holds its place until its response has been sent and closed, or, if its body is complete, until the app
    is done with it. Past the limit the answer is a 429. Counted in memory, SQLite or Redis.

    Inside a view, ``with limit.concurrent(2, shared="reports"):`` holds a place for the block.

    :param amount: how many.
    :param by: as for :class:`Limit`.
    :param shared: as for :class:`Limit`.
    :param methods: the methods that are counted; by default all.
    :param when: a callable; requests for which it returns false are not limited.
    :param lease: seconds after which a place is free again although nobody gave it back, because a worker died: the
        longest that a request may take.
    :param on_store_error: as for :class:`Limit`.
    :param headers: whether to send the RateLimit fields (with ``qu="concurrent-requests"``).
    :param mode: ``"report"`` to log what would be denied instead of denying it.
    :raises ConfigError: for options that cannot be meant, and for a storage that cannot count this.
    """

    kind: ClassVar[str] = "limit.concurrent"
    repeatable: ClassVar[bool] = True

    amount: int | None = None
    lease: int = 60
    headers: bool = True

    if TYPE_CHECKING:

        @overload
        def __call__(self, target: TargetT, /) -> TargetT: ...
        @overload
        def __call__(
            self,
            amount: int = ...,
            *,
            by: By = ...,
            shared: str | None = ...,
            methods: Iterable[str] | None = ...,
            when: Callable[..., object] | None = ...,
            lease: int = ...,
            on_store_error: OnStoreError | None = ...,
            headers: bool = ...,
            mode: Mode | None = ...,
        ) -> ConcurrencyLimit: ...
        def __call__(self, *args: Any, **options: Any) -> Any: ...

    def __post_init__(self) -> None:
        for option, value in (("amount", self.amount), ("lease", self.lease)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ConfigError(f"limit.concurrent({option}=…) must be a whole number of at least 1, not {value!r}")
        if self.lease is None:
            raise ConfigError("limit.concurrent(lease=…) must be seconds, not None")
        if not isinstance(self.headers, bool):
            raise ConfigError(f"limit.concurrent(headers=…) must be True or False, not {self.headers!r}")
        Metered.__post_init__(self)

    def refine(self, *args: Any, **options: Any) -> Self:
        if len(args) == 1:
            return super(ConcurrencyLimit, self).refine(amount=args[0], **options)
        return super(ConcurrencyLimit, self).refine(*args, **options)

    def check_target(self, target: object) -> None:
        if self.amount is None:
            raise ConfigError("limit.concurrent needs a number: @limit.concurrent(5)")

    def check_app(self, state: AppState) -> None:
        backend = state.service(Backend)
        if backend.enabled:
            backend.check_leases()

    def meter(self, target: Target, placed: Placed, backend: Backend) -> Meter:
        before = [each.field_name for each in placed.earlier if isinstance(each, ConcurrencyLimit)].count(
            self.field_name
        )
        return self._meter(self.own_scope(target, placed), f"{self.field_name}-{before + 1}" if before else "", backend)

    def meter_in(self, scope: str, backend: Backend) -> Meter:
        """Return what it does inside a view."""
        return self._meter(scope, "", backend)

    @property
    def field_name(self) -> str:
        """Return what the RateLimit fields call it, unless another one in force there has the name."""
        return f"{self.shared}-{self.amount}-at-once" if self.shared else f"{self.amount}-at-once"

    def _meter(self, scope: str, name: str, backend: Backend) -> Meter:
        self.check_target(None)
        backend.check_leases()
        amount = self.amount or 0
        budget = concurrency_budget(
            amount,
            self.lease,
            f"{backend.key_prefix}{scope}",
            name=name or self.field_name,
            shown=self.headers,
            on_error=self.on_store_error or backend.on_store_error,
        )
        identify = identifier(self.by, "limit.concurrent(by=…)")
        applies = takes_request(self.when, "limit.concurrent(when=…)") if self.when else None

        def charge(run: Run, charges: list[Charge]) -> None:
            if applies is None or applies(run.request):
                charges.append((budget, identify(run), 1, 1))

        return Meter(charge, leases=True)

    def check_inline(self) -> None:
        """Raise ConfigError if it cannot be used inside a view."""
        self.check_target(None)

    def __enter__(self) -> LimitStatus:
        """Take a place.

        :raises LimitExceeded: if there is none.
        """
        return enter_block(self)

    def __exit__(self, *_error: object) -> None:
        """Give the place back."""
        leave_block(self)
