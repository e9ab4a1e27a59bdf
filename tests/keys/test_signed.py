"""`SignedKeys`: keys that carry their own description, signed with the app's secret key."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import URLSafeSerializer

from flask_guard import ApiKey, ConfigError, Guard, current_api_key, require_api_key
from flask_guard.keys import SignedKeys, SQLKeys
from tests.ids import shown

from ..conftest import MakeApp
from .clock import Clock

UNKNOWN = 'Bearer realm="api", error="invalid_token", error_description="The API key is not valid."'
EXPIRED = 'Bearer realm="api", error="invalid_token", error_description="The API key has expired."'


def client_of(app: Flask, keys: SignedKeys | None = None) -> FlaskClient:
    """Guard `app` by signed keys and return a client."""
    Guard(app, keys=keys or SignedKeys(), policies=[require_api_key(failures=None)])
    app.add_url_rule("/", "read", lambda: current_api_key.id)
    app.add_url_rule("/write", "write", require_api_key(scopes="orders:write")(lambda: current_api_key.name))
    return app.test_client()


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_an_issued_key_comes_back_as_it_was_described(app: Flask) -> None:
    expires = datetime(2031, 1, 31, 12, 0, tzinfo=timezone.utc)
    keys = SignedKeys.of(app)

    secret = keys.issue("ci", name="The CI", scopes=["orders:read", "orders:write"], expires=expires)

    assert keys.lookup(secret) == ApiKey("ci", "The CI", frozenset({"orders:read", "orders:write"}), expires)
    assert secret.isascii()
    assert " " not in secret


def test_an_issued_key_opens_what_its_scopes_reach_and_no_more(app: Flask) -> None:
    client, keys = client_of(app), SignedKeys.of(app)

    reader = bearer(keys.issue("reader", scopes="orders:read"))
    writer = bearer(keys.issue("writer", name="The writer", scopes=["orders:write"]))

    assert client.get("/", headers=reader).text == "reader"
    assert client.get("/write", headers=reader).status_code == 403
    assert client.get("/write", headers=writer).text == "The writer"


@pytest.mark.parametrize("expires", [time.time() - 1, "2020-01-31", datetime.now(timezone.utc) - timedelta(seconds=1)])
def test_an_expired_key_is_refused_as_expired(app: Flask, expires: Any) -> None:
    secret = SignedKeys.of(app).issue("ci", expires=expires)

    response = client_of(app).get("/", headers=bearer(secret))

    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, EXPIRED)


def test_a_key_is_good_until_the_moment_it_expires(app: Flask, clock: Clock) -> None:
    client, keys = client_of(app), SignedKeys.of(app)
    secret = keys.issue("ci", expires=clock.now() + timedelta(seconds=60))

    before = client.get("/", headers=bearer(secret)).status_code
    clock.forward(60)
    after = client.get("/", headers=bearer(secret)).status_code

    assert (before, after) == (200, 401)


def test_a_key_that_was_verified_once_is_asked_for_at_each_use_whether_it_is_revoked(
    app: Flask, sqlite_url: str
) -> None:
    revocations = SQLKeys(sqlite_url, cache=0)
    keys = SignedKeys.of(app, revocations=revocations)
    secret = keys.issue("ci")
    first = [keys.lookup(secret) for _ in range(3)]

    revocations.revoke_unknown("ci")  # not through the object that has verified the key

    assert first == [ApiKey("ci")] * 3
    assert [keys.lookup(secret) for _ in range(2)] == [None, None]
    revocations.close()


def tampered(secret: str) -> list[str]:
    """Return `secret` changed in every way that somebody without the signing key might try."""
    payload, _, signature = secret.rpartition(".")
    more = base64.urlsafe_b64encode(json.dumps({"id": "ci", "s": ["admin"]}).encode()).decode().rstrip("=")
    return [
        f"{more}.{signature}",
        f"{payload}.{signature[:-2]}",
        f"{payload}.{signature[::-1]}",
        f"{payload}.",
        payload,
        f".{signature}",
        f"{secret}.{signature}",
        secret.swapcase(),
        "..",
        "a.b",
        "é.é",
        "\udcff.\udcff",
    ]


def test_a_tampered_key_is_refused_as_unknown(app: Flask) -> None:
    client, keys = client_of(app), SignedKeys.of(app)
    secret = keys.issue("ci", scopes="orders:read")

    assert [keys.lookup(each) for each in tampered(secret)] == [None] * len(tampered(secret))
    for each in tampered(secret)[:-1]:
        on_the_wire = each.encode().decode("latin-1")
        response = client.get("/", environ_overrides={"HTTP_X_API_KEY": on_the_wire})
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, UNKNOWN)


def test_no_other_spelling_of_the_same_signature_is_a_key(app: Flask) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    keys = SignedKeys.of(app)
    secret = keys.issue("ci")  # its signature has 43 characters, the last of which has two bits that mean nothing
    same_bytes = [secret[:-1] + alphabet[alphabet.index(secret[-1]) ^ bits] for bits in (1, 2, 3)]

    assert keys.lookup(secret) is not None
    assert [keys.lookup(each) for each in (*same_bytes, f"{secret}=", f"{secret}é", f"{secret}!")] == [None] * 6


@pytest.mark.parametrize("digest", [hashlib.sha1, hashlib.sha256])
@pytest.mark.parametrize("salt", ["cookie-session", "itsdangerous", "confirm-mail"])
def test_what_else_the_app_signs_with_its_secret_key_is_no_key(app: Flask, salt: str, digest: Any) -> None:
    other = URLSafeSerializer(app.secret_key or "", salt=salt, signer_kwargs={"digest_method": digest})

    assert SignedKeys.of(app).lookup(str(other.dumps({"id": "admin"}))) is None


def test_a_key_of_a_retired_secret_works_while_it_is_among_the_fallbacks(make_app: MakeApp) -> None:
    secret = SignedKeys.of(make_app(SECRET_KEY="the first")).issue("ci")
    rotated = make_app(SECRET_KEY="the third", SECRET_KEY_FALLBACKS=["the first", "the second"])
    retired = make_app(SECRET_KEY="the third", SECRET_KEY_FALLBACKS=["the second"])

    assert client_of(rotated).get("/", headers=bearer(secret)).status_code == 200
    assert client_of(retired).get("/", headers=bearer(secret)).status_code == 401


def test_a_new_key_is_signed_by_the_current_secret_and_not_by_a_fallback(make_app: MakeApp) -> None:
    secret = SignedKeys.of(make_app(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"])).issue("ci")

    assert SignedKeys("new").lookup(secret) == ApiKey("ci")
    assert SignedKeys("old").lookup(secret) is None


def test_keys_may_have_a_secret_of_their_own_apart_from_the_app(make_app: MakeApp) -> None:
    keys = SignedKeys(["retired", b"current"])
    client = client_of(make_app(SECRET_KEY=None), keys)

    assert client.get("/", headers=bearer(keys.issue("ci"))).text == "ci"
    assert client.get("/", headers=bearer(SignedKeys("retired").issue("ci"))).text == "ci"
    assert client.get("/", headers=bearer(SignedKeys("another").issue("ci"))).status_code == 401


def test_one_app_does_not_accept_the_keys_of_another(make_app: MakeApp) -> None:
    shared = SignedKeys()  # one object for two apps: it must not take the secret of the first along
    first, second = make_app(SECRET_KEY="first"), make_app(SECRET_KEY="second")
    secret = SignedKeys.of(first).issue("ci")

    assert client_of(first, shared).get("/", headers=bearer(secret)).status_code == 200
    assert client_of(second, shared).get("/", headers=bearer(secret)).status_code == 401


def test_without_a_secret_key_signed_keys_are_refused_at_init_app(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError, match="SECRET_KEY"):
        Guard(make_app(SECRET_KEY=None), keys=SignedKeys())


@pytest.mark.parametrize("secret_keys", ["", b"", [], ["good", ""]], ids=shown)
def test_an_empty_signing_secret_is_refused(secret_keys: Any) -> None:
    with pytest.raises(ConfigError, match="empty"):
        SignedKeys(secret_keys)


@pytest.mark.parametrize(
    "description",
    [{"id": ""}, {"id": "ci", "scopes": "two words"}, {"id": "ci", "expires": "soon"}, {"id": "ci", "expires": True}],
    ids=shown,
)
def test_a_key_that_cannot_be_described_is_not_issued(app: Flask, description: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SignedKeys.of(app).issue(**description)


def test_its_repr_does_not_show_the_secret() -> None:
    assert "hidden" not in repr(SignedKeys("hidden"))
