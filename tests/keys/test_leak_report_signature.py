"""The sender of a report to `leak_report`: only the owner of a known private key, and not too often."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from flask import Flask
from flask.testing import FlaskClient

import flask_guard.support.fetched
from flask_guard import Denied, Guard, request_denied
from flask_guard.keys import SQLKeys, leak_report

from .reports import PUBLIC_KEYS, pem_of, report_of, signed

IDENTIFIER = "Github-Public-Key-Identifier"
SIGNATURE = "Github-Public-Key-Signature"


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[SQLKeys]:
    """Return stored keys."""
    keys = SQLKeys(f"sqlite:///{tmp_path / 'keys.sqlite'}")
    yield keys
    keys.close()


def client_of(app: Flask, keys: Any, **options: Any) -> FlaskClient:
    """Guard `app`, add the endpoint, and return a client."""
    Guard(app, keys=keys)
    app.register_blueprint(leak_report(**{"public_keys": PUBLIC_KEYS, **options}))
    return app.test_client()


# The example in GitHub's documentation: https://docs.github.com/code-security/secret-scanning/secret-scanning-partner-program
DOCUMENTED = b'[{"token":"some_token","type":"some_type","url":"some_url"}]'
DOCUMENTED_KEY = "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a"
DOCUMENTED_PEM = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq
kCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==
-----END PUBLIC KEY-----
"""
DOCUMENTED_FIELDS = {
    "GITHUB-PUBLIC-KEY-IDENTIFIER": DOCUMENTED_KEY,
    "GITHUB-PUBLIC-KEY-SIGNATURE": (
        "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc="
    ),
}


def test_the_report_in_the_documentation_of_github_is_accepted_and_a_changed_one_is_not(app: Flask) -> None:
    client = client_of(app, {"ci": "some_token"}, public_keys={DOCUMENTED_KEY: DOCUMENTED_PEM})

    answers = [
        client.post("/leaked-keys", data=body, headers=DOCUMENTED_FIELDS) for body in (DOCUMENTED, DOCUMENTED + b" ")
    ]

    assert [each.status_code for each in answers] == [204, 401]


OTHER = ec.generate_private_key(ec.SECP256R1())


def raw(body: bytes) -> dict[str, str]:
    """Return a signature in the form that JWTs have, which is not the one of GitHub."""
    fields = signed(body)
    r, s = decode_dss_signature(b64decode(fields[SIGNATURE]))
    return {**fields, SIGNATURE: b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()}


REFUSED: dict[str, tuple[str, Callable[[bytes], dict[str, str]]]] = {
    "nothing": ("missing", lambda body: {}),
    "no identifier": ("missing", lambda body: {SIGNATURE: signed(body)[SIGNATURE]}),
    "no signature": ("missing", lambda body: {IDENTIFIER: "current"}),
    "an empty signature": ("missing", lambda body: {**signed(body), SIGNATURE: ""}),
    "an unknown key": ("unknown_key", lambda body: signed(body, identifier="next")),
    "another key": ("mismatch", lambda body: signed(body, OTHER)),
    "another body": ("mismatch", lambda body: signed(body + b" ")),
    "another hash": ("mismatch", lambda body: signed(body, algorithm=SHA384())),
    "no base64": ("mismatch", lambda body: {**signed(body), SIGNATURE: "~" + signed(body)[SIGNATURE]}),
    "beyond ASCII": ("mismatch", lambda body: {**signed(body), SIGNATURE: signed(body)[SIGNATURE] + "é"}),
    "half of it": ("mismatch", lambda body: {**signed(body), SIGNATURE: signed(body)[SIGNATURE][:48]}),
    "the raw form": ("mismatch", raw),
    "zeros": ("mismatch", lambda body: {**signed(body), SIGNATURE: "MAYCAQACAQA="}),
}


@pytest.mark.parametrize(("reason", "make"), REFUSED.values(), ids=REFUSED.keys())
def test_without_a_good_signature_nothing_is_revoked_and_the_refusal_says_why(
    app: Flask, keys: SQLKeys, reason: str, make: Callable[[bytes], dict[str, str]]
) -> None:
    client, leaked = client_of(app, keys), keys.create()
    body = report_of(leaked.secret)
    reasons: list[str] = []

    def on_denied(_sender: object, denial: Denied, **_more: object) -> None:
        reasons.append(denial.reason)

    with request_denied.connected_to(on_denied):
        answer = client.post("/leaked-keys", data=body, headers=make(body))

    assert (answer.status_code, answer.content_type) == (401, "application/problem+json")
    assert answer.headers["WWW-Authenticate"] == 'Signature realm="leak_report"'
    assert answer.get_json()["detail"]
    assert reasons == [reason]
    assert keys.get(leaked.key.id).status == "active"


def test_reports_are_limited_before_their_signature_is_checked(app: Flask) -> None:
    client = client_of(app, {"ci": "a secret"}, rate="2/minute")

    answers = [client.post("/leaked-keys", data=b"[]") for _ in range(3)]

    assert [each.status_code for each in answers] == [401, 401, 429]
    assert int(answers[2].headers["Retry-After"]) > 0


def test_a_key_for_another_purpose_among_the_public_keys_does_no_harm(app: Flask) -> None:
    others = {"p384": pem_of(ec.generate_private_key(ec.SECP384R1())), "odd": "nonsense"}
    client = client_of(app, {"ci": "a secret"}, public_keys={**others, **PUBLIC_KEYS})

    statuses = [
        client.post("/leaked-keys", data=b"[]", headers=signed(b"[]", identifier=each)).status_code
        for each in ("current", "p384", "odd")
    ]

    assert statuses == [204, 401, 401]


# Public keys that a callable fetches ------------------------------------------------------------------------------


class Published:
    """Public keys that a callable returns, which fails while there are none."""

    def __init__(self) -> None:
        self.keys = dict(PUBLIC_KEYS)
        self.asked = 0

    def __call__(self) -> dict[str, str]:
        self.asked += 1
        if not self.keys:
            raise ConnectionError("GitHub is down")
        return self.keys


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose one member is the time on the monotonic clock."""
    now = [1000.0]
    monkeypatch.setattr(flask_guard.support.fetched, "monotonic", lambda: now[0])
    return now


def post(client: FlaskClient, signer: ec.EllipticCurvePrivateKey | None = None, identifier: str = "current") -> int:
    fields = signed(b"[]", identifier=identifier) if signer is None else signed(b"[]", signer, identifier)
    return client.post("/leaked-keys", data=b"[]", headers=fields).status_code


@pytest.mark.slow
def test_public_keys_are_fetched_when_a_report_comes_and_again_for_an_unknown_one_but_rarely(
    app: Flask, published: Published, clock: list[float]
) -> None:
    client = client_of(app, {"ci": "a secret"}, public_keys=published, rate="1000/minute")
    assert published.asked == 0

    assert [post(client) for _ in range(3)] == [204] * 3
    assert published.asked == 1
    published.keys["next"] = pem_of(OTHER)
    clock[0] += 11
    assert post(client, OTHER, "next") == 204
    assert {post(client, OTHER, f"unknown-{number}") for number in range(50)} == {401}
    assert published.asked == 2


def test_a_public_key_that_was_withdrawn_is_not_used_for_longer_than_an_hour(
    app: Flask, published: Published, clock: list[float]
) -> None:
    client = client_of(app, {"ci": "a secret"}, public_keys=published)
    assert post(client) == 204
    published.keys = {"next": pem_of(OTHER)}
    clock[0] += 3601

    assert post(client) == 401


def test_while_public_keys_cannot_be_fetched_those_at_hand_are_used_and_without_any_the_report_must_come_again(
    app: Flask, published: Published, clock: list[float]
) -> None:
    client = client_of(app, {"ci": "a secret"}, public_keys=published)
    available, published.keys = published.keys, {}
    first = client.post("/leaked-keys", data=b"[]", headers=signed(b"[]"))
    published.keys = available
    clock[0] += 11
    assert (first.status_code, int(first.headers["Retry-After"]) > 0) == (503, True)
    assert post(client) == 204

    published.keys = {}
    clock[0] += 3601

    assert post(client) == 204


@pytest.mark.slow
def test_without_cryptography_the_error_names_the_command_that_installs_it() -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "import flask_guard.keys\n"
        "try: flask_guard.keys.leak_report(public_keys={})\n"
        "except flask_guard.ConfigError as error: print(error)"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "pip install 'flask-guard-kit[jwt]'" in result.stdout
