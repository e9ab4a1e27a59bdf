"""`ban`: who is denied often is denied everything for a while."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, overload

from werkzeug.exceptions import HTTPException

from ..core.flask_versions import current_flask
from ..core.policy import Placed, Scope
from ..core.request_run import Leave, Slot
from ..errors import ConfigError
from ..signals import client_banned
from ..support.addresses import Network, lies_in, networks
from ..support.callables import takes_request
from ..support.durations import seconds_of
from ..support.text import printable
from ..typing import Response
from .identity import identifier
from .metered import Meter, Metered
from .storage import Backend, Budget, Charge, StoreDown, ban_budget, parse_rates, rate_budget

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..core.policy import Target
    from ..core.request_run import Run
    from ..typing import Mode, TargetT
    from .concern import OnStoreError
    from .identity import By

log: logging.Logger = logging.getLogger("flask_guard")

Allow: TypeAlias = "Iterable[str] | Callable[..., object]"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ban(Metered):
    """Bans who is denied often: ``ban(after="5/minute", on=[429, 401], lasting="1h")``.

    Each response with one of the statuses `on` counts against the client. Who uses `after` up is denied everything
    under the scope of the ban, with a 429 (``abnormal-usage-detected``) and ``Retry-After``, until it has lasted; what
    is denied by the ban itself does not count. Kept where limits are counted, and asked for together with them.
    A ban stays in force whatever bans are nearer. ``flask guard bans`` lists and lifts them.

    :param after: how many such responses in which time, such as ``"5/minute"``.
    :param on: the statuses that count.
    :param by: who is banned, as for :class:`Limit`.
    :param lasting: for how long: seconds, a timedelta, or a span such as ``"1h"`` or ``"1d12h"``.
    :param allow: who is never banned: addresses and networks, or a callable that returns true for them.
    :param shared: a name: scopes that have it share their bans.
    :param methods: the methods to which it applies; by default all.
    :param when: a callable; it applies to requests for which that returns true.
    :param on_store_error: as for :class:`Limit`.
    :param mode: ``"report"`` to log what would be denied instead of denying it.
    :raises ConfigError: for options that cannot be meant.
    """

    kind: ClassVar[str] = "ban"
    repeatable: ClassVar[bool] = True

    after: str = ""
    on: frozenset[int] = frozenset((429, 401, 403))
    lasting: int = 3600
    allow: tuple[Network, ...] | Callable[..., object] = ()

    if TYPE_CHECKING:

        @overload
        def __call__(self, target: TargetT, /) -> TargetT: ...
        @overload
        def __call__(
            self,
            *,
            after: str = ...,
            on: int | Iterable[int] = ...,
            by: By = ...,
            lasting: int | str | timedelta = ...,
            allow: Allow = ...,
            shared: str | None = ...,
            methods: Iterable[str] | None = ...,
            when: Callable[..., object] | None = ...,
            on_store_error: OnStoreError | None = ...,
            mode: Mode | None = ...,
        ) -> Ban: ...
        def __call__(self, *args: Any, **options: Any) -> Any: ...

    def __post_init__(self) -> None:
        if self.after:
            parse_rates(self.after, "ban(after=…)")
        object.__setattr__(self, "on", _statuses(self.on))
        object.__setattr__(self, "lasting", seconds_of(self.lasting, "ban(lasting=…)"))
        if callable(self.allow):
            takes_request(self.allow, "ban(allow=…)")
        else:
            object.__setattr__(self, "allow", networks(self.allow, "ban(allow=…)"))
        Metered.__post_init__(self)

    @property
    def keeps(self) -> bool:
        return True

    def applies(self, target: Target, scope: Scope) -> bool:
        return not target.preflight and self._counts(target)

    def check_target(self, target: object) -> None:
        if not self.after:
            raise ConfigError("ban needs to know after what: @ban(after='5/minute', on=[429, 401], lasting='1h')")

    def refine(self, *args: Any, **options: Any) -> Self:
        return super(Ban, self).refine(*args, **options)

    def meter(self, target: Target, placed: Placed, backend: Backend) -> Meter:
        self.check_target(None)
        scope = f"{backend.key_prefix}ban:{self.shared or self._scope(target, placed)}"
        on_error = self.on_store_error or backend.on_store_error
        banned = ban_budget(self.lasting, scope, on_error=on_error)
        algorithm = backend.algorithm(None)
        strikes = [
            rate_budget(item, scope, algorithm, shown=False, on_error="allow" if on_error == "allow" else "local")
            for item in dict.fromkeys(parse_rates(self.after, "ban(after=…)"))
        ]
        identify = identifier(self.by, "ban(by=…)")
        concerns = self._concerned()

        def charge(run: Run, charges: list[Charge]) -> None:
            client = identify(run) if concerns(run) else None
            _CLIENTS.made(run, dict)[banned] = client
            if client is not None:
                charges.append((banned, client, 1, 0))

        return Meter(charge, self._striking(banned, strikes, identify, concerns, backend))

    def _scope(self, target: Target, placed: Placed) -> str:
        name = f"{placed.place.kind}:{placed.place.name}"
        if placed.place.kind == "method":
            name = f"method:{placed.place.name.rpartition('.')[0]}.{target.counted_method.lower()}"
        return f"{name}#{placed.ordinal}" if placed.ordinal else name

    def _striking(
        self,
        banned: Budget,
        strikes: list[Budget],
        identify: Callable[[Run], str],
        concerns: Callable[[Run], bool],
        backend: Backend,
    ) -> Leave:
        statuses = self.on

        def leave(run: Run, response: Response) -> None:
            if response.status_code not in statuses or (run.denial is not None and run.denial.policy == Ban.kind):
                return
            client = _client_of(run, banned, identify, concerns)
            if client is not None and _used_up(strikes, banned, client, backend):
                backend.counter.ban(banned, client)
                for strike in strikes:  # else the first one after the ban could be the last before the next
                    backend.counter.clear(strike, client)
                self._say(run, banned, client)

        return leave

    def _say(self, run: Run, banned: Budget, identity: str) -> None:
        log.warning("%s is banned from %s for %s s", printable(identity), banned.scope, self.lasting)
        app = current_flask()
        client_banned.send(app, identity=identity, seconds=self.lasting, request=run.request)

    def _concerned(self) -> Callable[[Run], bool]:
        applies = takes_request(self.when, "ban(when=…)") if self.when else None
        allowed = takes_request(self.allow, "ban(allow=…)") if callable(self.allow) else None
        exempt = () if callable(self.allow) else self.allow

        def concerns(run: Run) -> bool:
            if applies is not None and not applies(run.request):
                return False
            if allowed is not None:
                return not allowed(run.request)
            return not exempt or not lies_in(run.request.remote_addr, exempt)

        return concerns


_CLIENTS: Slot[dict[Budget, str | None]] = Slot("ban.clients")
"""For each ban, the client that it concerns."""


def _client_of(run: Run, banned: Budget, identify: Callable[[Run], str], concerns: Callable[[Run], bool]) -> str | None:
    """Return whom the ban concerns; None if nobody, or nobody who can be told."""
    known = _CLIENTS.get(run) or {}
    if banned in known:
        return known[banned]
    try:  # the request was answered before the ban was asked
        return identify(run) if concerns(run) else None
    except HTTPException:
        return None
    except Exception:  # the response is finished, and must not be lost
        log.exception("it cannot be told whom a ban concerns: the response does not count")
        return None


def _used_up(strikes: list[Budget], banned: Budget, client: str, backend: Backend) -> bool:
    """Count a response, and return whether that was the last before a ban. Who is banned already is not banned anew."""
    charges: list[Charge] = [(strike, client, 0, 1) for strike in strikes]
    try:
        _, standings = backend.counter.take([*charges, (banned, client, 0, 0)])
    except StoreDown:
        return False
    used_up = {each.budget for each in standings if each.remaining <= 0}
    return bool(used_up) and banned not in used_up


def _statuses(on: object) -> frozenset[int]:
    listed = (on,) if isinstance(on, int) else tuple(on) if isinstance(on, Iterable) else ()
    if not listed or not all(isinstance(each, int) and 400 <= each <= 599 for each in listed):
        raise ConfigError(f"ban(on=…) must list statuses from 400 to 599, such as [429, 401], not {on!r}")
    return frozenset(listed)


ban: Ban = Ban()
