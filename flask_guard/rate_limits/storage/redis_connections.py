"""The connections to Redis and Valkey: their options, and how commands are run on them.

Connections of a single server are kept ready, so that a command costs little more than its round trip. A client library
takes a connection out of its pool for each command, asks the socket whether it still lives, packs the arguments one by
one, and puts the connection back: that takes as long again as the round trip. For this, a few names of the libraries
are used that they do not document: those of a pool, and of sending and reading on a connection.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from importlib import import_module
from inspect import Parameter, signature
from time import monotonic
from typing import Any

from limits.storage import RedisClusterStorage, RedisSentinelStorage, RedisStorage

TIMEOUT = 0.2
"""Seconds that the server may take to answer, also with a connection that has to be made first."""

MOST_CONNECTIONS = 2**31
"""Connections of a process: as many as it has threads or greenlets that ask at once. redis-py 8 would stop at 100."""

READ_SIZE = 4096
"""Bytes that a connection makes room for: answers are short, and the 64 KiB of the client libraries cost time."""

RETRIES = frozenset({"retry", "retry_on_timeout", "retry_on_error"})
"""The options by which a connection tries again."""

CHECKED_AFTER = 1.0
"""Seconds of rest after which a connection is checked."""

TIMEOUT_ERRORS: tuple[type[Exception], ...] = (TimeoutError, FutureTimeoutError)
"""The errors of waiting in vain, which are one from Python 3.11 on."""


def default_options(uri: str) -> dict[str, Any]:
    """Return the options of the storage at `uri` that apply unless ``RATELIMIT_STORAGE_OPTIONS`` has others.

    A server that hangs costs a request `TIMEOUT`, once: timeouts are short, and nothing is tried again. The query of
    the URI of a single server wins over these; ``limits`` reads none for a sentinel or a cluster.
    """
    scheme = uri.partition("://")[0]
    timeouts = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    if scheme in RedisStorage.STORAGE_SCHEME:
        return {**timeouts, "socket_read_size": READ_SIZE, "max_connections": MOST_CONNECTIONS}
    if scheme in RedisSentinelStorage.STORAGE_SCHEME:
        return {**timeouts, "sentinel_kwargs": {**timeouts, **_no_retry(scheme)}}
    if scheme in RedisClusterStorage.STORAGE_SCHEME:
        return {**timeouts, **_no_cluster_retry(scheme)}
    return {}


def _no_retry(scheme: str) -> dict[str, Any]:
    """Return the option against retries. Without a client library: none."""
    library = scheme.partition("+")[0]
    try:
        retry, backoff = import_module(f"{library}.retry"), import_module(f"{library}.backoff")
    except ImportError:
        return {}
    return {"retry": retry.Retry(backoff.NoBackoff(), 0)}


def _no_cluster_retry(scheme: str) -> dict[str, Any]:
    """Return the option against retries of a cluster's client, which is another one before version 6 of redis-py."""
    library = scheme.partition("+")[0]
    try:
        version = import_module(library).__version__
    except ImportError:
        return {}
    if library == "redis" and int(version.partition(".")[0]) >= 6:
        return _no_retry(scheme)
    return {"cluster_error_retry_attempts": 0}


def ready_connections(client: Any) -> ReadyConnections | None:
    """Return connections kept ready, if `client` has a plain pool and no retries.

    A pool with a limit of its own is left alone: other users of the pool would lack the connections kept ready.
    """
    pool: Any = getattr(client, "connection_pool", None)
    if (
        type(pool).__name__ != "ConnectionPool"
        or client.connection is not None
        or pool.max_connections < type(pool)().max_connections
        or RETRIES & {key for key, on in pool.connection_kwargs.items() if on}
    ):
        return None
    connect = pool.get_connection
    if signature(connect).parameters["command_name"].default is Parameter.empty:  # Valkey, and redis-py before 5.3
        connect = partial(connect, "EVALSHA")
    library = type(client).__module__.partition(".")[0]
    errors = import_module(f"{library}.exceptions")
    return ReadyConnections(pool, connect, errors)


class ReadyConnections:
    """Runs commands on connections of a pool. Called by several threads at once.

    A command on a new connection runs in a thread of its own, so that the request waits for the answer no longer than
    on one that is ready: a client library sends several commands on a new connection, and waits for each answer.

    After an error other than that of an unknown script, new connections are made: behind the same name there may be
    another server by now, such as the primary that has taken over from one that writes nothing.

    :param pool: a pool of the client library's, which makes the connections.
    :param get: takes a connection out of the pool.
    :param errors: the module of the client library's errors.
    """

    def __init__(self, pool: Any, get: Callable[[], Any], errors: Any) -> None:
        self._pool = pool
        self._get = get
        self._harmless: type[Exception] = errors.NoScriptError
        self._closed: type[Exception] = errors.ConnectionError
        self._late: type[Exception] = errors.TimeoutError
        self._timeout: float | None = pool.connection_kwargs.get("socket_timeout")
        self._resting: list[tuple[Any, float]] = []
        self._process = os.getpid()

    def run(self, *command: str | int) -> Any:
        """Run a command, and return the answer. What the client library raises is raised."""
        return self.run_packed(b"*%d\r\n%b" % (len(command), packed(command)))

    def run_packed(self, sent: bytes) -> Any:
        """Run a command that is packed as it is sent (RESP: an array of bulk strings)."""
        connection = self._ready()
        if connection is None:
            return self._on_new_connection(sent)
        try:
            return self._exchange(connection, sent)
        except self._closed:  # by a server that restarts, and takes new ones
            return self._on_new_connection(sent)

    def _exchange(self, connection: Any, sent: bytes) -> Any:
        try:
            connection.send_packed_command([sent], check_health=False)
            answer = connection.read_response()
        except self._harmless:
            self._resting.append((connection, monotonic()))
            raise
        except BaseException:  # an answer that may come yet must not be read as that of the next command
            self._drop(connection)
            self._drop_resting()
            raise
        self._resting.append((connection, monotonic()))
        return answer

    def _on_new_connection(self, sent: bytes) -> Any:
        answer: Future[Any] = Future()

        def exchange() -> None:
            try:
                answer.set_result(self._exchange(self._get(), sent))
            except BaseException as error:  # noqa: BLE001  # raised where the answer is waited for
                answer.set_exception(error)

        if self._timeout is None:
            return self._exchange(self._get(), sent)
        try:
            threading.Thread(target=exchange, name="flask-guard-redis", daemon=True).start()
        except RuntimeError:  # no thread can be started, as when the interpreter ends
            return self._exchange(self._get(), sent)
        try:
            return answer.result(self._timeout)
        except TIMEOUT_ERRORS:
            raise self._late(f"no answer on a new connection in {self._timeout:g} s") from None

    def _ready(self) -> Any:
        """Return a connection that is ready, or None."""
        process = os.getpid()
        if process != self._process:  # a connection belongs to the process that made it
            self._resting, self._process = [], process
        try:
            connection, since = self._resting.pop()
        except IndexError:
            return None
        if monotonic() - since > CHECKED_AFTER and self._is_closed(connection):
            self._drop(connection)
            return None
        return connection

    def _is_closed(self, connection: Any) -> bool:
        try:
            closed: bool = connection.can_read(0)
        except (self._closed, OSError):
            closed = True
        return closed

    def _drop(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)

    def _drop_resting(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._drop(self._resting.pop()[0])


def packed(command: Iterable[str | int]) -> bytes:
    """Return parts of a command as they are sent: bulk strings."""
    parts = [str(part).encode() for part in command]
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])
