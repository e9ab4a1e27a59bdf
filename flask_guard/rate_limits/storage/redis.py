"""Limits counted in Redis or Valkey: all that a request is charged, in one round trip.

``redis.lua`` counts, on the server and by its clock. It keeps what ``limits`` keeps, under the same keys: a ``Limiter``
on the same storage, or a worker that still runs an older version, counts the same. Needs Redis 6 or later, or Valkey.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from importlib.resources import files
from typing import Any, TypeAlias, cast

from limits.storage import RedisClusterStorage, RedisStorage

from .algorithms import FIXED, LEASES, MOVING, SLIDING, Algorithm
from .budgets import NAMESPACE, Budget, Held, held_under
from .counter import Charge, Standing
from .drawing import Draw
from .redis_connections import packed, ready_connections
from .table import Key, is_of_unit, table_key

TYPES: tuple[tuple[str, Algorithm], ...] = (("string", FIXED), ("list", MOVING), ("zset", LEASES))
"""The types of Redis keys in which something is counted."""

LENT = "|lent"
"""The end of the key of what is lent from a window, beside the key of the window. See :mod:`.redis_lending`."""

HASH_TAG = re.compile(r"[^{]*\{[^}]+\}")
"""The beginning of a key that names its slot itself (Redis cluster specification, "Hash tags")."""

Errors: TypeAlias = tuple[type[Exception], ...]

Affixes: TypeAlias = tuple[str, str]
"""The parts of a Redis key before and after a storage key."""


class RedisCounter:
    """Counts in Redis.

    On a cluster one call reaches the keys of one slot. Where the charges of a request lie in several slots, one call
    for each slot tests them. If all have room, one more for each slot makes them. Two requests at the same moment may
    both find room for the last charge in one slot. The second one is refused, and its charges in other slots remain.
    No budget ever lets more through than it has. With ``RATELIMIT_STORAGE_OPTIONS = {"key_prefix": "{limits}"}`` all
    keys share one slot, and one node counts everything, in one call.

    :param storage: a Redis storage of ``limits``.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._redis = cast("Any", storage.get_connection())
        self._ready = ready_connections(self._redis)
        self._execute: Callable[..., Any] = self._ready.run if self._ready else self._redis.execute_command
        self._plain = _affixes(storage.prefixed_key("\0"))
        # private names of limits, which a Limiter on the same storage counts a sliding window under
        self._current = _affixes(storage.prefixed_key(storage._current_window_key("\0")))
        self._previous = _affixes(storage.prefixed_key(storage._previous_window_key("\0")))
        self._slot_of: Any = getattr(self._redis, "keyslot", None)
        errors = import_module(f"{storage.target_server}.exceptions")
        self._unknown_script: type[Exception] = errors.NoScriptError
        self._cluster_error: type[Exception] = getattr(errors, f"{storage.target_server.title()}ClusterException")
        self._script = files(__package__).joinpath("redis.lua").read_text("utf-8")
        self._digest: str = self.digest_of(self._script)

    @property
    def is_cluster(self) -> bool:
        """Return whether one call reaches the keys of one slot only."""
        return self._slot_of is not None

    def digest_of(self, script: str) -> str:
        """Return the name by which the server knows a Lua script."""
        digest: str = self._redis.register_script(script).sha
        return digest

    def evaluate(self, script: str, digest: str, *args: str | int) -> Any:
        """Run a Lua script.

        :param args: the number of keys, the keys and the arguments.
        """
        try:
            return self._run("EVALSHA", digest, *args)
        except self._unknown_script:  # after a restart of the server, and at first
            return self._run("EVAL", script, *args)

    def key(self, budget: Budget, identity: str) -> str:
        """Return the Redis key in which a budget is counted for a client; of a sliding window the first of two."""
        return self._keys(budget, identity)[0]

    def lent_key(self, key: str) -> str:
        """Return the key of what is lent from the window at `key`; empty if a cluster cannot keep both together."""
        if not self.is_cluster or HASH_TAG.match(key):
            return key + LENT
        return "" if "{" in key or "}" in key else f"{{{key}}}{LENT}"

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        if self._slot_of is not None and len(slots := self._by_slot(charges)) > 1:
            return self._take_by_slot(charges, slots, token)
        return self._call(charges, token)

    def drawing(self, budget: Budget, cost: int) -> Draw:
        """Return `take` for one charge: with all of the command packed but for the client."""
        ready, unknown_script, longest_wait = self._ready, self._unknown_script, budget.longest_wait

        def draw_without(identity: str) -> tuple[bool, list[Standing]]:
            return self.take([(budget, identity, cost, cost)])

        if ready is None or budget.algorithm is SLIDING:  # another client, or two keys
            return draw_without
        (before, after), line = self._plain, f"{budget.line} {cost} {cost}"
        head, tail = f"{before}{budget.head}", f"{budget.tail}{after}"
        start, end = b"*6\r\n" + packed(("EVALSHA", self._digest, 1)), b"\r\n" + packed(("", line))

        def draw(identity: str) -> tuple[bool, list[Standing]]:
            key = f"{head}{identity}{tail}".encode()
            try:
                answer = ready.run_packed(b"%b$%d\r\n%b%b" % (start, len(key), key, end))
            except unknown_script:  # after a restart of the server, and at first
                answer = ready.run("EVAL", self._script, 1, key.decode(), "", line)
            made, remaining, wait = answer.split()
            seconds = min(longest_wait, max(0, -(-int(wait) // 1000)))
            return int(made) == 1, [Standing(budget, int(remaining), seconds, cost, identity)]

        return draw

    def release(self, charges: Sequence[Charge], token: str) -> None:
        for budget, identity, _, _ in charges:
            if budget.algorithm is LEASES:
                self._run("ZREM", _wrap(self._plain, budget, identity), token)

    def ban(self, budget: Budget, identity: str) -> None:
        self._call([(budget, identity, 0, 1)], "")

    def forget(self, budget: Budget, identity: str) -> None:
        keys = self._keys(budget, identity)
        for key in (*keys, self.lent_key(keys[0])) if budget.algorithm is FIXED else keys:
            if key:
                self._run("DEL", key)

    def find(self, unit: str | None = None) -> Iterable[Held]:
        """Return what is held, by walking through all keys of the database without holding it up."""
        found: dict[Key, Held] = {}
        for kind, algorithm in TYPES:
            for key in self._scan(f"*{NAMESPACE}/*/*/*", kind):
                held = self._held(key, algorithm)
                if held is not None and is_of_unit(held, unit):
                    found[table_key(*held)] = held
        return found.values()

    def _call(self, charges: Sequence[Charge], token: str) -> tuple[bool, list[Standing]]:
        keys: list[str] = []
        lines: list[str] = []
        before, after = self._plain
        for budget, identity, need, deduct in charges:
            if budget.algorithm is SLIDING:
                keys += self._keys(budget, identity)
            else:
                keys.append(f"{before}{budget.key_for(identity)}{after}")
            lines.append(f"{budget.line} {need} {deduct}")
        # few arguments, as each costs a client that is all Python a microsecond
        answer = self.evaluate(self._script, self._digest, len(keys), *keys, token, "\n".join(lines))
        made, *stand = map(int, answer.split())
        standings = [
            Standing(budget, remaining, min(budget.longest_wait, max(0, -(-wait // 1000))), need, identity)
            for (budget, identity, need, _), remaining, wait in zip(charges, stand[::2], stand[1::2], strict=True)
        ]
        return made == 1, standings

    def _take_by_slot(
        self, charges: Sequence[Charge], slots: list[list[int]], token: str
    ) -> tuple[bool, list[Standing]]:
        looks = [(budget, identity, need, 0) for budget, identity, need, _ in charges]
        taken, standings = self._call_by_slot(looks, slots, token)
        return self._call_by_slot(charges, slots, token) if taken else (False, standings)

    def _call_by_slot(
        self, charges: Sequence[Charge], slots: list[list[int]], token: str
    ) -> tuple[bool, list[Standing]]:
        """Call the script for each slot, and put the answers into the order of `charges`."""
        all_taken = True
        standings: dict[int, Standing] = {}
        for positions in slots:
            taken, of_slot = self._call([charges[position] for position in positions], token)
            all_taken = all_taken and taken
            standings.update(zip(positions, of_slot, strict=True))
        return all_taken, [standings[position] for position in range(len(charges))]

    def _by_slot(self, charges: Sequence[Charge]) -> list[list[int]]:
        """Return the positions of the charges whose keys share a slot, for each slot."""
        slots: dict[int, list[int]] = {}
        for position, (budget, identity, _, _) in enumerate(charges):
            slots.setdefault(self._slot_of(self._keys(budget, identity)[0]), []).append(position)
        return list(slots.values())

    def _run(self, *command: str | int) -> Any:
        try:
            return self._execute(*command)
        except self._cluster_error as error:  # which the client library does not list among its errors
            raise ConnectionError(str(error)) from error

    def _scan(self, pattern: str, kind: str) -> Iterator[str]:
        before, _ = self._plain
        keys = self._redis.scan_iter(match=f"{_escape(before)}{pattern}", count=1000, _type=kind)
        try:
            for key in keys:
                yield key if isinstance(key, str) else key.decode(errors="replace")
        except self._cluster_error as error:
            raise ConnectionError(str(error)) from error

    def _held(self, key: str, algorithm: Algorithm) -> Held | None:
        for affixes, of in ((self._previous, SLIDING), (self._current, SLIDING), (self._plain, algorithm)):
            before, after = affixes
            if key.startswith(before) and key.endswith(after):
                held = held_under(key[len(before) : len(key) - len(after)], of)
                if held is not None:
                    return held
        return None

    def _keys(self, budget: Budget, identity: str) -> tuple[str, ...]:
        """Return the Redis keys in which a budget is counted for a client."""
        if budget.algorithm is SLIDING:
            return _wrap(self._current, budget, identity), _wrap(self._previous, budget, identity)
        return (_wrap(self._plain, budget, identity),)


class LateCluster:
    """Counts in a cluster that was unreachable when the app was made. The client of a cluster connects when it is made.

    :param make: makes the storage, and raises one of `errors` while no node can be reached.
    :param error: the error of the first attempt. The first call fails with this error, and waits for nothing.
    """

    def __init__(self, make: Callable[[], RedisStorage], errors: Errors, error: Exception) -> None:
        self.errors: Errors = errors
        self._make = make
        self._error: Exception | None = error
        self._lock = threading.RLock()  # a body that is deleted meanwhile may come back here
        self._counter: RedisCounter | None = None

    def take(self, charges: Sequence[Charge], token: str = "") -> tuple[bool, list[Standing]]:
        return self.made().take(charges, token)

    def release(self, charges: Sequence[Charge], token: str) -> None:
        self.made().release(charges, token)

    def ban(self, budget: Budget, identity: str) -> None:
        self.made().ban(budget, identity)

    def forget(self, budget: Budget, identity: str) -> None:
        self.made().forget(budget, identity)

    def find(self, unit: str | None = None) -> Iterable[Held]:
        return self.made().find(unit)

    def made(self) -> RedisCounter:
        """Return the counter of the cluster, made at the first call that reaches a node."""
        with self._lock:
            if self._counter is None:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                self._counter = RedisCounter(self._make())
            return self._counter


def cluster_errors(uri: str) -> Errors:
    """Return the errors with which the client of a cluster fails to connect. Other storages connect when they count."""
    scheme = uri.partition("://")[0]
    library = scheme.partition("+")[0]
    if scheme not in RedisClusterStorage.STORAGE_SCHEME:
        return ()
    try:
        errors = import_module(f"{library}.exceptions")
    except ImportError:
        return ()
    return getattr(errors, f"{library.title()}Error"), getattr(errors, f"{library.title()}ClusterException"), OSError


def _affixes(key: str) -> Affixes:
    before, _, after = key.partition("\0")
    return before, after


def _wrap(affixes: Affixes, budget: Budget, identity: str) -> str:
    return f"{affixes[0]}{budget.key_for(identity)}{affixes[1]}"


def _escape(text: str) -> str:
    """Return a pattern that matches `text` and nothing else (redis.io/docs/latest/commands/keys)."""
    return "".join(f"\\{letter}" if letter in "*?[]^\\" else letter for letter in text)
