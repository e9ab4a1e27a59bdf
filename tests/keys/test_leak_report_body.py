"""What GitHub may post to `leak_report`, and what its author may write."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from flask import Flask, request
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from flask_guard import ApiKey, ConfigError, Guard
from flask_guard.keys import leak_report
from tests.cases import together

from .reports import PUBLIC_KEYS, SIGNER, pem_of, signed

MIB = 2**20
ENTRY: dict[str, Any] = {"token": "x"}


def client_of(**config: Any) -> FlaskClient:
    """Return a client of an app with one key and the endpoint."""
    app = Flask("tests")
    app.config.update(config)
    Guard(app, keys={"ci": "a secret"})
    app.register_blueprint(leak_report(public_keys=PUBLIC_KEYS, rate="10000/second"))
    return app.test_client()


CLIENT = client_of()


def post(client: FlaskClient, body: bytes, **options: Any) -> Any:
    return client.post("/leaked-keys", data=body, headers=signed(body), **options)


ACCEPTED = {
    "none": [],
    "one": [ENTRY],
    "as GitHub writes it": [{**ENTRY, "type": "fg", "url": "https://x.example/", "source": "content"}],
    "nothing known": [{**ENTRY, "type": None, "url": None, "source": None}],
    "more than is known": [{**ENTRY, "severity": {"of": ["our"], "own": 1}}],
    "half a character": [{"token": "\ud800"}],
    "a long token": [{"token": "x" * 100_000}],
    "control characters": [{"token": "\x00\r\n"}],
    "thousands": [{"token": f"token-{number}"} for number in range(5000)],
}


@pytest.mark.slow
@pytest.mark.parametrize("document", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_list_of_tokens_is_a_report(document: Any) -> None:
    assert post(CLIENT, json.dumps(document).encode()).status_code == 204


REFUSED = {
    "nothing": b"",
    "no JSON": b"token=x",
    "half": b'[{"token": "x"',
    "no UTF-8": b'[{"token": "\xff"}]',
    "too deep": b"[" * 200_000,
    "an endless number": b"[" + b"9" * 10_000 + b"]",
    "an object": b'{"token": "x"}',
    "null": b"null",
    "a list of texts": b'["x"]',
    "no token": b'[{"url": "x"}]',
    "one that is none": b'[{"token": "x"}, {"token": 5}]',
    "a url that is a list": b'[{"token": "x", "url": ["x"]}]',
}


@together("body", REFUSED.values())
def test_anything_else_is_a_400_that_repeats_nothing_of_it(body: bytes) -> None:
    answer = post(CLIENT, body)

    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert answer.get_json()["detail"]
    assert '"x"' not in answer.text


@pytest.mark.slow
@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda each: json.dumps(each).encode()))
def test_no_body_is_more_than_a_client_s_mistake(body: bytes) -> None:
    assert post(CLIENT, body).status_code in (204, 400)


@pytest.mark.slow
@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")))
def test_no_signature_is_more_than_a_client_s_mistake(signature: str) -> None:
    fields = {"HTTP_GITHUB_PUBLIC_KEY_IDENTIFIER": "current", "HTTP_GITHUB_PUBLIC_KEY_SIGNATURE": signature}

    assert CLIENT.post("/leaked-keys", environ_overrides=fields).status_code == 401


def test_a_refusal_is_rendered_as_the_app_renders_refusals() -> None:
    answer = post(client_of(GUARD_ERROR_FORMAT="html"), b"[5]")

    assert (answer.status_code, answer.mimetype) == (400, "text/html")


def of_size(size: int) -> bytes:
    return b"[]" + b" " * (size - 2)


@pytest.mark.parametrize(("size", "status"), [(MIB, 204), (MIB + 1, 413), (3 * MIB, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_has_at_most_a_mebibyte_however_it_is_sent(size: int, status: int, chunked: bool) -> None:
    body = of_size(size)
    environ = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True, "wsgi.input": io.BytesIO(body)} if chunked else {}

    answer = post(CLIENT, body, environ_overrides=environ)

    assert answer.status_code == status
    assert status != 413 or answer.content_type == "application/problem+json"


def test_no_more_of_a_body_is_read_than_a_report_may_have() -> None:
    sent = io.BytesIO(of_size(50 * MIB))
    environ = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True, "wsgi.input": sent}

    answer = CLIENT.post("/leaked-keys", headers=signed(b""), environ_overrides=environ)

    assert answer.status_code == 413
    assert sent.tell() <= 2 * MIB


def test_an_app_may_allow_less() -> None:
    client = client_of(MAX_CONTENT_LENGTH=1000)

    assert [post(client, of_size(size)).status_code for size in (1000, 1001)] == [204, 413]


def test_a_hook_of_the_app_may_have_read_the_body() -> None:
    app = Flask("tests")
    app.before_request(lambda: request.get_data() and None)
    Guard(app, keys={"ci": "a secret"})
    app.register_blueprint(leak_report(public_keys=PUBLIC_KEYS))
    client = app.test_client()

    assert [post(client, of_size(size)).status_code for size in (10, MIB + 1)] == [204, 413]


def test_a_hook_of_the_app_that_took_the_body_away_leaves_nothing_to_wait_for() -> None:
    app = Flask("tests")
    app.before_request(lambda: request.stream.read() and None)
    Guard(app, keys={"ci": "a secret"})
    app.register_blueprint(leak_report(public_keys=PUBLIC_KEYS))

    assert post(app.test_client(), b"[]").status_code == 401


class RecordingStore:
    """Keys that are all revoked by somebody else between look-up and revocation, and what was looked up."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def lookup(self, presented: str) -> ApiKey | None:
        self.asked.append(presented)
        return ApiKey("ci")

    def revoke(self, key_id: str) -> None:
        raise LookupError(key_id)


def test_a_store_is_asked_once_for_each_token_that_can_be_a_key(caplog: pytest.LogCaptureFixture) -> None:
    app, store = Flask("tests"), RecordingStore()
    Guard(app, keys=store)
    app.register_blueprint(leak_report(public_keys=PUBLIC_KEYS))
    tokens = ["", "a", "\ud800", "b" * 8192, "a", "c" * 8193]

    answer = post(app.test_client(), json.dumps([{"token": token, "url": None} for token in tokens]).encode())

    assert answer.status_code == 204
    assert store.asked == ["a", "b" * 8192]
    assert caplog.messages == ["API key ci has leaked at (an unknown place), and was revoked"] * 2


@together(
    ("options", "named"),
    [
        ({"public_keys": None}, "public_keys"),
        ({"public_keys": {}}, "public_keys"),
        ({"public_keys": SIGNER}, "public_keys"),
        ({"public_keys": {"current": None}}, "P-256"),
        ({"public_keys": {"current": "nonsense"}}, "P-256"),
        ({"public_keys": {"current": pem_of(rsa.generate_private_key(65537, 2048))}}, "P-256"),
        ({"public_keys": {"current": pem_of(ec.generate_private_key(ec.SECP384R1()))}}, "P-256"),
        ({"url": "leaked-keys"}, "url"),
        ({"url": "/<name>"}, "url"),
        ({"url": None}, "url"),
        ({"rate": "often"}, "often"),
        ({"rate": ""}, "rate"),
        ({"rate": None}, "rate"),
    ],
)
def test_an_invalid_option_is_refused_where_it_is_written(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        leak_report(**{"public_keys": PUBLIC_KEYS, **options})
