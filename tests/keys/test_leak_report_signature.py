"""Who may post to `leak_report`: whoever signs what is posted with the shared secret, now, and not too often."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_guard import Denied, Guard, request_denied
from flask_guard.keys import SQLKeys, leak_report
from flask_guard.keys.leaked_keys import sign
from tests.ids import shown

SECRET = "what the scanner signs with"


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[SQLKeys]:
    """Return stored keys."""
    keys = SQLKeys(f"sqlite:///{tmp_path / 'keys.sqlite'}")
    yield keys
    keys.close()


def client_of(app: Flask, keys: Any, **options: Any) -> FlaskClient:
    """Guard `app`, add the endpoint, and return a client."""
    Guard(app, keys=keys)
    app.register_blueprint(leak_report(**{"secret": SECRET, **options}))
    return app.test_client()


BODY = b'[{"token": "x"}]'
OTHER = "what somebody else signs with"

REFUSED: dict[str, tuple[str, Callable[[bytes, str, str], str | None]]] = {
    "missing": ("missing", lambda body, now, mac: None),
    "empty": ("malformed", lambda body, now, mac: ""),
    "no time": ("malformed", lambda body, now, mac: f"v1={mac}"),
    "no signature": ("malformed", lambda body, now, mac: f"t={now}"),
    "two times": ("malformed", lambda body, now, mac: f"t={now},t={now},v1={mac}"),
    "a time in words": ("malformed", lambda body, now, mac: f"t=now,v1={mac}"),
    "a negative time": ("malformed", lambda body, now, mac: f"t=-{now},v1={mac}"),
    "a time with a sign": ("malformed", lambda body, now, mac: f"t=+{now},v1={mac}"),
    "an endless time": ("malformed", lambda body, now, mac: f"t={'9' * 500},v1={mac}"),
    "another scheme": ("malformed", lambda body, now, mac: f"t={now},v0={mac}"),
    "beyond what is read": ("malformed", lambda body, now, mac: f"{' ,' * 1000}t={now},v1={mac}"),
    "an old time": ("stale", lambda body, now, mac: sign(body, SECRET, int(now) - 330)),
    "a time to come": ("stale", lambda body, now, mac: sign(body, SECRET, int(now) + 330)),
    "an old signature": ("mismatch", lambda body, now, mac: f"t={now}," + sign(body, SECRET, 1e9).partition(",")[2]),
    "another signature": ("mismatch", lambda body, now, mac: f"t={now},v1={mac[::-1]}"),
    "half a signature": ("mismatch", lambda body, now, mac: f"t={now},v1={mac[:32]}"),
    "an empty signature": ("mismatch", lambda body, now, mac: f"t={now},v1="),
    "beyond ASCII": ("mismatch", lambda body, now, mac: f"t={now},v1={mac}é"),
    "another secret": ("mismatch", lambda body, now, mac: sign(body, OTHER)),
    "another body": ("mismatch", lambda body, now, mac: sign(body + b" ", SECRET)),
}


@pytest.mark.parametrize(("reason", "make"), REFUSED.values(), ids=REFUSED.keys())
def test_without_a_good_signature_nothing_is_revoked_and_the_refusal_says_why(
    app: Flask, keys: SQLKeys, reason: str, make: Callable[[bytes, str, str], str | None]
) -> None:
    client, leaked = client_of(app, keys), keys.create()
    body = json.dumps([{"token": leaked.secret}]).encode()
    now, _, mac = sign(body, SECRET).removeprefix("t=").partition(",v1=")
    signature = make(body, now, mac)
    reasons: list[str] = []

    def on_denied(_sender: object, denial: Denied, **_more: object) -> None:
        reasons.append(denial.reason)

    with request_denied.connected_to(on_denied):
        headers = {} if signature is None else {"X-Signature": signature}
        answer = client.post("/leaked-keys", data=body, headers=headers)

    assert (answer.status_code, answer.content_type) == (401, "application/problem+json")
    assert answer.headers["WWW-Authenticate"] == 'Signature realm="leak_report"'
    assert answer.get_json()["detail"]
    assert reasons == [reason]
    assert keys.get(leaked.key.id).status == "active"


@pytest.mark.parametrize(("age", "status"), [(-330, 401), (-270, 204), (0, 204), (270, 204), (330, 401)])
def test_a_signature_holds_for_five_minutes(app: Flask, age: int, status: int) -> None:
    client = client_of(app, {"ci": "a secret"})

    answer = client.post("/leaked-keys", data=BODY, headers={"X-Signature": sign(BODY, SECRET, time.time() - age)})

    assert answer.status_code == status


@pytest.mark.parametrize("secret", ["the new secret of the scanner", SECRET, SECRET.encode()], ids=shown)
def test_while_a_secret_is_changed_both_are_accepted_on_either_side(app: Flask, secret: str | bytes) -> None:
    client = client_of(app, {"ci": "a secret"}, secret=["the new secret of the scanner", SECRET.encode()])
    ours = sign(BODY, secret)
    both = f"{sign(BODY, 'of another service')}, {ours.partition(',')[2]}"

    answers = [client.post("/leaked-keys", data=BODY, headers={"X-Signature": each}) for each in (ours, both)]

    assert [each.status_code for each in answers] == [204, 204]


def test_reports_are_limited_before_their_signature_is_checked(app: Flask) -> None:
    client = client_of(app, {"ci": "a secret"}, rate="2/minute")

    answers = [client.post("/leaked-keys", data=BODY) for _ in range(3)]

    assert [each.status_code for each in answers] == [401, 401, 429]
    assert int(answers[2].headers["Retry-After"]) > 0
