"""`require_auth`: which credentials are taken from where, who is let through, and how everybody else is challenged."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Request, session
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from flask_guard import (
    Guard,
    Principal,
    RequireAuth,
    current_principal,
    require_auth,
)
from tests.cases import together
from tests.ids import shown

ADA = Principal("ada", frozenset({"editor", "admin"}))
PASSWORDS = {"ada": "pass:wörd-ключ", "bob": "", "": "nameless"}
TOKENS = {"token-of-ada": ADA, "token-of-bob": Principal("bob")}
BASIC = 'Basic realm="api", charset="UTF-8"'
BEARER = 'Bearer realm="api"'
BAD_TOKEN = 'Bearer realm="api", error="invalid_token", error_description="The token is not valid."'


def by_password(username: str, password: str) -> Principal | None:
    return Principal(username or "nameless") if PASSWORDS.get(username) == password else None


def by_token(token: str) -> Principal | None:
    return TOKENS.get(token)


def by_session() -> str | None:
    return session.get("user")


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def who() -> str:
    return getattr(current_principal, "id", str(current_principal)) if current_principal else "nobody"


def guarded(policy: RequireAuth, **config: Any) -> FlaskClient:
    """Return a client of an app whose one view needs authentication, and answers with the id of the principal."""
    app = Flask("tests")
    app.config.update({"SECRET_KEY": "a secret key for tests", **config})
    Guard(app)
    app.add_url_rule("/", "view", policy(lambda: who()))  # of its own: a policy leaves its mark on the function, too
    return app.test_client()


# Who is let through ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "password", "name"),
    [("ada", "pass:wörd-ключ", "ada"), ("bob", "", "bob"), ("", "nameless", "nameless")],
)
def test_basic_hands_over_username_and_password_in_utf_8(username: str, password: str, name: str) -> None:
    response = guarded(require_auth(basic=by_password)).get("/", headers=basic(username, password))

    assert (response.status_code, response.text) == (200, name)
    assert "WWW-Authenticate" not in response.headers


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer   "])
def test_bearer_hands_over_the_token(scheme: str) -> None:
    client = guarded(require_auth(bearer=by_token))

    assert client.get("/", headers={"Authorization": f"{scheme} token-of-ada"}).text == "ada"


def test_a_token_beyond_ascii_is_utf_8() -> None:
    client = guarded(require_auth(bearer=lambda token: token if token == "ключ" else None))

    response = client.get("/", environ_overrides={"HTTP_AUTHORIZATION": "Bearer " + "ключ".encode().decode("latin-1")})

    assert response.text == "ключ"


@pytest.mark.parametrize("find", [by_session, lambda request: request.headers.get("X-User")], ids=["none", "request"])
def test_session_asks_who_is_logged_in_with_the_request_or_without(find: Callable[..., Any]) -> None:
    client = guarded(require_auth(session=find))
    with client.session_transaction() as stored:
        stored["user"] = "ada"

    assert client.get("/", headers={"X-User": "ada"}).text == "ada"


async def by_password_async(username: str, password: str) -> Principal | None:
    return by_password(username, password)


class ByTokenAsync:
    async def __call__(self, token: str) -> Principal | None:
        return by_token(token)


async def by_session_async(request: Request) -> str | None:
    return request.headers.get("X-User")


@pytest.mark.parametrize(
    ("policy", "good", "bad"),
    [
        (require_auth(basic=by_password_async), basic("ada", "pass:wörd-ключ"), basic("ada", "x")),
        (require_auth(bearer=ByTokenAsync()), bearer("token-of-ada"), bearer("x")),
        (require_auth(session=by_session_async), {"X-User": "ada"}, {}),
    ],
    ids=["basic", "bearer", "session"],
)
def test_callables_may_be_async(policy: RequireAuth, good: dict[str, str], bad: dict[str, str]) -> None:
    client = guarded(policy)

    assert client.get("/", headers=good).text == "ada"
    assert client.get("/", headers=bad).status_code == 401


def test_a_callable_is_called_once_a_request_and_not_for_the_credentials_of_another_scheme() -> None:
    calls: list[str] = []

    def called(name: str, answer: Any) -> Callable[..., Any]:
        def call(*arguments: str) -> Any:
            calls.append(name)
            return answer

        return call

    def log_in(username: str, password: str) -> Any:
        return called("basic", "ada")()

    def token(token: str) -> Any:
        return called("bearer", None)()

    client = guarded(require_auth(basic=log_in, bearer=token, session=lambda: called("session", "eve")()))

    statuses = [client.get("/", headers=headers).status_code for headers in (basic("a", "b"), bearer("x"), {})]

    assert (statuses, calls) == ([200, 401, 200], ["basic", "bearer", "session"])


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        (basic("bob", ""), "bob"),
        (bearer("token-of-bob"), "bob"),
        ({}, "ada"),
        ({"Authorization": "Digest username=x"}, "ada"),
    ],
    ids=["basic", "bearer", "session", "other scheme"],
)
def test_several_schemes_on_one_view_take_each_its_own(headers: dict[str, str], answer: str) -> None:
    client = guarded(require_auth(basic=by_password, bearer=by_token, session=by_session))
    with client.session_transaction() as stored:
        stored["user"] = "ada"

    assert client.get("/", headers=headers).text == answer


def test_bad_credentials_are_refused_whoever_is_logged_in() -> None:
    client = guarded(require_auth(bearer=by_token, session=lambda: "ada"))

    assert client.get("/", headers=bearer("wrong")).status_code == 401


# Refusals --------------------------------------------------------------------------------------------------------


@together(
    ("options", "challenges"),
    [
        ({"basic": by_password}, [BASIC]),
        ({"bearer": by_token}, [BEARER]),
        ({"bearer": by_token, "basic": by_password}, [BASIC, BEARER]),
        ({"bearer": by_token, "session": by_session}, [BEARER]),
        ({"basic": by_password, "bearer": by_token, "session": by_session}, [BASIC, BEARER]),
        ({"session": by_session}, ['Session realm="api"']),
    ],
)
@together("headers", [{}, {"Authorization": ""}, {"Authorization": "Digest x"}])
def test_nothing_presented_gets_one_challenge_for_each_scheme(
    options: dict[str, Any], challenges: list[str], headers: dict[str, str]
) -> None:
    response = guarded(require_auth(**options)).get("/", headers=headers)

    assert (response.status_code, response.headers.getlist("WWW-Authenticate")) == (401, challenges)
    assert json.loads(response.text)["detail"].startswith("Authentication is required")


@together(
    ("authorization", "status", "challenges"),
    [
        ("Bearer wrong", 401, [BASIC, BAD_TOKEN]),
        ("Bearer token-of-ada token-of-bob", 401, [BASIC, BAD_TOKEN]),
        ("Bearer " + "x" * 20_000, 401, [BASIC, BAD_TOKEN]),
        ("Bearer", 400, [BASIC, 'Bearer realm="api", error="invalid_request"']),
        (basic("ada", "wrong")["Authorization"], 401, [BASIC, BEARER]),
        ("Basic", 401, [BASIC, BEARER]),
        ("Basic not~base64", 401, [BASIC, BEARER]),
        ("Basic YWRh", 401, [BASIC, BEARER]),
        (basic("ada", "pass:wörd-ключ")["Authorization"] + "~", 401, [BASIC, BEARER]),
        ("Basic YWRhOg", 401, [BASIC, BEARER]),
        ("Basic " + base64.b64encode(b"ada:p\xe4ss").decode(), 401, [BASIC, BEARER]),
    ],
)
def test_bad_credentials_are_told_on_the_challenge_of_their_scheme(
    authorization: str, status: int, challenges: list[str]
) -> None:
    client = guarded(require_auth(basic=by_password, bearer=by_token))

    response = client.get("/", headers={"Authorization": authorization})

    assert (response.status_code, response.headers.getlist("WWW-Authenticate")) == (status, challenges)


@pytest.mark.parametrize("text", ["ada\0:x", "ada:x\r\n", "a\x1bda:x", "ada:\x7f"], ids=shown)
def test_control_characters_never_reach_the_callable(text: str) -> None:
    client = guarded(require_auth(basic=lambda username, password: username, bearer=lambda token: token))
    encoded = base64.b64encode(text.encode()).decode()

    assert client.get("/", headers={"Authorization": f"Basic {encoded}"}).status_code == 401
    assert client.get("/", environ_overrides={"HTTP_AUTHORIZATION": f"Bearer {text}"}).status_code == 401


def test_overlong_credentials_never_reach_the_callable() -> None:
    client = guarded(require_auth(basic=lambda username, password: "ada", bearer=lambda token: "ada"))

    assert client.get("/", headers=bearer("x" * 20_000)).status_code == 401
    assert client.get("/", headers=basic("ada", "x" * 20_000)).status_code == 401


@pytest.mark.slow
@given(
    st.sampled_from(["Basic ", "Bearer ", "basic", ""]),
    st.text(st.characters(max_codepoint=255), max_size=60)
    | st.binary(max_size=40).map(lambda raw: base64.b64encode(raw).decode()),
)
def test_no_bytes_that_a_client_sends_make_an_error(scheme: str, rest: str) -> None:
    response = CLIENT.get("/", environ_overrides={"HTTP_AUTHORIZATION": scheme + rest})

    assert response.status_code in (400, 401)
    assert response.headers.getlist("WWW-Authenticate")[0] == BASIC


CLIENT = guarded(require_auth(basic=lambda username, password: None, bearer=lambda token: None, failures=None))
