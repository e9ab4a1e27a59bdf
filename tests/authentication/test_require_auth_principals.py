"""`require_auth`: what is a principal and what opens no door, how logs and limits name one, and mistakes."""

from __future__ import annotations

import logging
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, Response

from flask_guard import ConfigError, Guard, Principal, RequireAuth, limit, log_timing, protect, require_auth
from tests.cases import together
from tests.ids import shown

from .test_require_auth_refusals import BAD, BAD_BASIC, GOOD, by_token, serve

# What must not open a door ---------------------------------------------------------------------------------------


def generate() -> Iterator[int]:
    yield 1


class Query:
    """Stands for a query that nobody ran: it can be iterated, and is no user."""

    def __iter__(self) -> Iterator[int]:
        return iter([1])


class Anonymous:
    id = "guest"
    is_authenticated: Any = False


class AnonymousByMethod:
    id = "guest"

    def is_authenticated(self) -> bool:
        return False


class Unsaved(Anonymous):
    is_authenticated = None


async def asynchronous() -> Principal:
    return Principal("ada")


NO_PRINCIPALS: dict[str, Callable[[], Any]] = {
    "True": lambda: True,
    "False": lambda: False,
    "0": lambda: 0,
    "1": lambda: 1,
    "empty string": lambda: "",
    "empty mapping": dict,
    "list": lambda: ["ada"],
    "tuple": lambda: ("unauthorized", 401),
    "bytes": lambda: b"ada",
    "class": lambda: Principal,
    "function": lambda: by_token,
    "exception": lambda: ValueError("bad"),
    "response": lambda: Response("no", 401),
    "generator": generate,
    "query": Query,
    "coroutine": lambda: asynchronous(),
}


@pytest.mark.slow
@together("name", NO_PRINCIPALS)
@together("scheme", ["basic", "bearer", "session"])
@together("optional", [False, True])
def test_what_is_no_principal_opens_no_door(app: Flask, scheme: str, name: str, optional: bool) -> None:
    make = NO_PRINCIPALS[name]
    callables: dict[str, Callable[..., Any]] = {
        "basic": lambda username, password: make(),
        "bearer": lambda token: make(),
        "session": lambda: make(),
    }
    policy: Any = require_auth(optional=optional)
    client = serve(app, policy(**{scheme: callables[scheme]}))

    response = client.get("/other", headers={"basic": BAD_BASIC, "bearer": BAD, "session": {}}[scheme])

    assert response.status_code == 500


@pytest.mark.parametrize(
    "user", [Anonymous(), AnonymousByMethod(), Unsaved(), {"id": "guest", "is_authenticated": False}]
)
def test_a_user_who_is_not_authenticated_is_nobody(app: Flask, user: Any) -> None:
    assert serve(app, require_auth(session=lambda: user)).get("/").status_code == 401


@pytest.mark.parametrize("mode", ["enforce", "report"])
def test_an_exception_of_a_callable_is_a_500_in_either_mode(app: Flask, mode: Any) -> None:
    def fail(token: str) -> None:
        raise ConnectionError("the directory is down")

    assert serve(app, require_auth(bearer=fail, mode=mode)).get("/", headers=GOOD).status_code == 500


Row = namedtuple("Row", ["id", "roles"])


@dataclass
class User:
    id: Any


@pytest.mark.parametrize(
    ("principal", "name"),
    [
        ("ada", "ada"),
        (Principal("ada"), "ada"),
        (User(7), "7"),
        (User(UUID(int=7)), "00000000-0000-0000-0000-000000000007"),
        ({"id": 7, "roles": []}, "7"),
        (Row(7, []), "7"),
        (User(None), None),
        (User(id), None),
        (object(), None),
        (User("a\x1b[31m" + "b" * 500), "a\\x1b[31m" + "b" * 122 + "…"),
    ],
    ids=shown,
)
def test_the_log_names_the_principal_by_its_id(
    app: Flask, principal: Any, name: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_guard.access")
    Guard(app, policies=[log_timing, require_auth(session=lambda: principal)])
    app.add_url_rule("/", "view", lambda: "")

    app.test_client().get("/", buffered=True)

    (record,) = [vars(each) for each in caplog.records if each.name == "flask_guard.access"]
    assert record["principal"] == name
    assert record["verdicts"]["require_auth"] == "allowed"


def test_limit_by_principal_counts_each_by_id_wherever_it_comes_from_and_others_by_address(app: Flask) -> None:
    policy = require_auth(bearer=lambda token: {"id": token}, optional=True)
    client = serve(app, policy, limit("1/minute", by="principal"))

    def get(token: str, address: str) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return client.get("/other", headers=headers, environ_overrides={"REMOTE_ADDR": address}).status_code

    assert [get("ada", "203.0.113.1"), get("ada", "203.0.113.2"), get("bob", "203.0.113.1")] == [200, 429, 200]
    assert [get("", "203.0.113.1"), get("", "203.0.113.1"), get("", "203.0.113.2")] == [200, 429, 200]


def test_limit_by_principal_takes_an_id_of_any_length(app: Flask) -> None:
    client = serve(app, require_auth(session=lambda: "ada\n" * 5000), limit("1/minute", by="principal"))

    assert [client.get("/other").status_code for _ in range(2)] == [200, 429]


# Mistakes in the program -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [require_auth, require_auth(roles="admin", optional=True)], ids=shown)
def test_without_a_callable_it_is_refused_where_it_is_applied(app: Flask, policy: RequireAuth) -> None:
    for apply in (lambda: policy(lambda: ""), lambda: protect(app, policy), lambda: Guard(app, policies=[policy])):
        with pytest.raises(ConfigError, match=r"basic=…, bearer=… or session=…"):
            apply()


@together(
    ("options", "error"),
    [
        ({"role": "admin"}, TypeError),
        ({"basic": "ada:secret"}, ConfigError),
        ({"basic": lambda username: None}, ConfigError),
        ({"basic": User}, ConfigError),
        ({"bearer": {"token": "ada"}}, ConfigError),
        ({"bearer": lambda: None}, ConfigError),
        ({"bearer": Principal}, ConfigError),
        ({"session": "user"}, ConfigError),
        ({"session": User}, ConfigError),
        ({"session": lambda request, user: None}, ConfigError),
        ({"roles": 7}, ConfigError),
        ({"roles": [""]}, ConfigError),
        ({"any_role": [None]}, ConfigError),
        ({"realm": "line\nbreak"}, ConfigError),
        ({"failures": "often"}, ConfigError),
        ({"optional": "no"}, ConfigError),
        ({"mode": "shadow"}, ConfigError),
    ],
)
def test_an_invalid_option_is_refused_where_it_is_written(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"require_auth.*{next(iter(options))}"):
        require_auth(**options)


@pytest.mark.parametrize(
    ("option", "ours"),
    [
        ("role", r"roles='admin'"),
        ("scheme", r"basic=…, bearer=… or session=…"),
        ("header", r"require_api_key\(in_='header:NAME'\)"),
        ("verify_password", r"basic=…"),
        ("role_s", r"did you mean 'roles'"),
    ],
)
def test_an_option_of_a_peer_gets_the_word_that_is_ours(option: str, ours: str) -> None:
    wanted: Any = require_auth

    with pytest.raises(TypeError, match=rf"no option '{option}'; .*{ours}"):
        wanted(**{option: "admin"})


@pytest.mark.parametrize("values", [("",), (7,), ("ada", (1,))], ids=shown)
def test_a_principal_without_an_id_or_with_odd_roles_cannot_be_made(values: Any) -> None:
    with pytest.raises(TypeError, match="principal"):
        Principal(*values)
