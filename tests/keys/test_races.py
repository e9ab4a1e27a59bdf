"""Several processes that use one store of keys at the same moment."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import threading
import time
from collections.abc import Iterator, MutableMapping
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flask_guard.keys import SQLKeys

from .conftest import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.serial]

PROCESSES = 4
OPERATIONS = 120
"""Operations of each process, whatever time they take."""
BOUND = 0.2
OVERLAP = 3600.0
SHARED = 8
ROUNDS = 8
PATIENCE = 60.0
"""Seconds after which something must have gone wrong, on however busy a machine."""


@dataclass
class Crowd:
    """Several processes, and what they tell each other. Times are those of the monotonic clock, which they share."""

    pool: ProcessPoolExecutor
    start: Any
    live: MutableMapping[str, str]
    revoking: MutableMapping[str, float]
    revoked: MutableMapping[str, float]

    def run(self, work: Any, *args: Any) -> list[Any]:
        """Return what `work` returns in each process, all of which begin at the same time."""
        jobs = [self.pool.submit(work, number, *args) for number in range(PROCESSES)]
        done, _ = wait(jobs, PATIENCE, FIRST_EXCEPTION)
        for each in done:
            each.result()
        return [job.result(0) for job in jobs]


@dataclass
class Tally:
    """What one process did, and what it saw that must not be."""

    rotated: list[tuple[str, str]] = field(default_factory=list)
    created: int = 0
    revoked: int = 0
    accepted: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def crowd() -> Iterator[Crowd]:
    """Return processes that have begun."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        made = Crowd(pool, manager.Barrier(PROCESSES), manager.dict(), manager.dict(), manager.dict())
        made.run(meet, made.start)
        yield made


def meet(number: int, start: Any) -> int:
    """Return once all processes are here."""
    start.wait(PATIENCE)
    return number


@contextmanager
def opened(url: str, **options: Any) -> Iterator[SQLKeys]:
    store = SQLKeys(url, timeout=PATIENCE, **options)
    try:
        yield store
    finally:
        store.close()


def make_tables(number: int, start: Any, url: str, table: str) -> list[str]:
    """Use stores that are not there yet, as every other process does at this time."""
    made = []
    for each in range(ROUNDS):
        start.wait(PATIENCE)
        with opened(url.format(each), table=f"{table}_{each}") as store:
            new = store.create(name=str(number))
            assert store.lookup(new.secret) == new.key
            made.append(new.key.id)
    return made


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_processes_make_the_tables_at_the_same_time(
    database: str, crowd: Crowd, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url, table = f"sqlite:///{tmp_path}/{{}}.sqlite", f"keys_{uuid4().hex}"
    if database == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.url

    made = crowd.run(make_tables, crowd.start, url, table)

    for each in range(ROUNDS):
        with opened(url.format(each), table=f"{table}_{each}") as store:
            assert {key.id for key in store.list()} == {ids[each] for ids in made}


def test_whoever_makes_the_tables_waits_for_those_who_write(tmp_path: Path) -> None:
    file = tmp_path / "app.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("CREATE TABLE other (id)")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO other VALUES (1)")
        timer = threading.Timer(0.4, writer.commit)
        timer.start()
        with opened(f"sqlite:///{file}") as store:
            assert store.lookup(store.create().secret) is not None
        timer.join()


def live_together(
    number: int, start: Any, url: str, shared: list[str], live: Any, revoking: Any, revoked: Any
) -> Tally:
    """Create, rotate, verify and revoke. Every exception is the caller's."""
    chance, tally = random.Random(number), Tally()  # noqa: S311  # what to do next is no secret
    start.wait(PATIENCE)
    with opened(url, cache=BOUND) as store:
        for turn in range(OPERATIONS):
            what = (turn + number) % 10
            if what == 0:
                create(store, tally, live)
            elif what == 1:
                key_id = chance.choice(shared)
                tally.rotated.append((key_id, store.rotate(key_id, overlap=OVERLAP).secret))
            elif what == 2:
                revoke(store, tally, chance, live, revoking, revoked)
            else:
                verify(store, tally, chance, live, revoking, revoked)
            time.sleep(0.005)
    return tally


def create(store: SQLKeys, tally: Tally, live: MutableMapping[str, str]) -> None:
    new = store.create()
    tally.created += 1
    if store.lookup(new.secret) is None:
        tally.wrong.append(f"{new.key.id}: a new key was refused")
    live[new.key.id] = new.secret


def revoke(
    store: SQLKeys,
    tally: Tally,
    chance: random.Random,
    live: MutableMapping[str, str],
    revoking: MutableMapping[str, float],
    revoked: MutableMapping[str, float],
) -> None:
    known = list(live.items())
    if not known:
        return
    key_id, secret = chance.choice(known)
    revoking.setdefault(key_id, time.monotonic())
    store.revoke(key_id)
    revoked.setdefault(key_id, time.monotonic())
    tally.revoked += 1
    if store.lookup(secret) is not None:
        tally.wrong.append(f"{key_id}: accepted where it was revoked")


def verify(
    store: SQLKeys,
    tally: Tally,
    chance: random.Random,
    live: MutableMapping[str, str],
    revoking: MutableMapping[str, float],
    revoked: MutableMapping[str, float],
) -> None:
    for key_id, secret in chance.sample(known := list(live.items()), min(8, len(known))):
        gone = revoked.get(key_id)
        started = time.monotonic()
        if store.lookup(secret) is None:
            tally.refused += 1
            if key_id not in revoking:
                tally.wrong.append(f"{key_id}: refused, though nobody revoked it")
        else:
            tally.accepted += 1
            if gone is not None and started > gone + BOUND:
                tally.wrong.append(f"{key_id}: accepted {started - gone:.3f} s after it was revoked")


def test_processes_create_rotate_verify_and_revoke_in_one_sqlite_file(crowd: Crowd, sqlite_url: str) -> None:
    with opened(sqlite_url) as store:
        shared = [store.create().key.id for _ in range(SHARED)]

    tallies: list[Tally] = crowd.run(
        live_together, crowd.start, sqlite_url, shared, crowd.live, crowd.revoking, crowd.revoked
    )

    assert [each for tally in tallies for each in tally.wrong] == []
    rotated = [each for tally in tallies for each in tally.rotated]
    with opened(sqlite_url, cache=0) as store:
        states = {key.id: key.status for key in store.list()}
        accepted = [key.id for _, secret in rotated if (key := store.lookup(secret))]
        still = {key_id for key_id, secret in crowd.live.items() if store.lookup(secret) is not None}
        versions = sum(each.version for each in store._table.all() if each.id in shared)
    assert {key_id: accepted.count(key_id) for key_id in shared} == {
        key_id: min(3, sum(each == key_id for each, _ in rotated)) for key_id in shared
    }  # the last secret, and two that retire
    assert versions == len(shared) + len(rotated)  # none was lost to another
    assert len(states) == SHARED + sum(tally.created for tally in tallies)
    assert {key_id for key_id, status in states.items() if status == "revoked"} == set(crowd.revoked.keys())
    assert still == set(crowd.live.keys()) - set(crowd.revoked.keys())
    assert sum(tally.refused for tally in tallies) > 0
    for tally in tallies:
        assert min(tally.created, tally.revoked, tally.accepted, len(tally.rotated)) > 5
