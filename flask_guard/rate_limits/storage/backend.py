"""The storage of an app: that of its own Limiter if it has one, else one that is made from ``RATELIMIT_*``."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING, Any, cast

from limits.errors import ConfigurationError
from limits.storage import MemoryStorage, RedisStorage, Storage, storage_from_string
from limits.strategies import STRATEGIES

from ...errors import ConfigError
from ...support.log import log
from ...support.text import names
from ..settings import LIMIT_CLIENTS, LIMIT_SLOW_MS, ON_STORE_ERROR, OnStoreError
from .algorithms import TokenBucket
from .batches import BatchingCounter
from .budgets import Budget, check_amounts, rate_budget
from .counter import Counter, StrategyCounter
from .fallback import FallbackCounter
from .lending import Lender, TableLender
from .memory import ExactMemoryStorage
from .peeking import PeekingCounter
from .redis import LateCluster, RedisCounter, cluster_errors
from .redis_connections import default_options
from .redis_lending import RedisLender
from .table import TableStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask_limiter import Limiter
    from limits import RateLimitItem

    from ...core.app_state import AppState

NEEDS_LIMITER = ("RATELIMIT_DEFAULT", "RATELIMIT_APPLICATION", "RATELIMIT_META")
DEFAULT_STRATEGY = "fixed-window"
MEMORY = "memory://"
EXAMPLE_URI = "redis://localhost:6379/0"


class Backend:
    """Where the limits of one app are counted, and how.

    :ivar storage: the storage, as ``limits`` has it.
    :ivar store: counts in the storage, and raises its errors.
    :ivar counter: counts in the storage, and goes on without it while it is down.
    :ivar batched: as `counter`, for budgets that workers take batches of.
    :ivar algorithms_of_shared: the algorithms of shared budgets, by name, as far as they are compiled.
    :raises ConfigError: if ``RATELIMIT_*`` is invalid, or asks for limits that only a Limiter would enforce.
    """

    def __init__(self, state: AppState) -> None:
        if state.rehearses is not None:
            rehearsed = vars(state.rehearses.service(Backend))
            names = ("counter", "batched") if rehearsed["enabled"] else ()
            charged: Tally[str] = Tally()
            peeking = {name: PeekingCounter(rehearsed[name], charged) for name in names}
            vars(self).update(rehearsed, **peeking)
            return
        app = state.app
        self.enabled: bool = bool(app.config.get("RATELIMIT_ENABLED", True))
        limiter = adopted_limiter(app)
        # a private name of Flask-Limiter's, without which two apps that share a storage would share our limits
        prefix = limiter._key_prefix if limiter is not None else app.config.get("RATELIMIT_KEY_PREFIX", "")
        self.key_prefix: str = str(prefix)
        if not self.enabled:
            if state.once("limits disabled"):
                log.warning("RATELIMIT_ENABLED is False: no limit on %r is in force", app.name)
            return
        self.storage: Storage | LateCluster = limiter.storage if limiter is not None else state.resource(_own_storage)
        self._strategy = _strategy_of(limiter) if limiter is not None else _strategy_in(app)
        self.on_store_error: OnStoreError = state.config[ON_STORE_ERROR]
        if isinstance(self.storage, ExactMemoryStorage):
            self.storage.most = state.config[LIMIT_CLIENTS]
        self.store: Counter = _store_counter(self.storage)
        self.counter: Counter = self.store
        self.batched: Counter = self.store
        self.algorithms_of_shared: dict[str, str] = {}
        if not isinstance(self.storage, ExactMemoryStorage):
            self.counter = self.batched = fallback = FallbackCounter(
                self.store, state.resource(in_memory), self.errors, app, _slow(self.storage, state)
            )
            if (lender := _lender(self.store)) is not None:
                self.batched = BatchingCounter(fallback, lender)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """Return the errors of an unreachable storage."""
        if isinstance(self.storage, LateCluster):
            return self.storage.errors
        known = self.storage.base_exceptions
        return (*(known if isinstance(known, tuple) else (known,)), OSError)

    @property
    def in_process(self) -> bool:
        """Return whether each process counts alone."""
        return isinstance(self.storage, (ExactMemoryStorage, MemoryStorage))

    def algorithm(self, asked: str | None) -> str:
        """Return the name of the algorithm to count by: `asked`, by default ``RATELIMIT_STRATEGY``.

        :raises ConfigError: if the storage cannot count that way.
        """
        name = asked or self._strategy
        if name == TokenBucket.name:
            self.check_own(f"limit(algorithm={name!r})")
        elif isinstance(self.store, StrategyCounter):
            try:
                self.store.strategy(name)
            except NotImplementedError as error:
                raise ConfigError(f"limit(algorithm={name!r}): {error}") from error
        return name

    def check_batches(self, what: str, algorithm: str | None) -> None:
        """Raise ConfigError if units that are taken ahead could let too much through, or the storage has none."""
        name = self.algorithm(algorithm)
        if name != DEFAULT_STRATEGY:
            raise ConfigError(
                f"{what} with RATELIMIT_STRATEGY={name!r} could let too much through: write"
                f" algorithm={DEFAULT_STRATEGY!r} beside it, or leave batch out"
            )
        if isinstance(self.store, StrategyCounter) and not self.in_process:
            raise ConfigError(f"{what} counts in Redis, SQLite or memory, and not in this storage: leave batch out")

    def forget_batches(self) -> None:
        """Forget the units that this process has taken ahead."""
        if isinstance(self.batched, BatchingCounter):
            self.batched.forget_pools()

    def rate_budget(
        self, item: RateLimitItem, scope: str, algorithm: str | None = None, burst: int | None = None
    ) -> Budget:
        """Return the budget of a rate in a scope of this app.

        :param algorithm: as for `algorithm`.
        :param burst: the requests that fit into a token bucket at once; by default the amount of the rate.
        :raises ConfigError: if the storage cannot count that way, or would have to keep too much.
        """
        name = self.algorithm(algorithm)
        check_amounts([item], name, burst)
        return rate_budget(item, self.key_prefix + scope, name, burst)

    def check_own(self, what: str) -> None:
        """Raise ConfigError if only ``limits`` can call the storage, which knows neither leases nor token buckets."""
        if isinstance(self.storage, MemoryStorage):
            raise ConfigError(
                f"{what} cannot be counted in the memory:// of this app's Limiter: give the Limiter"
                " storage_uri='guard-memory://', which counts in this process as well, or a URI of SQLite or Redis"
            )
        if isinstance(self.store, StrategyCounter):
            raise ConfigError(f"{what} counts in memory, SQLite or Redis, and not in this storage")


def check_storage(state: AppState) -> None:
    """Raise ConfigError if ``RATELIMIT_*`` is invalid. Nothing is connected to."""
    if state.app.config.get("RATELIMIT_ENABLED", True) and adopted_limiter(state.app) is None:
        _strategy_in(state.app)
        state.resource(_own_storage)


def _slow(storage: Storage | LateCluster, state: AppState) -> float | None:
    """Return the seconds that a storage may take. In a file, requests wait for each other: for as long as needed."""
    milliseconds = state.config[LIMIT_SLOW_MS]
    return None if milliseconds is None or isinstance(storage, TableStorage) else milliseconds / 1000


def _store_counter(storage: Storage | LateCluster) -> Counter:
    """Return the best way to count in `storage`."""
    if isinstance(storage, (TableStorage, LateCluster)):
        return storage
    return RedisCounter(storage) if isinstance(storage, RedisStorage) else StrategyCounter(storage)


def _lender(store: Counter) -> Lender | None:
    """Return what lends units of a storage, if the storage can lend."""
    if isinstance(store, TableStorage):
        return TableLender(store)
    if isinstance(store, LateCluster):
        return RedisLender(store.made)
    return RedisLender(lambda: store) if isinstance(store, RedisCounter) else None


def adopted_limiter(app: Flask) -> Limiter | None:
    """Return the app's own Limiter, if there is one that counts."""
    return next((limiter for limiter in app.extensions.get("limiter", ()) if limiter.initialized), None)


def _strategy_of(limiter: Limiter) -> str:
    return next((name for name, each in STRATEGIES.items() if type(limiter.limiter) is each), DEFAULT_STRATEGY)


# From RATELIMIT_* ----------------------------------------------------------------------------------------------------


def _strategy_in(app: Flask) -> str:
    strategy = app.config.get("RATELIMIT_STRATEGY") or DEFAULT_STRATEGY
    if strategy not in STRATEGIES:
        raise ConfigError(f"RATELIMIT_STRATEGY must be one of {names(STRATEGIES)}, not {strategy!r}")
    name: str = strategy
    return name


def _own_storage(state: AppState) -> Storage | LateCluster:
    """Return the storage that ``RATELIMIT_*`` describes.

    :raises ConfigError: if the configuration is invalid, or asks for limits that only a Limiter would enforce.
    """
    config = state.app.config
    asked = [key for key in NEEDS_LIMITER if config.get(key)]
    if asked:
        raise ConfigError(
            f"{names(asked)} would not be enforced, because the app has no Limiter of its own. Write the limits as"
            " Guard(app, policies=[limit(...)]), or make a flask_limiter.Limiter for them before the Guard"
        )
    uri, options = config.get("RATELIMIT_STORAGE_URI") or MEMORY, config.get("RATELIMIT_STORAGE_OPTIONS") or {}
    if not isinstance(uri, str):
        raise ConfigError(f"RATELIMIT_STORAGE_URI must be a URI such as {EXAMPLE_URI}, not a {type(uri).__name__}")
    if not isinstance(options, dict):
        raise ConfigError(f"RATELIMIT_STORAGE_OPTIONS must be a dict of options, not a {type(options).__name__}")
    return state.resource(in_memory) if uri == MEMORY else _made(uri, options)


def in_memory(state: AppState) -> ExactMemoryStorage:
    """Return the storage in memory: the app's own, or the one for while another is down."""
    storage = ExactMemoryStorage()
    storage.most = state.config[LIMIT_CLIENTS]
    return storage


def _made(uri: str, options: dict[str, Any]) -> Storage | LateCluster:
    def make() -> Storage:
        storage = storage_from_string(uri, **{**default_options(uri), **options})
        if not isinstance(storage, Storage):
            raise ConfigurationError("this storage is for asyncio")
        _try_options(storage)
        return storage

    unreachable = cluster_errors(uri)
    try:
        return make()
    except (ConfigurationError, ValueError, TypeError, AssertionError) as error:
        raise ConfigError(_refused(uri, str(error))) from None
    except unreachable as error:
        return LateCluster(cast("Callable[[], RedisStorage]", make), unreachable, error)


def _try_options(storage: Storage) -> None:
    """Make a Redis connection object, which opens no connection, so that unknown options are refused now."""
    pool = getattr(getattr(storage, "storage", None), "connection_pool", None)
    if pool is not None:
        pool.connection_class(**pool.connection_kwargs)


def _refused(uri: str, reason: str) -> str:
    """Return why the settings were refused, without the URI: it may hold a password."""
    scheme = uri.partition("://")[0] if "://" in uri else "no scheme"
    hint = ". Install it with: pip install 'flask-guard-kit[redis]'" if "'redis' prerequisite" in reason else ""
    return (
        f"RATELIMIT_STORAGE_URI ({scheme}) or RATELIMIT_STORAGE_OPTIONS is invalid:"
        f" {reason.replace(uri, f'{scheme}://…')}{hint}"
    )
