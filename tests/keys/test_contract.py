"""What every store of keys promises, whatever it keeps them in."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from flask_guard import ApiKey, ConfigError
from flask_guard.keys import KeyFormat, KeyRecord, KeyStore, StoredKeys
from flask_guard.signals import key_revoked
from tests.ids import shown

from .clock import Clock
from .conftest import MakeStore

pytestmark = pytest.mark.slow

FUTURE = datetime(2099, 1, 31, 12, 30, 0, 250000, tzinfo=timezone.utc)
PAST = datetime(2020, 1, 31, tzinfo=timezone.utc)
CLAIMS = {"tenant": "Ürbän ключ", "plan": {"seats": 3, "ratio": 0.5, "tags": ["a", None, True]}, "": []}


@pytest.fixture
def store(make_store: MakeStore) -> StoredKeys:
    return make_store()


def same_id(secret: str, store: StoredKeys) -> str:
    """Return a well-formed key with the id of `secret`, and another secret."""
    key_id = store.format.id_of(secret)
    assert key_id is not None
    return store.format.new(key_id)


def test_a_store_is_a_key_store(store: StoredKeys) -> None:
    assert isinstance(store, KeyStore)


def test_a_key_comes_back_as_it_was_described(store: StoredKeys) -> None:
    new = store.create(
        name="Der Laden 店",
        scopes=["orders:write", "orders:read"],
        expires=FUTURE,
        not_before=PAST,
        claims=CLAIMS,
        rate="100/minute",
        addresses=["192.0.2.0/24", "2001:db8::/32"],
    )

    found = store.lookup(new.secret)

    assert found == store.get(new.key.id) == new.key
    assert (found.name, found.scopes) == ("Der Laden 店", frozenset({"orders:read", "orders:write"}))
    assert (found.expires, found.not_before, found.revoked) == (FUTURE, PAST, None)
    assert (dict(found.claims), found.rate) == (CLAIMS, "100/minute")
    assert [str(each) for each in found.addresses] == ["192.0.2.0/24", "2001:db8::/32"]
    assert found.created is not None
    assert abs(found.created - datetime.now(timezone.utc)) < timedelta(seconds=5)


def test_the_plainest_key_is_unrestricted(store: StoredKeys) -> None:
    found = store.lookup(store.create().secret)

    assert found is not None
    assert (found.unrestricted, found.status, dict(found.claims)) == (True, "active", {})


def test_only_the_whole_secret_is_accepted(store: StoredKeys) -> None:
    new = store.create()
    other = KeyFormat(prefix="fg", env="test").new(new.key.id)

    refused = ["", new.key.id, new.secret[:-1], new.secret + "0", new.secret.swapcase(), f" {new.secret}", other]
    refused += [same_id(new.secret, store), store.format.new("0123456789")]

    assert [store.lookup(each) for each in refused] == [None] * len(refused)
    assert store.lookup(new.secret) == new.key


@pytest.mark.parametrize(
    "options",
    [
        {"scopes": ["not a scope"]},
        {"rate": "often"},
        {"addresses": ["192.0.2.1/24"]},
        {"expires": "someday"},
        {"expires": datetime(2031, 1, 31)},  # noqa: DTZ001  # what is refused
        {"not_before": float("nan")},
        {"claims": {"a": object()}},
        {"claims": {"a": float("nan")}},
        {"claims": "claims"},
        {"name": 7},
    ],
    ids=shown,
)
def test_a_key_that_is_invalid_is_not_made(store: StoredKeys, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        store.create(**options)

    assert store.list() == []


def test_keys_are_listed_the_oldest_first(store: StoredKeys) -> None:
    made = [store.create(name=str(number)).key for number in range(5)]

    assert store.list() == made


def test_keys_outlive_the_object_that_made_them(make_store: MakeStore) -> None:
    first = make_store()
    new = first.create(name="kept")
    first.close()

    assert make_store().lookup(new.secret) == new.key


def test_an_unknown_id_is_a_lookup_error(store: StoredKeys) -> None:
    for operation in (store.get, store.rotate, store.revoke):
        with pytest.raises(LookupError, match="nobody"):
            operation("nobody")


def test_rotation_gives_a_new_secret_and_ends_the_old_one_at_once(store: StoredKeys) -> None:
    old = store.create(name="ci", scopes=["a"], claims=CLAIMS)
    assert store.lookup(old.secret) == old.key

    new = store.rotate(old.key.id)

    assert new.key == old.key
    assert new.secret != old.secret
    assert (store.lookup(old.secret), store.lookup(new.secret)) == (None, new.key)


@pytest.mark.parametrize("overlap", [60, 59.5, timedelta(minutes=1), "1m"], ids=shown)
def test_the_old_secret_lives_for_the_overlap_and_is_not_cached_beyond_it(
    store: StoredKeys, clock: Clock, overlap: float | str | timedelta
) -> None:
    old = store.create()
    new = store.rotate(old.key.id, overlap=overlap)

    clock.forward(57)
    assert store.lookup(old.secret) == store.lookup(new.secret) == new.key
    clock.forward(3)
    assert (store.lookup(old.secret), store.lookup(new.secret)) == (None, new.key)


def test_no_more_than_two_earlier_secrets_work_at_a_time(store: StoredKeys) -> None:
    keys = [store.create()]
    keys += [store.rotate(keys[0].key.id, overlap=60) for _ in range(5)]

    assert [store.lookup(each.secret) for each in keys] == [None] * 3 + [keys[0].key] * 3
    store.revoke(keys[0].key.id)
    assert [store.lookup(each.secret) for each in keys] == [None] * 6


def test_rotation_without_an_overlap_ends_every_earlier_secret(store: StoredKeys) -> None:
    first = store.create()
    second = store.rotate(first.key.id, overlap="30d")
    assert [store.lookup(each.secret) for each in (first, second)] == [first.key] * 2

    third = store.rotate(first.key.id)

    assert [store.lookup(each.secret) for each in (first, second, third)] == [None, None, first.key]
    assert store.get(first.key.id).retiring == ()


def test_a_key_tells_until_when_its_earlier_secrets_work(store: StoredKeys, clock: Clock) -> None:
    key_id = store.create().key.id
    now = datetime.now(timezone.utc)
    store.rotate(key_id, overlap=60)
    rotated = store.rotate(key_id, overlap="1h").key

    ends = [(each - now).total_seconds() for each in store.get(key_id).retiring]

    assert ends == [pytest.approx(60, abs=20), pytest.approx(3600, abs=20)]
    assert [each.retiring for each in (rotated, *store.list())] == [store.get(key_id).retiring] * 2
    clock.forward(100)
    assert len(store.get(key_id).retiring) == 1


@pytest.mark.parametrize(
    "overlap", [-1, float("inf"), float("nan"), True, "soon", None, "91d", timedelta(days=91), 8_000_000], ids=shown
)
def test_an_overlap_is_a_duration_of_at_most_90_days(store: StoredKeys, overlap: Any) -> None:
    new = store.create()

    with pytest.raises(ConfigError, match=r"overlap|duration|span"):
        store.rotate(new.key.id, overlap=overlap)
    assert store.lookup(new.secret) == new.key


def test_a_revoked_key_does_not_work_and_stays_listed(store: StoredKeys) -> None:
    new = store.create(name="leaked")
    assert store.lookup(new.secret) == new.key

    revoked = store.revoke(new.key.id)

    assert store.lookup(new.secret) is None
    assert (revoked.status, store.get(new.key.id), store.list()) == ("revoked", revoked, [revoked])
    assert store.revoke(new.key.id).revoked == revoked.revoked
    with pytest.raises(LookupError, match="revoked"):
        store.rotate(new.key.id)


def test_a_change_reaches_other_processes_within_the_bound(make_store: MakeStore, clock: Clock) -> None:
    here, there = make_store(), make_store(cache=60)
    new = here.create()
    assert there.lookup(new.secret) == new.key

    here.revoke(new.key.id)

    clock.forward(50)
    assert there.lookup(new.secret) == new.key
    clock.forward(10)
    assert there.lookup(new.secret) is None


@pytest.mark.parametrize("change", ["revoke", "rotate"])
def test_a_look_up_that_overlaps_a_change_does_not_remember_the_key_of_before(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    store = make_store(cache=3600)
    new = store.create()
    read = store._table.read

    def read_and_then_change(key_id: str) -> KeyRecord | None:
        record = read(key_id)
        monkeypatch.setattr(store._table, "read", read)
        getattr(store, change)(key_id)  # by another thread, after the record was read
        return record

    monkeypatch.setattr(store._table, "read", read_and_then_change)

    assert store.lookup(new.secret) == new.key  # it was asked before
    assert store.lookup(new.secret) is None


def test_a_look_up_that_overlaps_a_revocation_elsewhere_does_not_remember_it_as_valid(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(cache=3600)
    read = store._table.read

    def read_and_then_revoke(key_id: str) -> KeyRecord | None:
        record = read(key_id)
        monkeypatch.setattr(store._table, "read", read)
        store.revoke_unknown(key_id)
        return record

    monkeypatch.setattr(store._table, "read", read_and_then_revoke)

    assert [store.is_revoked("signed") for _ in range(2)] == [False, True]


def test_without_a_cache_a_change_reaches_other_processes_at_once(make_store: MakeStore) -> None:
    here, there = make_store(), make_store(cache=0)
    old = here.create()
    assert there.lookup(old.secret) == old.key

    new = here.rotate(old.key.id)
    assert (there.lookup(old.secret), there.lookup(new.secret)) == (None, new.key)
    here.revoke(new.key.id)
    assert there.lookup(new.secret) is None


def test_revoking_what_another_process_revoked_takes_effect_here_at_once(make_store: MakeStore) -> None:
    here, there = make_store(), make_store()
    new = here.create()
    assert there.lookup(new.secret) == new.key

    here.revoke(new.key.id)
    there.revoke(new.key.id)

    assert there.lookup(new.secret) is None


@pytest.mark.parametrize("key_id", ["ci", "ids", "ключ", "a b:c/d", "'; drop table keys; --", "{x}:%s", "i" * 255])
def test_ids_of_keys_that_are_kept_elsewhere_can_be_revoked(make_store: MakeStore, key_id: str) -> None:
    store, other = make_store(), make_store(cache=0)
    mine = store.create()
    assert not store.is_revoked(key_id)

    store.revoke_unknown(key_id)
    store.revoke_unknown(key_id)

    assert store.is_revoked(key_id)
    assert other.is_revoked(key_id)
    assert (store.is_revoked(mine.key.id), store.lookup(mine.secret)) == (False, mine.key)
    assert {each.id for each in store.list()} == {key_id, mine.key.id}


def test_a_use_is_noted_without_being_a_change(make_store: MakeStore) -> None:
    store, other = make_store(), make_store()
    new = store.create()
    assert new.key.last_used is None

    store.lookup(new.secret)
    store.rotate(new.key.id)
    store.flush()
    other.lookup(new.secret)

    used = other.get(new.key.id).last_used
    assert used is not None
    assert abs(used - datetime.now(timezone.utc)) < timedelta(seconds=5)
    store._table.touch({new.key.id: used.timestamp() - 60, "nobody": 1.0})
    assert [each.last_used for each in other.list()] == [used]
    assert [each.id for each in store.list()] == [new.key.id]


def test_a_record_is_neither_overwritten_nor_changed_behind_ones_back(store: StoredKeys) -> None:
    table = store._table
    record = KeyRecord(id="x", digest="d", name="first")
    assert table.insert(record)

    assert not table.insert(dataclasses.replace(record, name="second"))
    assert table.replace(dataclasses.replace(record, name="third", version=2))
    assert not table.replace(dataclasses.replace(record, name="fourth", version=2))
    assert not table.replace(KeyRecord(id="y", digest="d", version=2))
    assert [(each.id, each.name, each.version) for each in table.all()] == [("x", "third", 2)]


def test_no_change_is_lost_among_threads(make_store: MakeStore) -> None:
    store = make_store()
    first = store.create()

    with ThreadPoolExecutor(8) as pool:
        rotated = list(pool.map(lambda _: store.rotate(first.key.id, overlap=60), range(24)))
        found = list(pool.map(store.lookup, [each.secret for each in rotated]))

    assert len({each.secret for each in rotated}) == 24
    assert len([key for key in found if key == first.key]) == 3  # the last one, and two that are retiring
    record = store._table.read(first.key.id)
    assert record is not None
    assert record.version == 25


@pytest.mark.parametrize(
    "options",
    [{"cache": -1}, {"cache": 3601}, {"cache": True}, {"cache": float("nan")}, {"timeout": 0}, {"timeout": "1"}],
    ids=shown,
)
def test_an_invalid_option_is_refused(make_store: MakeStore, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        make_store(**options)


def test_an_api_key_that_was_looked_up_holds_no_secret(store: StoredKeys) -> None:
    new = store.create(name="ci")
    found = store.lookup(new.secret)

    assert isinstance(found, ApiKey)
    kept = [record.to_values() for record in store._table.all()]
    for text in map(repr, (found, new, store, kept, list(store._table.all()))):
        assert new.secret[18:] not in text


def test_a_second_revocation_is_no_news(store: StoredKeys) -> None:
    key_id, seen = store.create().key.id, list[ApiKey]()

    def on_revoked(_sender: object, key: ApiKey) -> None:
        seen.append(key)

    with key_revoked.connected_to(on_revoked, store):
        first, second = store.revoke(key_id), store.revoke(key_id)
        store.revoke_unknown("signed")
        store.revoke_unknown("signed")

    assert first == second
    assert [key.id for key in seen] == [key_id, "signed"]


def test_a_date_is_the_beginning_of_the_day_for_not_before_and_its_end_for_expires(store: StoredKeys) -> None:
    key = store.create(not_before="2027-01-01", expires="2027-01-01").key

    assert key.not_before == datetime(2027, 1, 1, tzinfo=timezone.utc)
    assert key.expires == datetime(2027, 1, 1, 23, 59, 59, 999999, tzinfo=timezone.utc)
    assert store.get(key.id) == key
    plain: Any = {"not_before": date(2027, 1, 1), "expires": date(2027, 1, 1)}
    described = ApiKey("ci", **plain)
    assert (described.not_before, described.expires) == (key.not_before, key.expires)
