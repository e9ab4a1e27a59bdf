"""``flask guard keys``: the whole life of a key on the command line, and what is printed where."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from click.testing import Result
from flask import Flask

from flask_guard import ApiKey
from flask_guard.keys import SignedKeys, SQLKeys, chain
from flask_guard.signals import key_revoked
from flask_guard.support.durations import parse_span
from tests.ids import shown

from ..conftest import MakeApp
from ..keys.clock import Clock
from .conftest import Keys, guarded, lines_of, made, one_of_each, runner, status_of

FACTS = {
    *("id", "name", "status", "scopes", "created", "not_before", "expires"),
    *("last_used", "revoked", "retiring", "rate", "addresses", "claims"),
}
SHOWN_ONCE = "is not shown again"


@pytest.mark.slow
def test_a_key_lives_from_create_to_revoke_and_its_secret_is_shown_once(
    app: Flask, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    first = made(keys("create", "--name", "The shop", "--scope", "orders:read", "--json"))
    said: list[Result] = [verified := keys("verify", "--json", input=f"{first['secret']}\n")]
    assert made(verified)["valid"] is True
    assert made(verified)["scopes"] == ["orders:read"]
    assert status_of(app, first["secret"]) == 200

    second = made(keys("rotate", first["id"], "--overlap", "24h", "--json"))
    assert (second["id"], second["secret"] == first["secret"]) == (first["id"], False)
    assert [status_of(app, each["secret"]) for each in (first, second)] == [200, 200]

    said += [keys("show", first["id"]), keys("list"), keys("list", "--json"), keys("revoke", first["id"], "--yes")]
    assert [result.exit_code for result in said] == [0] * 5
    assert [status_of(app, each["secret"]) for each in (first, second)] == [401, 401]
    said += [keys("verify", input=each["secret"]) for each in (first, second)]
    assert [result.exit_code for result in said[-2:]] == [1, 1]

    output = caplog.text + "".join(result.stdout + result.stderr for result in said)
    assert not [each for each in (first, second) if each["secret"] in output or each["secret"][-30:] in output]


def test_rotate_without_an_overlap_ends_the_old_secret(app: Flask, keys: Keys) -> None:
    first = made(keys("create", "--json"))

    second = made(keys("rotate", first["id"], "--json"))

    assert [status_of(app, each["secret"]) for each in (first, second)] == [401, 200]


def test_the_old_secret_lives_for_the_overlap_and_no_longer(app: Flask, keys: Keys, clock: Clock) -> None:
    first = made(keys("create", "--json"))

    made(keys("rotate", first["id"], "--overlap", "1m", "--json"))

    assert status_of(app, first["secret"]) == 200
    clock.forward(60)
    assert status_of(app, first["secret"]) == 401


def test_show_and_list_say_until_when_an_earlier_secret_works_and_rotate_ends_it(keys: Keys) -> None:
    key_id = made(keys("create", "--json"))["id"]
    until = made(keys("rotate", key_id, "--overlap", "30d", "--json"))["retiring"]

    assert len(until) == 1
    assert abs(datetime.fromisoformat(until[0]) - datetime.now(timezone.utc) - timedelta(days=30)) < timedelta(
        minutes=1
    )
    assert made(keys("show", key_id, "--json"))["retiring"] == until
    assert lines_of(keys("show", key_id))["retiring"] == until[0]
    assert keys("list").stdout.splitlines()[1].endswith(until[0])

    assert made(keys("rotate", key_id, "--json"))["retiring"] == []


def test_a_date_begins_a_key_at_its_beginning_and_ends_it_at_its_end(keys: Keys) -> None:
    document = made(keys("create", "--not-before", "2127-01-01", "--expires", "2127-01-01", "--json"))

    assert (document["not_before"], document["expires"]) == ("2127-01-01T00:00:00+00:00", "2127-01-01T23:59:59+00:00")


def test_a_key_may_start_in_the_past(keys: Keys) -> None:
    assert made(keys("create", "--not-before", "2020-01-01", "--json"))["status"] == "active"


def test_revoking_a_key_again_sends_no_signal(app: Flask, keys: Keys, store: SQLKeys) -> None:
    key_id, seen = store.create().key.id, list[str]()

    def on_revoked(_sender: object, key: ApiKey) -> None:
        seen.append(key.id)

    with key_revoked.connected_to(on_revoked):
        documents = [made(keys("revoke", key_id, "--yes", "--json")) for _ in range(2)]

    assert documents[0] == documents[1]
    assert seen == [key_id]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("0", 0), ("2m", 120), ("24h", 86_400), ("1d12h", 129_600), ("1w1d1h1m1s", 694_861)],
)
def test_a_span_is_seconds_or_numbers_of_units(text: str, seconds: float) -> None:
    assert parse_span(text).total_seconds() == seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize("command", ["create", "rotate"])
@pytest.mark.parametrize("how", ["text", "json"])
def test_a_new_secret_is_printed_once_and_standard_error_says_so(
    app: Flask, keys: Keys, store: SQLKeys, command: str, how: str
) -> None:
    arguments = [command] if command == "create" else [command, store.create().key.id]

    result = keys(*arguments, *(["--json"] if how == "json" else []))

    secret = made(result)["secret"] if how == "json" else lines_of(result)["secret"]
    assert result.output.count(secret) == 1
    assert status_of(app, secret) == 200
    assert SHOWN_ONCE in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_create_makes_the_key_that_its_options_describe(keys: Keys, store: SQLKeys) -> None:
    options = {"--name": "The shop", "--expires": "2131-01-31T12:00:00Z", "--not-before": "2031-01-31T12:00:00+01:00"}
    pairs = [part for option in options.items() for part in option]
    several = ["--scope", "b", "--scope", "a", "--address", "192.0.2.0/24", "--address", "2001:db8::1"]
    claims = ["--claim", "tenant=acme", "--claim", "note=a=b"]

    document = made(keys("create", *pairs, *several, *claims, "--rate", "10/minute", "--json"))

    assert set(document) == {*FACTS, "secret"}
    key = store.get(document["id"])
    assert (key.name, sorted(key.scopes), key.rate) == ("The shop", ["a", "b"], "10/minute")
    assert key.expires == datetime(2131, 1, 31, 12, tzinfo=timezone.utc)
    assert key.not_before == datetime(2031, 1, 31, 11, tzinfo=timezone.utc)
    assert [str(each) for each in key.addresses] == ["192.0.2.0/24", "2001:db8::1/128"]
    assert dict(key.claims) == {"tenant": "acme", "note": "a=b"}
    assert document["claims"] == {"tenant": "acme", "note": "a=b"}
    assert document["expires"] == "2131-01-31T12:00:00+00:00"


@pytest.mark.parametrize(
    ("span", "length"),
    [("90d", timedelta(days=90)), ("12h", timedelta(hours=12)), ("2w", timedelta(14)), ("1h30m", timedelta(hours=1.5))],
)
def test_a_key_can_expire_a_span_from_now(keys: Keys, store: SQLKeys, span: str, length: timedelta) -> None:
    before = datetime.now(timezone.utc)

    key = store.get(made(keys("create", "--expires", span, "--json"))["id"])

    assert key.expires is not None
    assert before + length <= key.expires <= datetime.now(timezone.utc) + length


def test_list_prints_aligned_columns_a_key_a_line(keys: Keys, store: SQLKeys) -> None:
    ids = one_of_each(store)

    lines = keys("list").stdout.splitlines()

    assert lines[0].split("  ")[0] == "ID"
    starts = [lines[0].index(title) for title in ("ID", "NAME", "SCOPES", "STATUS", "EXPIRES", "LAST USED", "RETIRING")]
    rows = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in lines[1:]]
    assert rows[0] == [ids["active"], "The shop", "a b", "active", "never", "never", "-"]
    assert [row[0] for row in rows] == list(ids.values())
    assert [row[3] for row in rows] == list(ids)


@pytest.mark.parametrize("status", ["active", "expired", "revoked", "not yet valid"])
def test_list_can_be_limited_to_a_status(keys: Keys, store: SQLKeys, status: str) -> None:
    ids = one_of_each(store)

    documents = json.loads(keys("list", "--status", status, "--json").stdout)

    assert [(each["id"], each["status"]) for each in documents] == [(ids[status], status)]
    assert set(documents[0]) == FACTS


def test_a_list_of_no_keys_is_a_list(keys: Keys) -> None:
    assert json.loads(keys("list", "--json").stdout) == []
    assert keys("list").stdout.splitlines() == ["ID  NAME  SCOPES  STATUS  EXPIRES  LAST USED  RETIRING"]


def test_list_says_when_a_key_was_last_used(app: Flask, keys: Keys, store: SQLKeys) -> None:
    status_of(app, made(keys("create", "--json"))["secret"])
    store.flush()

    used = json.loads(keys("list", "--json").stdout)[0]["last_used"]

    assert abs(datetime.fromisoformat(used) - datetime.now(timezone.utc)) < timedelta(seconds=30)


def test_show_tells_the_same_to_people_and_to_programs(keys: Keys, store: SQLKeys) -> None:
    key_id = store.create(name="The shop", scopes=["e", "b", "d", "a", "c"], claims={"plan": "pro"}).key.id

    document, lines = made(keys("show", key_id, "--json")), lines_of(keys("show", key_id))

    assert set(document) == FACTS
    assert set(lines) == {name.replace("_", " ") for name in FACTS}
    assert (lines["id"], lines["scopes"], lines["expires"], lines["rate"]) == (key_id, "a b c d e", "never", "-")
    assert json.loads(lines["claims"]) == document["claims"] == {"plan": "pro"}


def test_a_hostile_name_cannot_write_on_the_terminal(keys: Keys, store: SQLKeys) -> None:
    key_id = store.create(name="x\n\x1b[2J\u202ey", claims={"\x7f\x1b": "\x9b"}).key.id

    for result in (keys("show", key_id), keys("list")):
        assert all(line.isprintable() for line in result.stdout.splitlines()), result.stdout
        assert "x\\n\\x1b[2J\\u202ey" in result.stdout


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "  \n"], ids=shown)
def test_verify_reads_the_key_from_standard_input(keys: Keys, store: SQLKeys, end: str) -> None:
    new = store.create(scopes=["orders:read"])

    lines = lines_of(keys("verify", input=new.secret + end))

    assert (lines["valid"], lines["id"], lines["status"]) == ("yes", new.key.id, "active")
    assert lines["scopes"] == "orders:read"


@pytest.mark.parametrize("input", ["nonsense", b"\xff\xfe", "x" * 100_000, "a\nb", "\x00"], ids=lambda each: each[:9])
def test_what_is_no_key_is_not_valid(keys: Keys, input: str | bytes) -> None:
    result, document = keys("verify", input=input), keys("verify", "--json", input=input)

    assert (result.exit_code, result.stdout, result.stderr) == (1, "not valid\n", "")
    assert (document.exit_code, json.loads(document.stdout)) == (1, {"valid": False})


@pytest.mark.parametrize(
    ("options", "status"),
    [({"expires": "2020-01-31"}, "expired"), ({"not_before": "2120-01-31"}, "not yet valid")],
    ids=["expired", "not yet valid"],
)
def test_verify_says_why_a_key_does_not_work(keys: Keys, store: SQLKeys, options: dict[str, str], status: str) -> None:
    secret = store.create(expires=options.get("expires"), not_before=options.get("not_before")).secret

    result = keys("verify", "--json", input=secret)

    document = json.loads(result.stdout)
    assert (result.exit_code, document["valid"], document["status"]) == (1, False, status)


def test_verify_asks_every_store_as_a_request_would_and_changes_go_to_the_stored_keys(
    make_app: MakeApp, store: SQLKeys
) -> None:
    app = guarded(make_app(), chain({"ci": "a long static secret, ключ"}, chain(SignedKeys(), store)))
    keys, signed = runner(app), SignedKeys.of(app).issue("signed")
    stored = made(keys("create", "--json"))

    for secret, key_id in ((stored["secret"], stored["id"]), ("a long static secret, ключ", "ci"), (signed, "signed")):
        assert made(keys("verify", "--json", input=secret))["id"] == key_id
    assert [each["id"] for each in json.loads(keys("list", "--json").stdout)] == [stored["id"]]
    assert [key.id for key in store.list()] == [stored["id"]]
    assert keys("show", "ci").exit_code == 3


def test_an_app_without_keys_has_no_valid_key(app: Flask, make_app: MakeApp) -> None:
    assert runner(guarded(make_app(), None))("verify", input="x").exit_code == 1
