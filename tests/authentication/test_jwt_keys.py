"""`JWT`: which keys are taken, how they are fetched and kept, and what is refused where it is written."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from werkzeug.test import TestResponse

import flask_guard.support.fetched
from flask_guard import JWT, ConfigError, Guard, StoreUnavailable, require_auth
from tests.cases import together
from tests.ids import shown

SECRET = "a secret of at least 32 bytes, and some more"
FIRST, SECOND = (RSAKey.generate_key(2048, {"kid": kid}) for kid in ("first", "second"))
P256 = ECKey.generate_key("P-256")
PEM = FIRST.as_pem(private=False)


def jwks(*keys: Any) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def signed(key: Any, kid: str | None = None) -> str:
    header = {"alg": "RS256", "kid": kid or key.kid}
    return jwt.encode(header, {"sub": "ada", "exp": time.time() + 60}, key)


class Issuer:
    """Publishes keys, and counts how often it is asked."""

    def __init__(self, *keys: Any) -> None:
        self.keys = keys
        self.asked = 0
        self.error: Exception | None = None

    def __call__(self) -> dict[str, Any]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return jwks(*self.keys)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose one member is the time on the monotonic clock."""
    now = [1000.0]
    monkeypatch.setattr(flask_guard.support.fetched, "monotonic", lambda: now[0])
    return now


# Fetching --------------------------------------------------------------------------------------------------------


def test_keys_are_fetched_when_the_first_token_comes_and_kept(clock: list[float]) -> None:
    issuer = Issuer(FIRST)
    check = JWT(issuer, max_age=300)
    assert issuer.asked == 0

    for _ in range(3):
        assert check(signed(FIRST)) is not None
        clock[0] += 99

    assert issuer.asked == 1


def test_a_key_that_was_withdrawn_stops_working_after_max_age(clock: list[float]) -> None:
    issuer = Issuer(FIRST)
    check = JWT(issuer, max_age=60)
    check(signed(FIRST))
    issuer.keys = (SECOND,)
    clock[0] += 59
    assert check(signed(FIRST)) is not None
    clock[0] += 1

    assert check(signed(FIRST)) is None


def test_a_new_key_works_as_soon_as_a_token_names_it_but_unknown_names_are_looked_for_rarely(
    clock: list[float],
) -> None:
    issuer = Issuer(FIRST)
    check = JWT(issuer)
    check(signed(FIRST))
    issuer.keys = (FIRST, SECOND)
    clock[0] += 11

    assert check(signed(SECOND)) is not None
    assert issuer.asked == 2
    for number in range(50):
        assert check(signed(FIRST, f"unknown-{number}")) is None
    assert issuer.asked == 2
    clock[0] += 11
    check(signed(FIRST, "unknown"))
    assert issuer.asked == 3


def test_max_age_0_fetches_for_every_token() -> None:
    issuer = Issuer(FIRST)
    check = JWT(issuer, max_age=0)

    for _ in range(3):
        check(signed(FIRST))

    assert issuer.asked == 3


def test_while_fetching_fails_the_keys_at_hand_go_on_working_for_a_day(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer(FIRST)
    check = JWT(issuer, max_age=60)
    check(signed(FIRST))
    issuer.error = ConnectionError("https://user:hunter2@login.example.com is down")

    clock[0] += 61
    answers = [check(signed(FIRST)) is not None for _ in range(3)]
    clock[0] += 86_300
    answers.append(check(signed(FIRST)) is not None)
    clock[0] += 200

    assert answers == [True] * 4
    with pytest.raises(StoreUnavailable):
        check(signed(FIRST))
    assert "JWT(keys) could not be fetched: ConnectionError" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_fetch_that_fails_is_not_tried_again_at_once_and_new_keys_come_when_it_works(clock: list[float]) -> None:
    issuer = Issuer(FIRST)
    check = JWT(issuer, max_age=60)
    check(signed(FIRST))
    issuer.error = ConnectionError("the issuer is down")
    clock[0] += 61

    for _ in range(50):
        check(signed(FIRST))
    assert issuer.asked == 2
    issuer.error, issuer.keys = None, (SECOND,)
    clock[0] += 11

    assert (check(signed(SECOND)) is not None, check(signed(FIRST))) == (True, None)


def test_without_any_keys_the_answer_is_a_503_and_nobody_is_let_in(
    app: Flask, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer(FIRST)
    issuer.error = ConnectionError("the issuer is down")
    Guard(app, policies=[require_auth(bearer=JWT(issuer))])
    app.add_url_rule("/", "view", lambda: "in")

    def get() -> TestResponse:
        return app.test_client().get("/", headers={"Authorization": f"Bearer {signed(FIRST)}"})

    answers = [get() for _ in range(3)]
    issuer.error = None
    clock[0] += 11

    assert [(each.status_code, int(each.headers["Retry-After"]) > 0) for each in answers] == [(503, True)] * 3
    assert len([each for each in caplog.records if each.levelname == "ERROR"]) == 1
    assert get().status_code == 200


@pytest.mark.parametrize("nothing", [{"keys": []}, None, "", {"error": "not found"}], ids=shown)
def test_a_callable_that_returns_no_key_opens_no_door(nothing: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StoreUnavailable):
        JWT(lambda: nothing)(signed(FIRST))

    assert "JWT(keys) could not be fetched: ConfigError" in caplog.text


def test_while_one_thread_waits_for_a_url_that_hangs_the_others_go_on(clock: list[float]) -> None:
    issuer, entered, leave = Issuer(FIRST), threading.Event(), threading.Event()

    def fetch() -> dict[str, Any]:
        if issuer.error is not None and issuer.asked > 1:
            entered.set()
            leave.wait(20)
        return issuer()

    check, presented = JWT(fetch, max_age=60), signed(FIRST)
    check(presented)
    issuer.error = ConnectionError("the issuer is down")
    clock[0] += 61
    check(presented)
    clock[0] += 11
    hanging = threading.Thread(target=lambda: check(presented))
    hanging.start()
    entered.wait(30)

    answered = check(presented)
    still_hangs = hanging.is_alive()
    leave.set()
    hanging.join()

    assert (answered is not None, still_hangs) == (True, True)


def test_threads_that_need_keys_at_once_fetch_them_once() -> None:
    issuer, answers = Issuer(FIRST), list[Any]()

    def fetch() -> dict[str, Any]:
        time.sleep(0.1)
        return issuer()

    check, presented = JWT(fetch), signed(FIRST)
    threads = [threading.Thread(target=lambda: answers.append(check(presented))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(answers), None in answers, issuer.asked) == (8, False, 1)


# Reading ---------------------------------------------------------------------------------------------------------


def test_a_set_may_contain_keys_that_are_not_understood() -> None:
    odd: list[Any] = [
        {"kty": "PQC", "kid": "new"},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-1", "x": "", "y": ""},
        7,
        {},
    ]
    check = JWT({"keys": [*odd, *jwks(FIRST)["keys"]]})

    assert check(signed(FIRST)) is not None


@together(
    ("keys", "options", "message"),
    [
        ("", {}, "32 bytes"),
        ("short", {}, "32 bytes"),
        (SECRET[:32], {"algorithms": "HS512"}, "64 bytes"),
        (OctKey.import_key("a short, but not very short, key").as_dict(), {"algorithms": ["HS384"]}, "48 bytes"),
        ({"keys": []}, {}, "no key"),
        ({"keys": "rsa"}, {}, "list"),
        ({"kty": "RSA"}, {}, "has an unknown kty, or a malformed member"),
        ({"issuer": "us"}, {}, "has an unknown kty, or a malformed member"),
        (7, {}, "not a int"),
        (None, {}, "not a NoneType"),
        ("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", {}, "PEM is not a readable"),
        ("https://login.example.com/.well-known/jwks.json", {}, "fetches"),
        ('{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}', {}, "json.loads"),
        (FIRST.as_der(private=False), {}, "public key, not a secret"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJpYw", {}, "public key, not a secret"),
        (PEM, {"algorithms": ["HS256"]}, "'HS256' requires 'oct' key"),
        (jwks(FIRST), {"algorithms": ["HS256"]}, "'HS256' requires 'oct' key"),
        (PEM, {"algorithms": ["ES256"]}, "'ES256' requires 'EC' key"),
        (SECRET, {"algorithms": ["RS256"]}, "'RS256' requires 'RSA' key"),
        (PEM, {"algorithms": ["RS256", "HS256"]}, "mixes"),
        (PEM, {"algorithms": ["none"]}, "'none' is not"),
        (PEM, {"algorithms": ["RS265"]}, "did you mean 'RS256'"),
        (PEM, {"algorithms": []}, "algorithms"),
        (SECRET, {"leeway": -1}, "leeway"),
        (SECRET, {"leeway": "30"}, "leeway"),
        (SECRET, {"max_age": float("nan")}, "max_age"),
        (SECRET, {"issuer": ""}, "issuer"),
        (SECRET, {"issuer": []}, "issuer"),
        (SECRET, {"audience": [None]}, "audience"),
        (SECRET, {"required": 7}, "required"),
        (SECRET, {"typ": 7}, "typ"),
        (SECRET, {"principal": "sub"}, "principal"),
    ],
)
def test_what_is_invalid_is_refused_where_it_is_written(keys: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        JWT(keys, **options)

    assert SECRET not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Key size")
def test_a_weak_rsa_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="2048 bits"):
        JWT(RSAKey.generate_key(1024).as_pem(private=False))


def test_async_callables_are_refused() -> None:
    async def fetch() -> dict[str, Any]:
        return jwks(FIRST)

    async def principal(claims: dict[str, Any]) -> str:
        return str(claims["sub"])

    with pytest.raises(ConfigError, match="async"):
        JWT(fetch)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="plain callable"):
        JWT(SECRET, principal=principal)


@pytest.mark.slow
def test_without_joserfc_the_error_names_the_command_that_installs_it() -> None:
    program = (
        "import sys; sys.modules['joserfc'] = None\n"
        "import flask_guard\n"
        "try: flask_guard.JWT('x' * 32)\n"
        "except flask_guard.ConfigError as error: print(error)"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "pip install 'flask-guard-kit[jwt]'" in result.stdout
