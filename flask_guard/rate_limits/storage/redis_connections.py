"""Redis connections that are kept ready, so that a command costs little more than its round trip.

A client library takes a connection out of its pool for each command, asks the socket whether it still lives, packs the
arguments one by one, and puts the connection back: that takes as long again as the round trip.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from time import monotonic
from typing import Any

CHECKED_AFTER = 1.0
"""Seconds of rest after which the pool is asked whether a connection still lives."""


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
            return self._exchange(self._get(), sent)  # a server that restarts closes what rests, and takes what is new

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
