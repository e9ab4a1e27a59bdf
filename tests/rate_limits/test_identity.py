"""`limit`: whom a tuple, a principal or a callable that names nobody counts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from werkzeug.local import LocalProxy

from flask_guard import ConfigError, Guard, Policy, Principal, limit, protect, require_api_key, require_auth
from tests.cases import together

from ..conftest import MakeApp

KEYS = {"one": "secret-one", "two": "secret-two"}
HOME, WORK = "203.0.113.1", "203.0.113.2"


def tenant() -> str | None:
    return request.args.get("tenant")


def user() -> str | None:
    return request.args.get("user")


def limited(app: Flask, *policies: Policy) -> FlaskClient:
    """Guard `app` with one view that has `policies`, and return a client."""
    Guard(app)
    app.add_url_rule("/", "view", protect(lambda: "", *policies))
    return app.test_client()


def ask(client: FlaskClient, address: str = HOME, key: str = "", **query: str) -> int:
    """Return the status of a request."""
    headers = {"X-API-Key": key} if key else {}
    return client.get("/", query_string=query, headers=headers, environ_overrides={"REMOTE_ADDR": address}).status_code


# Tuples ----------------------------------------------------------------------------------------------------------


def test_a_tuple_counts_each_combination(app: Flask) -> None:
    client = limited(app, limit("1/day", by=("address", tenant)))

    assert [ask(client, HOME, tenant="a"), ask(client, HOME, tenant="a")] == [200, 429]
    assert [ask(client, HOME, tenant="b"), ask(client, WORK, tenant="a")] == [200, 200]
    assert [ask(client, HOME, tenant="b"), ask(client, WORK, tenant="a")] == [429, 429]


def test_a_tuple_with_the_key_counts_that(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS=KEYS)
    client = limited(app, require_api_key, limit("1/day", by=("api_key", tenant)))

    assert [ask(client, HOME, "secret-one", tenant="a"), ask(client, WORK, "secret-one", tenant="a")] == [200, 429]
    assert [ask(client, HOME, "secret-two", tenant="a"), ask(client, HOME, "secret-one", tenant="b")] == [200, 200]


@pytest.mark.parametrize("nobody", [None, "", lambda: 1 / 0], ids=["None", "empty", "raises"])
def test_a_part_that_names_nobody_is_replaced_by_the_address(app: Flask, nobody: Any) -> None:
    by: Callable[[], Any] = nobody if callable(nobody) else lambda: nobody
    client = limited(app, limit("1/day", by=(by, tenant)))

    assert [ask(client, HOME, tenant="a"), ask(client, HOME, tenant="a")] == [200, 429]
    assert [ask(client, WORK, tenant="a"), ask(client, HOME, tenant="b")] == [200, 200]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"tenant": "x+by:y", "user": "z"}, {"tenant": "x", "user": "y+by:z"}),
        ({"tenant": "x%2Bby:y", "user": "z"}, {"tenant": "x+by:y", "user": "z"}),
        ({"tenant": "a/b", "user": "c"}, {"tenant": "a", "user": "b/c"}),
        ({"tenant": "x"}, {"user": "x"}),
    ],
    ids=["plus", "escaped plus", "slash", "other part"],
)
def test_no_choice_of_one_part_makes_it_look_like_another_client(
    app: Flask, one: dict[str, str], other: dict[str, str]
) -> None:
    client = limited(app, limit("1/day", by=(tenant, user)))

    assert [ask(client, **one), ask(client, **one)] == [200, 429]
    assert ask(client, **other) == 200


def test_a_tuple_of_one_is_that_one(app: Flask) -> None:
    client = limited(app, limit("1/day", by=("address",)))

    assert [ask(client, HOME), ask(client, HOME), ask(client, WORK)] == [200, 429, 200]


@pytest.mark.parametrize(
    "by",
    [(), ("address",) * 2, ("adress",), ("address", None), (tenant, tenant), (("address",), tenant), ["address"]],
)
def test_a_tuple_that_cannot_be_meant_is_refused(by: Any) -> None:
    with pytest.raises(ConfigError, match=r"limit\(by=…\)"):
        limit("1/day", by=by)


# Principals ------------------------------------------------------------------------------------------------------


def find(token: str) -> Principal | None:
    return Principal(token.partition("-")[0]) if token.startswith(("ada", "bob")) else None


@pytest.fixture
def members(app: Flask) -> FlaskClient:
    """Return a client of a view for which it is optional to say who one is."""
    return limited(app, require_auth(bearer=find, optional=True), limit("1/day", by="principal"))


def ask_as(client: FlaskClient, token: str, address: str = HOME) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return client.get("/", headers=headers, environ_overrides={"REMOTE_ADDR": address}).status_code


def test_by_principal_counts_each_from_wherever_and_however_it_comes(members: FlaskClient) -> None:
    assert [ask_as(members, "ada-1", HOME), ask_as(members, "ada-2", WORK)] == [200, 429]
    assert ask_as(members, "bob-1", HOME) == 200


def test_by_principal_counts_the_address_of_who_does_not_say(members: FlaskClient) -> None:
    assert [ask_as(members, "", HOME), ask_as(members, "", HOME), ask_as(members, "", WORK)] == [200, 429, 200]
    assert ask_as(members, "ada-1", HOME) == 200


def test_by_principal_without_authentication_counts_the_address(app: Flask) -> None:
    client = limited(app, limit("1/day", by="principal"))

    assert [ask_as(client, "ada-1"), ask_as(client, "ada-2"), ask_as(client, "", WORK)] == [200, 429, 200]


# Names that name nobody ------------------------------------------------------------------------------------------


class User:
    """A user as an app may have it, of whom each request has another instance."""


class Named(User):
    def __str__(self) -> str:
        return "ada"


ANONYMOUS: dict[str, Callable[[], object]] = {
    "an object": User,
    "its text": lambda: f"user {User()}",
    "in a tuple": lambda: ("tenant", User()),
    "a function": lambda: lambda: None,
    "behind a proxy": lambda: LocalProxy(User),
}


@pytest.mark.parametrize("by", ANONYMOUS.values(), ids=ANONYMOUS)
def test_an_object_without_an_id_is_counted_by_address_and_that_is_said_once(
    app: Flask, caplog: pytest.LogCaptureFixture, by: Callable[[], object]
) -> None:
    kept = []
    client = limited(app, limit("2/day", by=lambda: kept.append(by()) or kept[-1]))  # type: ignore[func-returns-value]

    assert [ask(client), ask(client), ask(client), ask(client, WORK)] == [200, 200, 429, 200]
    assert [each for each in caplog.messages if "by address" in each] == [caplog.messages[0]]


def test_an_object_that_says_its_name_is_counted_by_that(app: Flask) -> None:
    client = limited(app, limit("1/day", by=Named))

    assert [ask(client), ask(client, WORK)] == [200, 429]


# Names that are meant to collide ---------------------------------------------------------------------------------


def test_no_callable_can_name_somebody_elses_address_key_or_principal(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS=KEYS)
    Guard(app, policies=[require_api_key(optional=True)])
    shared = "everybody"
    app.add_url_rule("/", "view", limit("1/day", by="api_key", shared=shared)(lambda: ""))
    app.add_url_rule("/named", "named", limit("1/day", by=user, shared=shared)(lambda: ""))
    client = app.test_client()

    for name in (HOME, "key:one", "principal:one", f"by:{HOME}", f"{HOME}/1/1/day"):
        assert client.get("/named", query_string={"user": name}).status_code == 200

    assert [ask(client, HOME), ask(client, HOME, "secret-one")] == [200, 200]


@pytest.mark.parametrize("long", ["x" * 200, "x" * 200 + "\0", "line\nbreak"])
@pytest.mark.parametrize("prefix", ["", "%sha256:", "sha256:"])
def test_no_name_is_that_of_the_hash_of_another(app: Flask, prefix: str, long: str) -> None:
    client = limited(app, limit("1/day", by=user))
    digest = hashlib.sha256(long.encode()).hexdigest()

    assert [ask(client, user=long), ask(client, user=long)] == [200, 429]
    assert ask(client, user=f"{prefix}{digest}") == 200


@pytest.mark.slow
@together("name", ["a/1/1/day", "a/b", "a//", "/", "LIMITER/x", "a|moving", "a|sliding", "%2F", "+"])
@together("algorithm", ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"])
def test_a_name_that_looks_like_a_storage_key_is_only_a_name(app: Flask, algorithm: Any, name: str) -> None:
    client = limited(app, limit("1/day", by=user, algorithm=algorithm))

    assert [ask(client, user=name), ask(client, user=name), ask(client, user="a")] == [200, 429, 200]
