"""Redis connections that are kept ready, so that a command costs little more than its round trip.

A client library takes a connection out of its pool for each command, asks the socket whether it still lives, packs the
arguments one by one, and puts the connection back: that takes as long again as the round trip.
"""

from __future__ import annotations

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
    :param refused: the error by which the server refuses a command, after which the connection can be used on.
    """

    def __init__(self, pool: Any, get: Callable[[], Any], refused: type[Exception]) -> None:
        self._pool = pool
        self._get = get
        self._refused = refused
        self._resting: list[tuple[Any, float]] = []
        self._process = os.getpid()

    def run(self, *command: str | int) -> Any:
        """Run a command, and return the answer. What the client library raises is raised."""
        connection = self._ready()
        try:
            connection.send_packed_command([packed(command)], check_health=False)
            answer = connection.read_response()
        except self._refused:
            self._resting.append((connection, monotonic()))
            raise
        except BaseException:  # the answer may come yet, and must not be read as that of the next command
            connection.disconnect()
            self._pool.release(connection)
            raise
        self._resting.append((connection, monotonic()))
        return answer

    def _ready(self) -> Any:
        process = os.getpid()
        if process != self._process:  # a connection belongs to the process that made it
            self._resting, self._process = [], process
        try:
            connection, since = self._resting.pop()
        except IndexError:
            return self._get()
        if monotonic() - since > CHECKED_AFTER:
            self._pool.release(connection)
            return self._get()
        return connection


def packed(command: tuple[str | int, ...]) -> bytes:
    """Return a command as it is sent (RESP: an array of bulk strings)."""
    parts = [str(part).encode() for part in command]
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))
