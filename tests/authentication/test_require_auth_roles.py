"""`require_auth`: roles, `optional`, realms, `current_principal`, and how it goes with other policies."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, abort, g, redirect, request
from werkzeug.local import LocalProxy

from flask_guard import (
    Guard,
    Principal,
    cors,
    current_api_key,
    current_principal,
    require_api_key,
    require_auth,
)
from tests.cases import together
from tests.ids import shown

from ..conftest import MakeApp
from .test_require_auth import ADA, basic, bearer, by_password, by_session, by_token, guarded, who


@together(
    ("options", "status"),
    [
        ({"roles": "editor"}, 200),
        ({"roles": ["editor", "admin"]}, 200),
        ({"roles": ["editor", "owner"]}, 403),
        ({"any_role": ["owner", "admin"]}, 200),
        ({"any_role": ["owner", "auditor"]}, 403),
        ({"roles": "editor", "any_role": ["owner", "auditor"]}, 403),
        ({"roles": "owner", "any_role": ["editor"]}, 403),
        ({"roles": "edit"}, 403),
    ],
)
@together(
    "principal",
    [ADA, {"id": "ada", "roles": ["editor", "admin"]}, Principal("ada", ["admin", "editor"])],  # type: ignore[arg-type]
)
def test_roles_are_wanted_all_and_any_role_one_of(principal: Any, options: dict[str, Any], status: int) -> None:
    response = guarded(require_auth(bearer=lambda token: principal, **options)).get("/", headers=bearer("x"))

    assert response.status_code == status


@pytest.mark.parametrize("principal", ["ada", {"id": "ada"}, {"id": "ada", "roles": None}, Principal("ada")], ids=shown)
def test_a_principal_without_roles_has_none(principal: Any) -> None:
    client = guarded(require_auth(bearer=lambda token: principal, any_role="admin"))

    assert client.get("/", headers=bearer("x")).status_code == 403


@pytest.mark.parametrize(("has", "status"), [(True, 200), ({"at": "shop"}, 200), (False, 403), (None, 403), ({}, 403)])
def test_of_a_mapping_the_roles_that_are_true_count(has: object, status: int) -> None:
    principal = {"id": "ada", "roles": {"editor": True, "admin": has}}
    client = guarded(require_auth(bearer=lambda token: principal, roles="admin"))

    assert client.get("/", headers=bearer("x")).status_code == status


def test_a_single_role_may_be_a_string_and_is_not_taken_letter_by_letter() -> None:
    principal = {"id": "ada", "roles": "admin"}

    assert guarded(require_auth(session=lambda: principal, roles="admin")).get("/").status_code == 200
    assert guarded(require_auth(session=lambda: principal, roles="a")).get("/").status_code == 403


@pytest.mark.parametrize(
    ("options", "headers"),
    [({"basic": by_password}, basic("ada", "pass:wörd-ключ")), ({"bearer": by_token}, bearer("token-of-ada"))],
    ids=["basic", "bearer"],
)
def test_a_missing_role_is_a_403_without_challenge_that_names_no_role(
    options: dict[str, Any], headers: dict[str, str]
) -> None:
    response = guarded(require_auth(roles="the-owner", **options)).get("/", headers=headers)

    assert response.status_code == 403
    assert "WWW-Authenticate" not in response.headers
    assert "the-owner" not in response.text


def test_optional_lets_through_who_presents_nothing_and_refuses_bad_credentials_and_missing_roles() -> None:
    client = guarded(require_auth(bearer=by_token, session=by_session, optional=True, roles="admin"))

    answers = [client.get("/", headers=headers) for headers in ({}, {"Authorization": "Basic eDp5"})]
    refused = [client.get("/", headers=bearer(token)).status_code for token in ("wrong", "token-of-bob")]

    assert [each.text for each in answers] == ["nobody", "nobody"]
    assert refused == [401, 403]
    assert client.get("/", headers=bearer("token-of-ada")).text == "ada"


@pytest.mark.parametrize(
    ("realm", "config", "shown"),
    [(None, {"GUARD_REALM": "shop"}, '"shop"'), ('the "big" shop', {"GUARD_REALM": "shop"}, '"the \\"big\\" shop"')],
)
def test_the_realm_comes_from_the_option_then_from_guard_realm(
    realm: str | None, config: dict[str, Any], shown: str
) -> None:
    response = guarded(require_auth(basic=by_password, bearer=by_token, realm=realm), **config).get("/")

    assert response.headers.getlist("WWW-Authenticate") == [
        f'Basic realm={shown}, charset="UTF-8"',
        f"Bearer realm={shown}",
    ]


# Beside other policies -------------------------------------------------------------------------------------------


def test_beside_require_api_key_both_must_be_passed(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "secret-of-ci"})
    Guard(app)

    @app.get("/")
    @require_api_key(in_="x-api-key")
    @require_auth(bearer=by_token)
    def view() -> str:
        return f"{current_principal.id} with {current_api_key.id}"

    key, client = {"X-API-Key": "secret-of-ci"}, app.test_client()

    assert client.get("/", headers={**key, **bearer("token-of-ada")}).text == "ada with ci"
    assert client.get("/", headers=key).status_code == 401
    assert client.get("/", headers=bearer("token-of-ada")).status_code == 401


def test_a_preflight_is_answered_before_anybody_is_asked_who_they_are(make_app: MakeApp) -> None:
    app = make_app()
    Guard(app, policies=[cors(origins="https://app.example.com"), require_auth(bearer=by_token)])
    app.add_url_rule("/", "view", who)
    origin = {"Origin": "https://app.example.com"}

    preflight = app.test_client().options("/", headers={**origin, "Access-Control-Request-Method": "GET"})
    refused = app.test_client().get("/", headers=origin)

    assert (preflight.status_code, refused.status_code) == (204, 401)
    assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example.com"


# current_principal -----------------------------------------------------------------------------------------------


def test_current_principal_is_the_very_object_that_the_callable_returned() -> None:
    seen: list[bool] = []

    def compare() -> str:
        seen.append(current_principal._get_current_object() is ADA)
        return ""

    app = Flask("tests")
    Guard(app)
    app.add_url_rule("/", "view", require_auth(bearer=by_token)(compare))
    app.test_client().get("/", headers=bearer("token-of-ada"))

    assert seen == [True]


def test_current_principal_outside_a_request_is_an_error_that_says_so() -> None:
    with pytest.raises(RuntimeError, match="current_principal"):
        bool(current_principal.id)


def test_a_proxy_such_as_flask_logins_current_user_is_looked_through(make_app: MakeApp) -> None:
    current_user: Any = LocalProxy(lambda: g.user)
    app = make_app()

    @app.before_request
    def load() -> None:
        g.user = {"ada": ADA}.get(request.headers.get("X-User", ""))

    Guard(app, policies=[require_auth(session=lambda: current_user)])
    app.add_url_rule("/", "view", who)

    assert app.test_client().get("/", headers={"X-User": "ada"}).text == "ada"
    assert app.test_client().get("/").status_code == 401


def test_a_callable_may_answer_itself_by_an_http_exception() -> None:
    def to_the_login_page() -> None:
        abort(redirect("/login"))

    response = guarded(require_auth(session=to_the_login_page)).get("/")

    assert (response.status_code, response.headers["Location"]) == (redirect("/login").status_code, "/login")
