"""The arithmetic of counting, on plain values: no storage, and a clock that the tests set."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond

from flask_guard.rate_limits.storage import Budget, ban_budget, concurrency_budget, rate_budget
from flask_guard.rate_limits.storage.algorithms import BANS, FIXED, LEASES, MOVING, SLIDING, Algorithm, State
from flask_guard.rate_limits.storage.counter import settle
from tests.cases import together

pytestmark = pytest.mark.slow

NOW = 1_700_000_000.0
HOUR = 3600.0
RATES = ["fixed-window", "moving-window", "sliding-window-counter"]

amounts = st.integers(1, 12)
windows = st.integers(1, 120)
pauses = st.lists(st.integers(0, 40 * 1024).map(lambda number: number / 1024), min_size=1, max_size=60)
needs = st.lists(st.integers(1, 4), min_size=60, max_size=60)


class Client:
    """One client of one budget, whose state is kept as a database would keep it."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._value: tuple[object] | None = None

    def asks(self, now: float, need: int = 1, token: str = "") -> tuple[bool, int, float]:
        """Return whether `need` fits at `now`, what remains, and the exact seconds to wait."""
        algorithm, seconds = self.budget.algorithm, self.budget.seconds
        state = None if self._value is None else algorithm.unpack(self._value[0])
        current = algorithm.current(state, seconds, now)
        _, wait = algorithm.room(current, self.budget.amount, seconds, need, now)
        (taken, standings), changed = settle([(self.budget, "client", need, need)], token, [state], now)
        for _, new, _ in changed:
            self._value = (algorithm.pack(new),)
        return taken, standings[0].remaining, wait


def a_rate(algorithm: str, amount: int, seconds: int) -> Budget:
    return rate_budget(RateLimitItemPerSecond(amount, seconds), "scope", algorithm)


def moments(pauses: Iterable[float]) -> list[float]:
    return [NOW + each for each in accumulate(pauses)]


@given(amounts, windows, pauses, needs)
def test_no_moving_window_ever_has_more_than_the_amount(
    amount: int, seconds: int, pauses: list[float], needs: list[int]
) -> None:
    client = Client(a_rate("moving-window", amount, seconds))

    passed = [(now, need) for now, need in zip(moments(pauses), needs, strict=False) if client.asks(now, need)[0]]

    for end, _ in passed:
        assert sum(need for now, need in passed if end - seconds < now <= end) <= amount


@given(amounts, windows, pauses, needs)
def test_no_fixed_window_ever_has_more_than_the_amount(
    amount: int, seconds: int, pauses: list[float], needs: list[int]
) -> None:
    client = Client(a_rate("fixed-window", amount, seconds))

    passed = [(now, need) for now, need in zip(moments(pauses), needs, strict=False) if client.asks(now, need)[0]]

    while passed:  # a window begins with the first request that passes after the last window
        end = passed[0][0] + seconds
        assert sum(need for now, need in passed if now < end) <= amount
        passed = [each for each in passed if each[0] >= end]


@given(amounts, windows, pauses, needs)
def test_no_two_windows_of_a_sliding_counter_have_more_than_twice_the_amount(
    amount: int, seconds: int, pauses: list[float], needs: list[int]
) -> None:
    client = Client(a_rate("sliding-window-counter", amount, seconds))

    passed = [(now, need) for now, need in zip(moments(pauses), needs, strict=False) if client.asks(now, need)[0]]

    for end, _ in passed:
        assert sum(need for now, need in passed if end - seconds < now <= end) <= 2 * amount


@pytest.mark.parametrize("algorithm", RATES)
@given(amounts, windows, pauses, needs)
def test_what_was_denied_fits_after_the_wait_and_not_before(
    algorithm: str, amount: int, seconds: int, pauses: list[float], needs: list[int]
) -> None:
    client = Client(a_rate(algorithm, amount, seconds))
    for now, need in zip(moments(pauses), needs, strict=False):
        taken, _, wait = client.asks(now, need)
        if not taken and need <= amount:
            assert wait > 0
            assert not client.asks(now + wait - 1e-3, need)[0] or wait < 1e-3
            assert client.asks(now + wait, need)[0]
            return


@together("later", [10, 10.5, 11, 14, 19])
@together("need", [1, 2, 10])
def test_the_wait_for_a_sliding_counter_ends_as_soon_as_little_enough_of_the_last_window_counts(
    later: float, need: int
) -> None:
    client = Client(a_rate("sliding-window-counter", 10, 10))
    client.asks(NOW, 10)
    now = NOW + later
    while client.asks(now)[0]:
        pass

    taken, _, wait = client.asks(now, need)

    assert not taken
    assert not client.asks(now + wait - 1e-4, need)[0]
    assert client.asks(now + wait, need)[0]


@pytest.mark.parametrize("algorithm", RATES)
@given(amounts, windows, pauses, needs)
def test_a_charge_leaves_that_much_less(
    algorithm: str, amount: int, seconds: int, pauses: list[float], needs: list[int]
) -> None:
    client = Client(a_rate(algorithm, amount, seconds))

    for now, need in zip(moments(pauses), needs, strict=False):
        taken, remaining, _ = client.asks(now, need)
        again = client.asks(now, remaining + 1)
        assert 0 <= remaining <= amount - (need if taken else 0)
        assert again[:2] == (False, remaining)


@pytest.mark.parametrize("algorithm", RATES)
@given(amounts, windows, pauses, st.integers(1, 3 * 3600))
def test_a_clock_that_is_set_back_neither_locks_out_nor_hands_out_a_window(
    algorithm: str, amount: int, seconds: int, pauses: list[float], back: int
) -> None:
    client = Client(a_rate(algorithm, amount, seconds))
    for now in moments(pauses):
        client.asks(now)
    while client.asks(now)[0]:
        pass

    at_once = client.asks(now - back)[0]
    while_asking = [client.asks(now - back + each * seconds / 4)[0] for each in range(1, 10)]

    assert not at_once
    assert any(while_asking)


@pytest.mark.parametrize("algorithm", RATES)
@given(amounts, windows)
def test_a_clock_that_is_set_forward_ends_no_more_than_the_window(algorithm: str, amount: int, seconds: int) -> None:
    client = Client(a_rate(algorithm, amount, seconds))
    while client.asks(NOW)[0]:
        pass

    passed = sum(client.asks(NOW + HOUR)[0] for _ in range(amount + 1))

    assert passed == amount


# What goes on at once, and bans ----------------------------------------------------------------------------------


def test_leases_end_by_themselves_and_when_they_are_given_back() -> None:
    client = Client(concurrency_budget(2, 30, "scope"))

    assert [client.asks(NOW, token=token)[0] for token in "abc"] == [True, True, False]
    assert not client.asks(NOW + 29.9, token="d")[0]
    assert [client.asks(NOW + 30, token=token)[0] for token in "efg"] == [True, True, False]

    held = {"a": NOW + 1, "b": NOW + 2}
    assert LEASES.release(held, "a") == {"b": NOW + 2}
    assert LEASES.release({"b": NOW + 2}, "b") is None
    assert LEASES.release(held, "unknown") == held


def test_a_clock_that_is_set_back_keeps_no_lease_for_longer_than_it_lasts() -> None:
    client = Client(concurrency_budget(1, 30, "scope"))
    client.asks(NOW, token="a")

    assert not client.asks(NOW - HOUR, token="b")[0]
    assert client.asks(NOW - HOUR + 30, token="b")[0]


@pytest.mark.parametrize(("later", "banned"), [(0, True), (59.9, True), (60, False), (-HOUR, True)])
def test_a_ban_ends(later: float, banned: bool) -> None:
    budget = ban_budget(60, "scope")
    state, ends = BANS.charge(None, 60, 1, NOW, "")

    current = BANS.current(state, 60, NOW + later)
    remaining, wait = BANS.room(current, 1, 60, 1, NOW + later)

    assert ends == NOW + 60
    assert (remaining == 0) is banned
    assert wait <= budget.seconds


def test_a_clock_that_is_set_back_makes_no_ban_longer() -> None:
    state, _ = BANS.charge(None, 60, 1, NOW, "")

    current = BANS.current(state, 60, NOW - HOUR)

    assert BANS.current(current, 60, NOW - HOUR + 60) is None


# As a database keeps them ----------------------------------------------------------------------------------------

ends = st.floats(0, 2e10, allow_nan=False)
STATES: list[tuple[Algorithm, st.SearchStrategy[State]]] = [
    (FIXED, st.tuples(st.integers(0, 10**15), ends)),
    (MOVING, st.lists(ends, max_size=50)),
    (SLIDING, st.tuples(st.integers(0, 10**15), st.integers(0, 10**15), ends)),
    (LEASES, st.dictionaries(st.from_regex("[0-9a-f]{1,32}", fullmatch=True), ends, max_size=20)),
    (BANS, ends),
]


@pytest.mark.parametrize(("algorithm", "states"), STATES, ids=lambda value: getattr(value, "code", ""))
@given(st.data())
def test_a_state_is_the_same_after_it_was_stored(
    algorithm: Algorithm, states: st.SearchStrategy[State], data: st.DataObject
) -> None:
    state = data.draw(states)

    assert algorithm.unpack(algorithm.pack(state)) == state
