"""Token buckets: on any schedule, every storage agrees with a model of fractions, to the last request."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from math import ceil, floor
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond, parse
from limits.storage import RedisStorage

from flask_guard import ConfigError
from flask_guard.rate_limits.rates import parse_rates
from flask_guard.rate_limits.storage import Budget, Charge, Counter, SQLiteStorage, rate_budget
from flask_guard.rate_limits.storage.algorithms import TokenBucket
from flask_guard.rate_limits.storage.budgets import MOST_UNITS, check_amounts, held_under
from flask_guard.rate_limits.storage.memory import ExactMemoryStorage
from flask_guard.rate_limits.storage.redis import RedisCounter
from flask_guard.rate_limits.storage.redis_connections import default_options

pytestmark = pytest.mark.slow

STORAGES = ["memory", "sqlite", "redis"]
BEGIN = 5_000_000
"""Milliseconds at which schedules begin: few enough for the float of one to lie below it now and then."""
OF_SERVER = "time = call('TIME')"
OF_TEST = "time = {call('GET', 'seconds'), call('GET', 'microseconds')}"
"""The clock of the script that counts in Redis."""
FORGETS = "math.ceil(debt / c.drain) + 1"


class Bucket:
    """A token bucket as textbooks have it, in fractions of tokens and seconds."""

    def __init__(self, amount: int, seconds: int, burst: int) -> None:
        self.rate = Fraction(amount, seconds)
        self.burst = burst
        self.tokens = Fraction(burst)
        self.since = Fraction(0)

    def fill(self, now: Fraction) -> None:
        self.tokens = min(Fraction(self.burst), self.tokens + (now - self.since) * self.rate)
        self.since = now

    def fits(self, need: int) -> bool:
        return self.tokens >= need

    def wait(self, need: int) -> int:
        """Return the whole seconds until `need` fits, or if it does, until one more token is there."""
        wanted = floor(self.tokens) + 1 if self.fits(need) else min(need, self.burst)
        return ceil((wanted - self.tokens) / self.rate)


class Step(NamedTuple):
    """A request of a schedule: after a pause in milliseconds."""

    pause: int
    need: int
    deduct: int


class Clocked:
    """The three storages, with one clock that only tests set."""

    def __init__(self, memory: ExactMemoryStorage, sqlite: SQLiteStorage, redis: RedisCounter, client: Any) -> None:
        self.counters: dict[str, Counter] = {"memory": memory, "sqlite": sqlite, "redis": redis}
        self.redis = client
        self.milliseconds = BEGIN

    def now(self) -> float:
        return self.milliseconds / 1000

    def set(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds
        seconds, rest = divmod(milliseconds, 1000)
        self.redis.mset({"seconds": seconds, "microseconds": 1000 * rest + 999})


@pytest.fixture(scope="module")
def clocked(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocked]:
    database = redis_url.replace("/0?", "/7?")
    storage = RedisStorage(database, key_prefix="buckets", **default_options(database))
    client: Any = storage.get_connection()
    client.flushdb()
    counter = RedisCounter(storage)
    script = counter._script
    assert script.count(OF_SERVER) == script.count(FORGETS) == 1
    counter._script = script.replace(OF_SERVER, OF_TEST).replace(FORGETS, "10^9")
    counter._digest = client.register_script(counter._script).sha
    sqlite = SQLiteStorage(f"sqlite:///{tmp_path_factory.mktemp('buckets')}/limits.db?timeout=20")
    made = Clocked(ExactMemoryStorage(), sqlite, counter, client)
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (("memory", "monotonic"), ("sqlite_file", "time")):
            patch.setattr(f"flask_guard.rate_limits.storage.{module}.{name}", made.now)
        yield made
    client.flushdb()


@pytest.fixture(scope="module", params=STORAGES)
def storage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def counter(clocked: Clocked, storage: str) -> Counter:
    return clocked.counters[storage]


_names = count()


def a_bucket(amount: int, seconds: int, burst: int) -> Budget:
    """Return the budget of a bucket in which nothing is counted yet."""
    return rate_budget(RateLimitItemPerSecond(amount, seconds), f"scope {next(_names)}", TokenBucket.name, burst)


def takes(counter: Counter, budget: Budget, cost: int = 1, need: int | None = None) -> tuple[bool, int, int]:
    """Return whether a request passes, what remains, and the seconds to wait."""
    taken, (standing,) = counter.take([(budget, "client", cost if need is None else need, cost)])
    return taken, standing.remaining, standing.wait


rates = st.tuples(st.integers(1, 30), st.sampled_from([1, 2, 7, 60, 3600, 86_400]), st.integers(1, 40))
steps = st.lists(
    st.builds(
        lambda pause, need, deduct: Step(pause, need, need if deduct is None else deduct),
        st.one_of(st.integers(0, 3), st.integers(0, 2_500), st.integers(0, 4_000_000)),
        st.integers(0, 12),
        st.sampled_from([None, None, None, 0, 1]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(rates, steps, st.integers(1, 30))
@example((3, 1, 3), [Step(0, 3, 3), Step(333, 1, 1), Step(1, 1, 1), Step(666, 2, 2)], 30)
@example((7, 86_400, 2), [Step(0, 2, 2), Step(12_342_857, 1, 1), Step(1, 1, 1)], 30)
def test_any_schedule_has_the_outcome_of_the_model_in_every_storage_beside_another_limit(
    clocked: Clocked, rate: tuple[int, int, int], schedule: list[Step], others: int
) -> None:
    budget, bucket = a_bucket(*rate), Bucket(*rate)
    beside = rate_budget(parse(f"{others}/100 days"), budget.scope)
    left, moment = others, BEGIN
    for pause, need, deduct in schedule:
        moment += pause
        clocked.set(moment)
        bucket.fill(Fraction(moment, 1000))
        fits = bucket.fits(need) and left >= 1
        wait = bucket.wait(need)
        if fits:
            bucket.tokens = max(Fraction(0), bucket.tokens - deduct)
            left -= 1
        charges: list[Charge] = [(budget, "client", need, deduct), (beside, "client", 1, 1)]
        for name, counter in clocked.counters.items():
            taken, (standing, other) = counter.take(charges)
            seen = (taken, standing.remaining, standing.wait, other.remaining)
            assert seen == (fits, floor(bucket.tokens), wait, left), name


@pytest.mark.parametrize("rate", [(10, 1, 50), (3, 1, 1), (7, 60, 20), (1, 86_400, 3), (1000, 1, 1000)], ids=str)
def test_what_was_denied_fits_after_the_wait_to_the_millisecond(
    clocked: Clocked, counter: Counter, rate: tuple[int, int, int]
) -> None:
    amount, seconds, burst = rate
    budget = a_bucket(*rate)
    clocked.set(BEGIN)
    assert takes(counter, budget, burst)[0]

    for need in {1, min(2, burst), burst}:
        opens = BEGIN + ceil(Fraction(need * seconds * 1000, amount))
        clocked.set(opens - 1)
        assert not takes(counter, budget, 0, need)[0]
        clocked.set(opens)
        assert takes(counter, budget, 0, need)[0]


def test_a_steady_client_gets_the_rate_for_ever_and_not_one_request_more(clocked: Clocked, counter: Counter) -> None:
    budget = a_bucket(7, 1, 3)

    passed = 0
    for millisecond in range(0, 10_000, 10):
        clocked.set(BEGIN + millisecond)
        passed += takes(counter, budget)[0]

    assert passed == 3 + floor(Fraction(9_990 * 7, 1000))


def test_a_clock_that_is_set_back_neither_locks_out_nor_fills_a_bucket(clocked: Clocked, counter: Counter) -> None:
    budget = a_bucket(1, 60, 5)
    clocked.set(BEGIN)
    assert takes(counter, budget, 5)[0]

    clocked.set(BEGIN - 3_600_000)
    at_once = takes(counter, budget)
    clocked.set(BEGIN - 3_600_000 + 59_999)
    soon = takes(counter, budget)
    clocked.set(BEGIN - 3_600_000 + 60_000)

    assert (at_once, soon, takes(counter, budget)) == ((False, 0, 60), (False, 0, 1), (True, 0, 60))


def test_a_charge_beyond_the_burst_counts_as_the_burst(clocked: Clocked, counter: Counter) -> None:
    budget = a_bucket(1, 1, 5)
    clocked.set(BEGIN)

    assert takes(counter, budget, 9, need=0)[:2] == (True, 0)
    assert takes(counter, budget)[2] == 1
    clocked.set(BEGIN + 5000)
    assert takes(counter, budget, 5)[0]


def test_a_need_beyond_the_burst_never_fits_and_uses_nothing_up(clocked: Clocked, counter: Counter) -> None:
    budget = a_bucket(1, 1, 5)
    clocked.set(BEGIN)

    assert takes(counter, budget, 6)[:2] == (False, 5)
    assert takes(counter, budget, 5)[:2] == (True, 0)


def test_a_client_is_found_and_forgotten(clocked: Clocked, counter: Counter) -> None:
    budget = a_bucket(1, 1, 5)
    clocked.set(BEGIN)
    takes(counter, budget, 5)

    ((found, identity),) = [each for each in counter.find() if each[0].scope == budget.scope]
    assert (found.text, found.seconds, identity) == ("1 per 1 second in bursts of 5", 5, "client")
    assert takes(counter, found, 0)[1] == 0
    counter.forget(found, identity)

    assert takes(counter, budget, 5)[0]


def test_a_client_takes_constant_space(clocked: Clocked, counter: Counter, storage: str) -> None:
    budget = a_bucket(100_000, 1, 1_000_000)
    clocked.set(BEGIN)

    for _ in range(1000):
        takes(counter, budget, 1000)

    if storage == "redis":
        (key,) = [key for key in clocked.redis.scan_iter(match="*") if budget.quoted_scope.encode() in key]
        assert len(clocked.redis.get(key)) < 40
    else:
        assert len(str(budget.algorithm.pack((budget.amount * 10, BEGIN)))) < 40


def test_a_state_that_makes_no_sense_counts_as_none(clocked: Clocked) -> None:
    budget = a_bucket(1, 1, 5)
    redis = clocked.counters["redis"]
    clocked.set(BEGIN)
    takes(redis, budget, 5)
    (key,) = [key for key in clocked.redis.scan_iter(match="*") if budget.quoted_scope.encode() in key]

    for value in ("", "nonsense", "5", "-1 -1", "1e9 1"):
        clocked.redis.set(key, value)
        assert takes(redis, budget, 0)[1] == 5


@pytest.mark.parametrize(
    ("rate", "burst"),
    [("1/second", 10**15 - 1), ("7/year", 145_000), ("1/year", 10**6), ("999999999999999 per 86399 seconds", None)],
)
def test_a_bucket_that_could_not_be_counted_exactly_is_refused(rate: str, burst: int | None) -> None:
    (item,) = parse_rates(rate).items

    with pytest.raises(ConfigError, match="holds at most"):
        check_amounts([item], TokenBucket.name, burst)


def test_the_largest_bucket_is_counted_exactly_in_every_storage(clocked: Clocked) -> None:
    burst = MOST_UNITS // (365 * 86_400 * 1000)
    budget = a_bucket(7, 365 * 86_400, burst)
    check_amounts([RateLimitItemPerSecond(7, 365 * 86_400)], TokenBucket.name, burst)
    with pytest.raises(ConfigError, match=f"holds at most {burst} requests, not {burst + 1}"):
        check_amounts([RateLimitItemPerSecond(7, 365 * 86_400)], TokenBucket.name, burst + 1)
    opens = BEGIN + ceil(Fraction(365 * 86_400 * 1000, 7))

    for counter in clocked.counters.values():
        clocked.set(BEGIN)
        assert takes(counter, budget, burst)[:2] == (True, 0)
        clocked.set(opens - 1)
        assert takes(counter, budget)[:2] == (False, 0)
        clocked.set(opens)
        assert takes(counter, budget)[:2] == (True, 0)


@pytest.mark.parametrize("unit", ["10/1/second+", "10/1/second+x", "10/1/fortnight+5", "10/1/+5"])
def test_a_key_of_another_form_is_none_of_ours(unit: str) -> None:
    known = held_under("LIMITER/scope/client/10/1/second+50", TokenBucket(10, 1, 50))

    assert known is not None
    assert known[0].amount == 50
    assert held_under(f"LIMITER/scope/client/{unit}", TokenBucket(10, 1, 50)) is None
