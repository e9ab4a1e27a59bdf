"""`leak_report`: what GitHub reports and is ours is revoked, and the answer does not say what that was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_guard import ApiKey, Guard, current_api_key, limit, require_api_key
from flask_guard.keys import KeyFormat, KeyStoreUnavailable, SignedKeys, SQLKeys, StoredKeys, chain, leak_report
from flask_guard.signals import key_leaked, key_revoked

from ..conftest import MakeApp
from .reports import PUBLIC_KEYS, report_of, signed

URL = "https://git.example/shop/blob/main/.env"
FOREIGN = KeyFormat().new("0123456789")


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[SQLKeys]:
    """Return stored keys that a cache would go on accepting for an hour."""
    keys = SQLKeys(f"sqlite:///{tmp_path / 'keys.sqlite'}", cache=3600)
    yield keys
    keys.close()


def client_of(app: Flask, keys: Any, **options: Any) -> FlaskClient:
    """Guard the whole of `app` by API keys, add the endpoint, and return a client."""
    Guard(app, keys=keys, policies=[require_api_key(failures=None)])
    app.add_url_rule("/", "index", lambda: current_api_key.id)
    app.register_blueprint(leak_report(**{"public_keys": PUBLIC_KEYS, **options}))
    return app.test_client()


def report(client: FlaskClient, *tokens: str, url: str = URL, path: str = "/leaked-keys") -> Any:
    """Post `tokens` as GitHub does."""
    body = report_of(*tokens, url=url)
    return client.post(path, data=body, headers=signed(body))


def status_with(client: FlaskClient, secret: str) -> int:
    return client.get("/", headers={"X-API-Key": secret}).status_code


# What is ours ----------------------------------------------------------------------------------------------------


def test_a_reported_key_works_no_more_from_the_answer_on(app: Flask, keys: SQLKeys) -> None:
    client = client_of(app, keys)
    leaked, other = keys.create(), keys.create()
    before = [status_with(client, each.secret) for each in (leaked, other)]  # both are in the cache now

    answer = report(client, FOREIGN, leaked.secret, "nonsense")

    assert answer.status_code == 204
    assert before == [200, 200]
    assert [status_with(client, each.secret) for each in (leaked, other)] == [401, 200]


def test_a_key_that_leaks_by_its_retiring_secret_is_revoked_whole(app: Flask, keys: SQLKeys) -> None:
    client = client_of(app, keys)
    old = keys.create()
    new = keys.rotate(old.key.id, overlap=3600)

    report(client, old.secret)

    assert [status_with(client, each.secret) for each in (old, new)] == [401, 401]


@pytest.mark.parametrize("nested", [False, True])
def test_signed_and_stored_keys_are_found_through_a_chain(app: Flask, keys: SQLKeys, nested: bool) -> None:
    signed = SignedKeys(app.secret_key, revocations=keys)
    client = client_of(app, chain({}, chain(keys, signed)) if nested else chain(keys, signed))
    secrets = [keys.create().secret, signed.issue("ci"), signed.issue("web")]

    report(client, *secrets[:2])

    assert [status_with(client, each) for each in secrets] == [401, 401, 200]


def test_another_store_than_that_of_the_app_can_be_named(app: Flask, keys: SQLKeys) -> None:
    client = client_of(app, {"ci": "a secret"}, store=keys)
    leaked = keys.create()

    report(client, leaked.secret)

    assert keys.get(leaked.key.id).status == "revoked"


def test_a_leak_is_logged_and_signalled_by_id_and_address_and_never_by_its_secret(
    app: Flask, keys: SQLKeys, caplog: pytest.LogCaptureFixture
) -> None:
    client, leaked = client_of(app, keys), keys.create()
    seen: list[Any] = []

    def on_leaked(sender: object, **more: Any) -> None:
        seen.append((sender, more["key"].id, more["url"], more["revoked"]))

    def on_revoked(sender: object, key: ApiKey) -> None:
        seen.append((sender, key.id))

    with key_leaked.connected_to(on_leaked), key_revoked.connected_to(on_revoked), caplog.at_level(logging.DEBUG):
        report(client, leaked.secret, leaked.secret, FOREIGN)

    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert warnings == [f"API key {leaked.key.id} has leaked at {URL}, and was revoked"]
    assert seen == [(keys, leaked.key.id), (keys, leaked.key.id, URL, True)]
    assert leaked.secret not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", "(an unknown place)"),
        ("https://x.example/\r\nERROR forged", "https://x.example/\\r\\nERROR forged"),
        ("https://x.example/\u202egnp", "https://x.example/\\u202egnp"),
        ("h" * 5000, "h" * 200 + "…"),
        ("https://x.example/?key={key}", "(an address that holds a key)"),
        ("https://x.example/?key={quoted}", "(an address that holds a key)"),
        ("https://x.example/?key={other}", "(an address that holds a key)"),
    ],
)
def test_the_reported_address_can_forge_no_log_line_and_smuggle_no_key_into_one(
    app: Flask, keys: SQLKeys, caplog: pytest.LogCaptureFixture, url: str, shown: str
) -> None:
    client, leaked = client_of(app, keys), keys.create().secret
    quoted = "".join(f"%{ord(c):02x}" for c in leaked)

    report(client, leaked, FOREIGN, url=url.format(key=leaked, quoted=quoted, other=FOREIGN))

    assert [each.getMessage().split(" has leaked at ")[1] for each in caplog.records] == [f"{shown}, and was revoked"]


def callable_keys(presented: str) -> ApiKey | None:
    return ApiKey("ci") if presented == "a secret" else None


@pytest.mark.parametrize("kind", ["static", "callable", "signed"])
def test_a_leak_that_cannot_be_revoked_is_an_error_in_the_log_and_answered_alike(
    app: Flask, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    sources: dict[str, Any] = {"static": {"ci": "a secret"}, "callable": callable_keys, "signed": SignedKeys()}
    leaked = SignedKeys.of(app).issue("ci") if kind == "signed" else "a secret"
    client = client_of(app, sources[kind])
    seen: list[Any] = []

    def on_leaked(_sender: object, **more: Any) -> None:
        seen.append((more["key"].id, more["revoked"]))

    with key_leaked.connected_to(on_leaked):
        answer = report(client, leaked)

    assert (answer.status_code, seen) == (204, [("ci", False)])
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    assert f"API key ci has leaked at {URL}, and CANNOT BE REVOKED: " in caplog.text
    assert leaked not in caplog.text


# What the reporter learns ----------------------------------------------------------------------------------------


def test_the_answer_is_the_same_whatever_was_reported(app: Flask, keys: SQLKeys) -> None:
    client = client_of(app, chain(keys, {"ci": "a static secret"}), rate="1000/minute")
    ours, revoked, expired = keys.create(), keys.create(), keys.create(expires="2020-01-31")
    keys.revoke(revoked.key.id)
    secrets = [each.secret for each in (ours, revoked, expired)]

    answers = [
        report(client, *tokens)
        for tokens in ([], [""], ["nonsense"], [FOREIGN], ["a static secret"], *([each] for each in secrets), secrets)
    ]

    same = {(each.status_code, each.data, each.headers["Content-Type"], len(each.headers)) for each in answers}
    assert same == {(204, b"", answers[0].headers["Content-Type"], len(answers[0].headers))}
    assert {name for each in answers for name, _ in each.headers} == {name for name, _ in answers[0].headers}


class DownStore:
    """Keys that cannot be reached, and how often that was tried."""

    asked = 0

    def lookup(self, presented: str) -> ApiKey | None:
        self.asked += 1
        raise KeyStoreUnavailable("down")


def test_while_a_store_is_down_the_rest_is_revoked_and_the_reporter_told_to_come_again(
    app: Flask, keys: SQLKeys
) -> None:
    down = DownStore()
    client = client_of(app, chain(down, keys))
    leaked = [keys.create() for _ in range(3)]

    answer = report(client, FOREIGN, *(each.secret for each in leaked))

    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
    assert {keys.get(each.key.id).status for each in leaked} == {"revoked"}
    assert down.asked == 1  # or a thousand tokens would wait a thousand times for its timeout


def test_a_real_store_that_is_down_is_a_503_whether_the_key_is_ours_or_not(make_app: MakeApp, tmp_path: Path) -> None:
    keys = SQLKeys(f"sqlite:///{tmp_path / 'no such folder' / 'keys.sqlite'}")
    client = client_of(make_app(), keys)

    assert report(client, FOREIGN).status_code == 503
    keys.close()


# Where it is -----------------------------------------------------------------------------------------------------


def test_without_a_guard_nobody_can_report(app: Flask, keys: SQLKeys) -> None:
    leaked = keys.create()
    app.register_blueprint(leak_report(public_keys=PUBLIC_KEYS, store=keys))

    assert report(app.test_client(), leaked.secret).status_code == 500
    assert keys.get(leaked.key.id).status == "active"


def test_it_can_be_elsewhere_and_twice_and_on_several_apps(make_app: MakeApp, tmp_path: Path) -> None:
    blueprint = leak_report(public_keys=PUBLIC_KEYS, url="/hooks/leaks", name="leaks")
    stores: list[StoredKeys] = [SQLKeys(f"sqlite:///{tmp_path / name}") for name in ("a", "b")]
    for store in stores:
        app = make_app()
        client = client_of(app, store)
        app.register_blueprint(blueprint)
        leaked = [each.create() for each in stores]

        assert report(client, *(each.secret for each in leaked), path="/hooks/leaks").status_code == 204
        assert [each.get(new.key.id).status == "revoked" for each, new in zip(stores, leaked, strict=True)] == [
            each is store for each in stores
        ]
    for store in stores:
        store.close()


def test_a_limit_of_the_whole_app_does_not_count_reports_as_well(app: Flask) -> None:
    Guard(app, policies=[limit("1/minute")])
    app.register_blueprint(leak_report(public_keys=PUBLIC_KEYS))
    client = app.test_client()

    assert [report(client, "x").status_code for _ in range(3)] == [204, 204, 204]
