"""The storage of an app: that of its own Limiter if it has one, else of one that is made from ``RATELIMIT_*``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits.errors import ConfigurationError
from limits.storage import MemoryStorage, Storage
from limits.strategies import STRATEGIES

from ...errors import ConfigError
from ...support.text import names
from ..concern import ON_STORE_ERROR, OnStoreError
from .counter import Counter, StrategyCounter
from .fallback import FallbackCounter
from .memory import SCHEME, ExactMemoryStorage
from .redis import RedisCounter, counts_in_redis, default_options
from .table import TableCounter, TableStorage

if TYPE_CHECKING:
    from ...core.app_state import AppState

log: logging.Logger = logging.getLogger("flask_guard")

NEEDS_LIMITER = (
    "RATELIMIT_DEFAULT",
    "RATELIMIT_APPLICATION",
    "RATELIMIT_META",
)

MEMORY = "memory://"
EXAMPLE_URI = "redis://localhost:6379/0"
EXACT_MEMORY = f"{SCHEME}://"


class Backend:
    """Where the limits of one app are counted, and how.

    :ivar storage: the storage, as ``limits`` has it.
    :ivar store: what counts in the storage, and raises its errors.
    :ivar counter: what counts in the storage, and goes on without it while that is down.
    :raises ConfigError: if ``RATELIMIT_*`` cannot be meant, or asks for limits that only a Limiter would enforce.
    """

    def __init__(self, state: AppState) -> None:
        app = state.app
        self.enabled: bool = bool(app.config.get("RATELIMIT_ENABLED", True))
        self.key_prefix: str = str(app.config.get("RATELIMIT_KEY_PREFIX", ""))
        if not self.enabled:
            if state.once("limits disabled"):
                log.warning("RATELIMIT_ENABLED is False: no limit on %r is in force", app.name)
            return
        limiter = _adopted(app) or _made(app)
        self.storage: Storage = limiter.storage
        self._strategy = _strategy_name(limiter)
        self.on_store_error: OnStoreError = state.config[ON_STORE_ERROR]
        self.store: Counter = _store_counter(self.storage)
        self.counter: Counter = self.store
        if not isinstance(self.storage, ExactMemoryStorage):
            errors = (*_as_tuple(self.storage.base_exceptions), OSError)
            self.counter = FallbackCounter(self.store, TableCounter(ExactMemoryStorage()), errors, app)

    @property
    def in_process(self) -> bool:
        """Return whether each process counts alone."""
        return isinstance(self.storage, (ExactMemoryStorage, MemoryStorage))

    def algorithm(self, asked: str | None) -> str:
        """Return the name of the algorithm to count by: `asked`, by default ``RATELIMIT_STRATEGY``.

        :raises ConfigError: if the storage cannot count that way.
        """
        name = asked or self._strategy
        try:
            STRATEGIES[name](self.storage)
        except NotImplementedError as error:
            raise ConfigError(f"limit(algorithm={name!r}): {error}") from error
        return name

    def check_leases(self) -> None:
        """Raise ConfigError if the storage cannot count what goes on at once."""
        if isinstance(self.store, StrategyCounter):
            raise ConfigError("limit.concurrent counts in memory, SQLite or Redis; this storage has no leases")


def _store_counter(storage: Storage) -> Counter:
    """Return the best way to count in `storage`."""
    if isinstance(storage, TableStorage):
        return TableCounter(storage)
    return RedisCounter(storage) if counts_in_redis(storage) else StrategyCounter(storage)


def _strategy_name(limiter: Limiter) -> str:
    return next((name for name, strategy in STRATEGIES.items() if type(limiter.limiter) is strategy), "fixed-window")


def _adopted(app: Flask) -> Limiter | None:
    limiters = app.extensions.get("limiter", ())
    return next((limiter for limiter in limiters if limiter.initialized), None)


def check_storage(app: Flask) -> None:
    """Raise ConfigError if ``RATELIMIT_*`` cannot be meant. Nothing is connected to."""
    if app.config.get("RATELIMIT_ENABLED", True) and _adopted(app) is None:
        _made(app)


def _made(app: Flask) -> Limiter:
    """Return a Limiter that is configured like the app's own would be, and has no hooks on the app.

    :raises ConfigError: if the configuration cannot be meant, or asks for limits that only the hooks would enforce.
    """
    asked = [key for key in NEEDS_LIMITER if app.config.get(key)]
    if asked:
        raise ConfigError(
            f"{names(asked)} would not be enforced, because the app has no Limiter of its own. Write the limits as"
            " Guard(app, policies=[limit(...)]), or make a flask_limiter.Limiter for them before the Guard"
        )
    return _configured(app)


def _configured(app: Flask) -> Limiter:
    uri = app.config.get("RATELIMIT_STORAGE_URI") or MEMORY
    if not isinstance(uri, str):
        raise ConfigError(f"RATELIMIT_STORAGE_URI must be a URI such as {EXAMPLE_URI}, not a {type(uri).__name__}")
    options, strategy = app.config.get("RATELIMIT_STORAGE_OPTIONS") or {}, app.config.get("RATELIMIT_STRATEGY")
    if not isinstance(options, dict):
        raise ConfigError(f"RATELIMIT_STORAGE_OPTIONS must be a dict of options, not a {type(options).__name__}")
    if strategy and strategy not in STRATEGIES:
        raise ConfigError(f"RATELIMIT_STRATEGY must be one of {names(STRATEGIES)}, not {strategy!r}")
    host = Flask("limits", static_folder=None)  # takes the hooks, and the changes to the config, that a Limiter makes
    host.config.update(app.config)
    host.config["RATELIMIT_STORAGE_URI"] = EXACT_MEMORY if uri == MEMORY else uri
    host.config["RATELIMIT_STORAGE_OPTIONS"] = {**default_options(uri), **options}
    limiter = Limiter(get_remote_address)
    try:
        limiter.init_app(host)
        _try_options(limiter)
    except (ConfigurationError, ValueError, TypeError, AssertionError) as error:
        raise ConfigError(_refused(uri, str(error))) from None
    return limiter


def _try_options(limiter: Limiter) -> None:
    """Make a Redis connection object, which opens no connection, so that unknown options are refused now."""
    pool = getattr(getattr(limiter.storage, "storage", None), "connection_pool", None)
    if pool is not None:
        pool.connection_class(**pool.connection_kwargs)


def _refused(uri: str, reason: str) -> str:
    """Return why the settings were refused, without the URI: it may hold a password."""
    scheme = uri.partition("://")[0] if "://" in uri else "no scheme"
    hint = ". Install it with: pip install 'flask-guard-kit[redis]'" if "'redis' prerequisite" in reason else ""
    return (
        f"RATELIMIT_STORAGE_URI ({scheme}), RATELIMIT_STORAGE_OPTIONS or RATELIMIT_STRATEGY cannot be meant:"
        f" {reason.replace(uri, f'{scheme}://…')}{hint}"
    )


def _as_tuple(errors: type[Exception] | tuple[type[Exception], ...]) -> tuple[type[Exception], ...]:
    return errors if isinstance(errors, tuple) else (errors,)
