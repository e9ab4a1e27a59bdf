"""The connections to Redis and Valkey: their options, and how commands are run on them.

Connections of a single server are kept ready, so that a command costs little more than its round trip. A client library
takes a connection out of its pool for each command, asks the socket whether it still lives, packs the arguments one by
one, and puts the connection back: that takes as long again as the round trip. For this, a few names of the libraries
are used that they do not document: those of a pool, and of sending and reading on a connection.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from inspect import Parameter, signature
from time import monotonic
from typing import Any, cast

from limits.storage import RedisClusterStorage, RedisSentinelStorage, RedisStorage

TIMEOUT = 0.25
"""Seconds that a connection may take to be made, and the server to answer."""

MOST_CONNECTIONS = 2**31
"""Connections of a process: as many as it has threads or greenlets that ask at once. redis-py 8 would stop at 100."""

READ_SIZE = 4096
"""Bytes that a connection makes room for: answers are short, and the 64 KiB of the client libraries cost time."""

RETRIES = frozenset({"retry", "retry_on_timeout", "retry_on_error"})
"""The options by which a connection tries again."""

CHECKED_AFTER = 1.0
"""Seconds of rest after which the pool is asked whether a connection still lives."""


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


def command_runner(client: Any) -> Callable[..., Any]:
    """Return the function that runs a command: on connections kept ready, if `client` has a plain pool and no retries.

    A pool with a limit of its own is left alone: other users of the pool would lack the connections kept ready.
    """
    pool: Any = getattr(client, "connection_pool", None)
    if (
        type(pool).__name__ != "ConnectionPool"
        or client.connection is not None
        or pool.max_connections < type(pool)().max_connections
        or RETRIES & {key for key, on in pool.connection_kwargs.items() if on}
    ):
        return cast("Callable[..., Any]", client.execute_command)
    connect = pool.get_connection
    if signature(connect).parameters["command_name"].default is Parameter.empty:  # Valkey, and redis-py before 5.3
        connect = partial(connect, "EVALSHA")
    library = type(client).__module__.partition(".")[0]
    errors = import_module(f"{library}.exceptions")
    return ReadyConnections(pool, connect, errors.NoScriptError, errors.ConnectionError).run


class ReadyConnections:
    """Runs commands on connections of a pool. Called by several threads at once.

    :param pool: a pool of the client library's, which makes the connections and checks those that have rested.
    :param get: takes a connection out of the pool.
    :param harmless: the error after which connections are used on. After any other new ones are made: behind the same
        name there may be another server by now, such as the primary that has taken over from one that writes nothing.
    :param closed: the error of a connection that the server has closed.
    """

    def __init__(self, pool: Any, get: Callable[[], Any], harmless: type[Exception], closed: type[Exception]) -> None:
        self._pool = pool
        self._get = get
        self._harmless = harmless
        self._closed = closed
        self._resting: list[tuple[Any, float]] = []
        self._process = os.getpid()

    def run(self, *command: str | int) -> Any:
        """Run a command, and return the answer. What the client library raises is raised."""
        sent = packed(command)
        connection, has_rested = self._ready()
        try:
            return self._exchange(connection, sent)
        except self._closed:
            if not has_rested:
                raise
            return self._exchange(
                self._get(), sent
            )  # a server that restarts closes those that rest, and takes new ones

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

    def _ready(self) -> tuple[Any, bool]:
        """Return a connection, and whether it has rested without being checked."""
        process = os.getpid()
        if process != self._process:  # a connection belongs to the process that made it
            self._resting, self._process = [], process
        try:
            connection, since = self._resting.pop()
        except IndexError:
            return self._get(), False
        if monotonic() - since > CHECKED_AFTER:
            self._pool.release(connection)
            return self._get(), False
        return connection, True

    def _drop(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)

    def _drop_resting(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._drop(self._resting.pop()[0])


def packed(command: tuple[str | int, ...]) -> bytes:
    """Return a command as it is sent (RESP: an array of bulk strings)."""
    parts = [str(part).encode() for part in command]
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))
