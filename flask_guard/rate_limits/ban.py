"""`ban`: a client that is denied often is denied everything for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar, TypeAlias, overload

from werkzeug.exceptions import HTTPException

from ..core.flask_versions import current_flask
from ..core.policy import Placed, Policy, Scope, Target
from ..core.request_run import Leave, Run, Slot
from ..errors import ConfigError
from ..signals import client_banned
from ..support import options as check
from ..support.addresses import Network, lies_in, networks
from ..support.callables import of_request, takes_request
from ..support.durations import seconds_of
from ..support.log import log
from ..support.options import option
from ..support.orders import fewer_networks_are_stronger, larger_is_stronger, more_is_stronger
from ..support.text import printable
from ..typing import Mode, Purpose, Response, TargetT
from .identity import By
from .metered import ClientOf, Meter, Metered
from .rates import Rates, lower_is_stronger, parse_rates
from .settings import OnStoreError
from .storage import Backend, Budget, Charge, StoreDown, ban_budget

Allow: TypeAlias = "Iterable[str] | Callable[..., object]"

_CLIENTS: Slot[dict[Budget, str | None]] = Slot("ban.clients")
"""For each ban, the client that it concerns."""


def _statuses(on: int | Iterable[int], what: str) -> frozenset[int]:
    """Check for statuses of refusals."""
    statuses = check.listed(on)
    if not statuses or not all(isinstance(each, int) and 400 <= each <= 599 for each in statuses):
        raise ConfigError(f"{what} must list statuses from 400 to 599, such as [429, 401], not {on!r}")
    return frozenset(statuses)


def _allowed(allow: Any, what: str) -> tuple[Network, ...] | Callable[..., object]:
    return of_request(allow, what) if callable(allow) else networks(allow, what)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ban(Metered):
    """Bans clients that are denied often: ``ban(after="5/minute", on=[429, 401], lasting="1h")``.

    Each response with one of the statuses `on` counts against the client. A client that uses `after` up is denied
    everything under the scope of the ban, with a 429 (``abnormal-usage-detected``) and ``Retry-After``, until the ban
    has lasted. The denials of the ban itself do not count. Bans are kept where limits are counted, and asked for
    together with them. A ban stays in force whatever bans are nearer. ``flask guard bans`` lists and lifts them.
    """

    kind: ClassVar[str] = "ban"

    after: Rates | None = option(None, check.optional(parse_rates), lower_is_stronger)
    on: frozenset[int] = option(frozenset((429, 401, 403)), _statuses, more_is_stronger)
    lasting: int = option(3600, seconds_of, larger_is_stronger)
    allow: tuple[Network, ...] | Callable[..., object] = option((), _allowed, fewer_networks_are_stronger)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        *,
        after: str | None = None,
        on: int | Iterable[int] = frozenset((429, 401, 403)),  # immutable
        by: By = "address",
        lasting: int | str | timedelta = 3600,
        allow: Allow = (),
        shared: str | None = None,
        methods: Iterable[str] | None = None,
        when: Callable[..., object] | None = None,
        on_store_error: OnStoreError | None = None,
        mode: Mode | None = None,
    ) -> Ban: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param after: the number of such responses in a time, such as ``"5/minute"``.
        :param on: the statuses that count.
        :param by: the identity that is banned, as for :data:`limit`.
        :param lasting: the duration: seconds, a timedelta, or text such as ``"1h"`` or ``"1d12h"``.
        :param allow: clients that are never banned: addresses and networks, or a callable that returns true for them.
        :param shared: a name: scopes that have it share their bans.
        :param methods: the methods to which it applies; by default all.
        :param when: a callable; it applies to requests for which the callable returns true.
        :param on_store_error: the treatment of requests while the storage is unreachable, as for :data:`limit`.
        :param mode: ``"report"`` to log denials instead of denying.
        :raises ConfigError: for invalid options.
        """
        return Policy.__call__(self, *args, **options)

    @property
    def keeps(self) -> bool:
        return True

    def applies(self, target: Target, scope: Scope) -> bool:
        return not target.preflight and self.counts(target)

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        return ()

    def check_target(self, target: object) -> None:
        if self.after is None:
            raise ConfigError("ban needs to know after what: @ban(after='5/minute', on=[429, 401], lasting='1h')")

    def scope(self, target: Target, placed: Placed) -> str:
        name = f"{placed.place.kind}:{placed.place.name}"
        if placed.place.kind == "method":
            name = f"method:{placed.place.name.rpartition('.')[0]}.{target.counted_method.lower()}"
        return f"ban:{self.shared or (f'{name}#{placed.ordinal}' if placed.ordinal else name)}"

    def meter(self, scope: str, names: list[str], backend: Backend) -> Meter:
        self.check_target(None)
        on_error = self.on_store_error or backend.on_store_error
        banned = replace(ban_budget(self.lasting, backend.key_prefix + scope), on_error=on_error)
        counted: OnStoreError = "allow" if on_error == "allow" else "local"
        rates = dict.fromkeys(self.after.items if self.after else ())
        strikes = [replace(backend.rate_budget(item, scope), shown=False, on_error=counted) for item in rates]
        client_of = self.client_finder()

        def charge(run: Run, charges: list[Charge]) -> None:
            client = client_of(run)
            _CLIENTS.made(run, dict)[banned] = client
            if client is not None:
                charges.append((banned, client, 1, 0))

        return Meter(charge, self._striking(banned, strikes, client_of, backend))

    def client_finder(self) -> ClientOf:
        """Return the function that identifies the client of a request, or returns None for one that is not banned."""
        client_of = super(Ban, self).client_finder()
        if callable(self.allow):
            allowed = takes_request(self.allow, "ban(allow=…)")
            return lambda run: client_of(run) if not allowed(run.request) else None
        exempt = self.allow
        if exempt:
            return lambda run: client_of(run) if not lies_in(run.request.remote_addr, exempt) else None
        return client_of

    def _striking(self, banned: Budget, strikes: list[Budget], client_of: ClientOf, backend: Backend) -> Leave:
        statuses = self.on

        def leave(run: Run, response: Response) -> None:
            if response.status_code not in statuses or (run.denial is not None and run.denial.policy == Ban.kind):
                return
            if run.rehearsal:
                return
            client = _client(run, banned, client_of)
            if client is not None and _used_up(strikes, banned, client, backend):
                backend.counter.ban(banned, client)
                for strike in strikes:  # else the first one after the ban could be the last before the next
                    backend.counter.forget(strike, client)
                self._announce(run, banned, client)

        return leave

    def _announce(self, run: Run, banned: Budget, identity: str) -> None:
        log.warning("%s is banned from %s for %s s", printable(identity), banned.scope, self.lasting)
        client_banned.send(current_flask(), identity=identity, seconds=self.lasting, request=run.request)


def _client(run: Run, banned: Budget, client_of: ClientOf) -> str | None:
    """Return the client that the ban concerns, or None."""
    known = _CLIENTS.get(run) or {}
    if banned in known:
        return known[banned]
    try:  # the request was answered before the ban was asked
        return client_of(run)
    except HTTPException:
        return None
    except Exception:  # the response is finished, and must not be lost
        log.exception("the client of a ban is unknown: the response does not count")
        return None


def _used_up(strikes: list[Budget], banned: Budget, client: str, backend: Backend) -> bool:
    """Count a response, and return whether that was the last before a ban. A banned client is not banned anew."""
    charges: list[Charge] = [(strike, client, 0, 1) for strike in strikes]
    try:
        _, standings = backend.counter.take([*charges, (banned, client, 0, 0)])
    except StoreDown:
        return False
    used_up = {each.budget for each in standings if each.remaining <= 0}
    return bool(used_up) and banned not in used_up


ban: Ban = Ban()
