"""`require_api_key`: where a key is looked for, who is let through, and how everybody else is challenged."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from flask_guard import ApiKey, ConfigError, Guard, RequireApiKey, current_api_key, require_api_key
from tests.cases import together
from tests.ids import shown

from ..conftest import MakeApp


def hashed(secret: str) -> str:
    return f"sha256:{sha256(secret.encode()).hexdigest()}"


KEYS: dict[str, Any] = {
    "reader": {"hash": hashed("reader-secret"), "scopes": ["orders:read"], "name": "The reader"},
    "writer": {"hash": hashed("writer-secret"), "scopes": ["orders:read", "orders:write"]},
    "old": {"hash": hashed("old-secret"), "scopes": ["orders:read"], "expires": "2020-01-31"},
    "unicode": "pässwörd-ключ",
}
BARE = 'Bearer realm="api"'
UNKNOWN = 'Bearer realm="api", error="invalid_token", error_description="The API key is not valid."'
EXPIRED = 'Bearer realm="api", error="invalid_token", error_description="The API key has expired."'
MALFORMED = 'Bearer realm="api", error="invalid_request"'


def guarded(policy: RequireApiKey, **config: Any) -> FlaskClient:
    """Return a client of an app whose one view needs a key, and answers with the id of the key that it got."""
    app = Flask("tests")
    app.config.update({"SECRET_KEY": "a secret key for tests", "GUARD_API_KEYS": KEYS, **config})
    Guard(app)

    @app.route("/", methods=["GET", "POST"])
    @policy
    def view() -> str:
        return current_api_key.id if current_api_key else "nobody"

    return app.test_client()


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer reader-secret"},
        {"Authorization": "bearer reader-secret"},
        {"Authorization": "BEARER reader-secret"},
        {"Authorization": "Bearer    reader-secret"},
        {"X-API-Key": "reader-secret"},
        {"Authorization": "Basic dXNlcjpwYXNz", "X-API-Key": "reader-secret"},
    ],
    ids=shown,
)
def test_a_valid_key_is_let_through_by_bearer_or_x_api_key(headers: dict[str, str]) -> None:
    response = guarded(require_api_key).get("/", headers=headers)

    assert (response.status_code, response.text) == (200, "reader")
    assert "WWW-Authenticate" not in response.headers


@together(
    ("headers", "status", "challenge"),
    [
        ({}, 401, BARE),
        ({"Authorization": ""}, 401, BARE),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, 401, BARE),
        ({"Authorization": "Token reader-secret"}, 401, BARE),
        ({"Authorization": "Bearerreader-secret"}, 401, BARE),
        ({"Authorization": "Bearer nobody-has-this"}, 401, UNKNOWN),
        ({"X-API-Key": "nobody-has-this"}, 401, UNKNOWN),
        ({"X-API-Key": hashed("reader-secret")}, 401, UNKNOWN),
        ({"X-API-Key": "READER-SECRET"}, 401, UNKNOWN),
        ({"X-API-Key": "reader"}, 401, UNKNOWN),
        ({"Authorization": "Bearer reader-secret writer-secret"}, 401, UNKNOWN),
        ({"Authorization": "Bearer old-secret"}, 401, EXPIRED),
        ({"Authorization": "Bearer"}, 400, MALFORMED),
        ({"Authorization": "Bearer "}, 400, MALFORMED),
        ({"Authorization": "bearer     "}, 400, MALFORMED),
        ({"X-API-Key": ""}, 400, MALFORMED),
        ({"Authorization": "Bearer reader-secret", "X-API-Key": "reader-secret"}, 400, MALFORMED),
        ({"Authorization": "Bearer reader-secret", "X-API-Key": "nobody-has-this"}, 400, MALFORMED),
        ({"Authorization": "Bearer", "X-API-Key": "reader-secret"}, 400, MALFORMED),
    ],
)
def test_a_refusal_carries_one_challenge_as_rfc_6750_words_it(
    headers: dict[str, str], status: int, challenge: str
) -> None:
    response = guarded(require_api_key).get("/", headers=headers)

    assert response.status_code == status
    assert response.headers.getlist("WWW-Authenticate") == [challenge]


@pytest.mark.parametrize(
    ("options", "secret", "wanted"),
    [
        ({"scopes": "orders:write"}, "reader-secret", "orders:write"),
        ({"scopes": ["orders:read", "orders:write"]}, "reader-secret", "orders:read orders:write"),
        ({"any_scope": ["orders:write", "admin"]}, "reader-secret", "orders:write admin"),
        ({"scopes": ["orders:read"], "any_scope": ["admin", "audit"]}, "writer-secret", "orders:read admin audit"),
        ({"scopes": ["admin"], "any_scope": ["orders:read"]}, "writer-secret", "admin orders:read"),
        ({"scopes": ["orders"]}, "writer-secret", "orders"),
    ],
)
def test_a_key_without_the_scope_gets_a_403_that_names_it(options: dict[str, Any], secret: str, wanted: str) -> None:
    client = guarded(require_api_key(**options))

    response = client.get("/", headers={"Authorization": f"Bearer {secret}"})

    assert response.status_code == 403
    assert response.headers.getlist("WWW-Authenticate") == [
        f'Bearer realm="api", error="insufficient_scope", scope="{wanted}"'
    ]


@pytest.mark.parametrize(
    ("options", "secret"),
    [
        ({"scopes": "orders:read"}, "reader-secret"),
        ({"scopes": ["orders:write", "orders:read"]}, "writer-secret"),
        ({"any_scope": ["orders:write", "orders:read"]}, "reader-secret"),
        ({"scopes": ["orders:read"], "any_scope": ["admin", "orders:write"]}, "writer-secret"),
    ],
)
def test_a_key_with_the_scopes_is_let_through(options: dict[str, Any], secret: str) -> None:
    client = guarded(require_api_key(**options))

    assert client.get("/", headers={"X-API-Key": secret}).status_code == 200


@together(
    ("in_", "path", "headers", "status"),
    [
        ("bearer", "/", {"Authorization": "Bearer reader-secret"}, 200),
        ("bearer", "/", {"X-API-Key": "reader-secret"}, 401),
        ("x-api-key", "/", {"X-API-Key": "reader-secret"}, 200),
        ("x-api-key", "/", {"Authorization": "Bearer reader-secret"}, 401),
        ("header:X-Shop-Key", "/", {"X-Shop-Key": "reader-secret"}, 200),
        ("header:X-Shop-Key", "/", {"X-API-Key": "reader-secret"}, 401),
        ("query:key", "/?key=reader-secret", {}, 200),
        ("query:key", "/?api_key=reader-secret", {}, 401),
        (("bearer", "query:key"), "/?key=reader-secret", {}, 200),
        (("bearer", "query:key"), "/?key=reader-secret", {"Authorization": "Bearer reader-secret"}, 400),
        (("bearer", "x-api-key"), "/?key=reader-secret&api_key=reader-secret", {}, 401),
    ],
)
def test_a_key_counts_only_where_it_is_looked_for(in_: Any, path: str, headers: dict[str, str], status: int) -> None:
    assert guarded(require_api_key(in_=in_)).get(path, headers=headers).status_code == status


@pytest.mark.parametrize("sent", ["reader-secret", "Token reader-secret", "Basic cmVhZGVyOnNlY3JldA=="])
@pytest.mark.parametrize("in_", [("bearer", "x-api-key"), "bearer"])
def test_a_key_without_its_scheme_is_refused_and_the_sender_is_told_about_bearer(in_: Any, sent: str) -> None:
    response = guarded(require_api_key(in_=in_)).get("/", headers={"Authorization": sent})

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert response.json is not None
    assert response.json["detail"] == "An API key is required, written as 'Authorization: Bearer KEY'."


def test_nothing_is_said_about_bearer_where_keys_are_elsewhere() -> None:
    response = guarded(require_api_key(in_="x-api-key")).get("/", headers={"Authorization": "reader-secret"})

    assert response.json is not None
    assert response.json["detail"] == "An API key is required."


@pytest.mark.parametrize("in_", ["x-api-key", "header:X-Shop-Key", "query:key"])
def test_a_place_other_than_bearer_is_not_challenged_as_bearer(in_: str) -> None:
    response = guarded(require_api_key(in_=in_)).get("/")

    assert response.headers.getlist("WWW-Authenticate") == ['ApiKey realm="api"']


def test_optional_lets_callers_without_a_key_through_as_nobody() -> None:
    client = guarded(require_api_key(optional=True, scopes="orders:write"))

    assert client.get("/").text == "nobody"
    assert client.get("/", headers={"Authorization": "Basic dXNlcjpwYXNz"}).text == "nobody"
    assert client.get("/", headers={"X-API-Key": "writer-secret"}).text == "writer"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-API-Key": "nobody-has-this"}, 401),
        ({"X-API-Key": "old-secret"}, 401),
        ({"X-API-Key": "reader-secret"}, 403),
        ({"Authorization": "Bearer"}, 400),
    ],
)
def test_optional_still_refuses_a_bad_key(headers: dict[str, str], status: int) -> None:
    client = guarded(require_api_key(optional=True, scopes="orders:write"))

    assert client.get("/", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("realm", "config", "shown"),
    [
        (None, {"GUARD_REALM": "shop"}, '"shop"'),
        ("orders", {"GUARD_REALM": "shop"}, '"orders"'),
        ('the "big" shop \\ API', {}, '"the \\"big\\" shop \\\\ API"'),
    ],
)
def test_the_realm_comes_from_the_option_then_from_guard_realm(
    realm: str | None, config: dict[str, Any], shown: str
) -> None:
    response = guarded(require_api_key(realm=realm), **config).get("/")

    assert response.headers["WWW-Authenticate"] == f"Bearer realm={shown}"


@pytest.mark.parametrize("realm", ["caf\u00e9", "line\nbreak", "nul\0"])
def test_a_realm_that_no_header_can_carry_is_refused_by_option_and_by_config(make_app: MakeApp, realm: str) -> None:
    with pytest.raises(ConfigError, match=r"(?i)realm"):
        require_api_key(realm=realm)
    with pytest.raises(ConfigError, match=r"(?i)realm"):
        Guard(make_app(GUARD_REALM=realm))


def test_current_api_key_is_the_verified_key_with_its_name_and_scopes(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS=KEYS)
    seen: list[ApiKey] = []
    Guard(app)

    @app.get("/")
    @require_api_key
    def view() -> str:
        seen.append(ApiKey(current_api_key.id, current_api_key.name, current_api_key.scopes, current_api_key.expires))
        return ""

    app.test_client().get("/", headers={"X-API-Key": "reader-secret"})

    assert seen == [ApiKey("reader", "The reader", frozenset({"orders:read"}))]


def test_current_api_key_outside_a_request_is_an_error_that_says_so() -> None:
    with pytest.raises(RuntimeError, match="current_api_key"):
        bool(current_api_key.id)


def test_a_secret_beyond_ascii_works_as_utf_8_in_either_header() -> None:
    client = guarded(require_api_key)
    on_the_wire = "pässwörd-ключ".encode().decode("latin-1")  # what a WSGI server makes of the bytes

    by_header = client.get("/", environ_overrides={"HTTP_X_API_KEY": on_the_wire})
    by_bearer = client.get("/", environ_overrides={"HTTP_AUTHORIZATION": f"Bearer {on_the_wire}"})

    assert (by_header.text, by_bearer.text) == ("unicode", "unicode")


def test_an_overlong_key_is_refused_without_being_looked_up(make_app: MakeApp) -> None:
    app, looked_up = make_app(), list[str]()
    Guard(app, keys=lambda presented: looked_up.append(presented), policies=[require_api_key])
    app.add_url_rule("/", "view", lambda: "")

    response = app.test_client().get("/", headers={"X-API-Key": "x" * 100_000})

    assert (response.status_code, response.headers["WWW-Authenticate"], looked_up) == (401, UNKNOWN, [])


@pytest.mark.slow
@given(
    st.text(st.characters(max_codepoint=255), max_size=60), st.sampled_from(["HTTP_X_API_KEY", "HTTP_AUTHORIZATION"])
)
def test_no_bytes_that_a_client_sends_make_an_error_or_reach_a_header(text: str, name: str) -> None:
    response = CLIENT.get("/", environ_overrides={name: f"Bearer {text}" if name == "HTTP_AUTHORIZATION" else text})

    assert response.status_code in (400, 401)
    assert response.headers["WWW-Authenticate"] in (BARE, UNKNOWN, MALFORMED)


CLIENT = guarded(require_api_key(failures=None))


@together(
    ("options", "error"),
    [
        ({"scope": "orders:read"}, TypeError),
        ({"scopes": ["two words"]}, ConfigError),
        ({"scopes": ['quo"ted']}, ConfigError),
        ({"any_scope": [""]}, ConfigError),
        ({"in_": ()}, ConfigError),
        ({"in_": "cookie:key"}, ConfigError),
        ({"in_": "header:"}, ConfigError),
        ({"in_": "header:X Y"}, ConfigError),
        ({"in_": "query:"}, ConfigError),
        ({"failures": "often"}, ConfigError),
        ({"failures": "0/minute"}, ConfigError),
        ({"optional": "no"}, ConfigError),
        ({"mode": "shadow"}, ConfigError),
    ],
)
def test_an_invalid_option_is_refused_where_it_is_written(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        require_api_key(**options)


def test_an_unknown_option_is_answered_with_the_nearest_known_one() -> None:
    with pytest.raises(TypeError, match="did you mean 'scopes'"):
        require_api_key(scope="orders:read")  # type: ignore[call-overload]


@pytest.mark.parametrize(("option", "ours"), [("header", "in_='header:NAME'"), ("role", "scopes=")])
def test_an_option_of_a_peer_gets_the_word_that_is_ours(option: str, ours: str) -> None:
    wanted: Any = require_api_key

    with pytest.raises(TypeError, match=f"no option '{option}'; write {ours}"):
        wanted(**{option: "X-My-Key"})
