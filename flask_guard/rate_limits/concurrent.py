"""`limit.concurrent`: the number of requests of a client that may be at work at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, overload

from ..core.policy import Policy
from ..errors import ConfigError
from ..support import options as check
from ..support.options import option
from ..support.orders import irrelevant, larger_is_stronger, smaller_is_stronger
from .in_view import LimitStatus, enter_block, leave_block
from .metered import Meter, Metered
from .storage import Backend, Charge, concurrency_budget

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..core.app_state import AppState
    from ..core.request_run import Run
    from ..typing import Mode, TargetT
    from .identity import By
    from .settings import OnStoreError


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConcurrencyLimit(Metered):
    """Limits the number of requests of a client that may be at work at once: ``limit.concurrent(5)``.

    A request holds its place until its response has been sent and closed, or, if its body is complete, until the app
    is done with it. Past the limit the answer is a 429. Counted in memory, SQLite or Redis.

    Inside a view, ``with limit.concurrent(2, shared="reports"):`` holds a place for the block.
    """

    kind: ClassVar[str] = "limit.concurrent"
    in_a_view: ClassVar[str] = "'with limit.concurrent(…):'"

    amount: int | None = option(None, check.optional(check.whole_number(1)), smaller_is_stronger)
    lease: int = option(60, check.whole_number(1, "seconds"), larger_is_stronger)
    headers: bool = option(True, check.flag, irrelevant)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        amount: int | None = None,
        *,
        by: By = "address",
        shared: str | None = None,
        methods: Iterable[str] | None = None,
        when: Callable[..., object] | None = None,
        lease: int = 60,
        on_store_error: OnStoreError | None = None,
        headers: bool = True,
        mode: Mode | None = None,
    ) -> ConcurrencyLimit: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param amount: the number of requests.
        :param by: the identity that is counted, as for :data:`limit`.
        :param shared: a name: everything under this limit draws on one budget. None: each endpoint has its own.
        :param methods: the methods that are counted; by default all.
        :param when: a callable; requests for which it returns false are not limited.
        :param lease: seconds after which a place is free again although it was not given back, because a worker died:
            the longest that a request may take.
        :param on_store_error: the treatment of requests while the storage is unreachable, as for :data:`limit`.
        :param headers: whether to send the RateLimit fields (with ``qu="concurrent-requests"``).
        :param mode: ``"report"`` to log denials instead of denying.
        :raises ConfigError: for invalid options, and for a storage that has no leases.
        """
        return Policy.__call__(self, *args, **options)

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
            backend.check_own(self.kind)

    def names(self) -> list[str]:
        return [f"{self.shared}-{self.amount}-at-once" if self.shared else f"{self.amount}-at-once"]

    def meter(self, scope: str, names: list[str], backend: Backend) -> Meter:
        self.check_target(None)
        backend.check_own(self.kind)
        budget = replace(
            concurrency_budget(self.amount or 0, self.lease, backend.key_prefix + scope),
            name=names[0],
            shown=self.headers,
            on_error=self.on_store_error or backend.on_store_error,
        )
        client_of = self.client_finder()

        def charge(run: Run, charges: list[Charge]) -> None:
            client = client_of(run)
            if client is not None:
                charges.append((budget, client, 1, 1))

        return Meter(charge, leases=True)

    def __enter__(self) -> LimitStatus:
        """Take a place.

        :raises LimitExceeded: if there is none.
        """
        return enter_block(self)

    def __exit__(self, *_error: object) -> None:
        """Give the place back."""
        leave_block(self)
