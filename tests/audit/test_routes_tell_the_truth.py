"""The document of `flask guard routes --json` equals what requests meet, for each route, policy and decorator."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from flask_jwt_extended import create_access_token
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from flask_guard import client_banned, request_would_be_denied
from flask_guard.audit.inventory import take_inventory
from flask_guard.audit.routes import describe_routes

from .generated_apps import KEY, ORIGIN, generated_app

pytestmark = pytest.mark.slow

AUTHENTICATION = {"X-API-Key": "require_api_key", "Authorization": "require_auth"}
OTHERS = {"X-User": "Flask-Login", "X-Token": "Flask-HTTPAuth", "X-JWT": "Flask-JWT-Extended"}


@dataclass
class Caller:
    """Sends requests to an app, each from an address of its own, and notes the signals."""

    app: Flask
    credentials: dict[str, str]
    reported: list[str] = field(default_factory=list)
    banned: list[int] = field(default_factory=list)
    records: list[logging.LogRecord] = field(default_factory=list)
    addresses: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def send(self, route: dict[str, Any], without: str = "", **headers: str) -> TestResponse:
        for noted in (self.reported, self.banned, self.records):
            noted.clear()
        number = next(self.addresses)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.app.test_client(use_cookies=False).open(
            path_of(route),
            method=route["method"],
            buffered=True,
            headers={name: value for name, value in {**self.credentials, **sent}.items() if name != without},
            environ_overrides={"REMOTE_ADDR": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"},
        )


@contextlib.contextmanager
def calling(app: Flask) -> Iterator[Caller]:
    with app.app_context():
        token = create_access_token("ada")
    keys = {"X-API-Key": KEY, "Authorization": f"Bearer {KEY}", "X-User": "ada", "X-Token": KEY, "X-JWT": token}
    caller = Caller(app, {**keys, "Origin": ORIGIN})

    def report(_app: Flask, denial: Any, **_: object) -> None:
        caller.reported.append(denial.policy)

    def ban(_app: Flask, seconds: int, **_: object) -> None:
        caller.banned.append(seconds)

    def note(record: logging.LogRecord) -> bool:
        caller.records.append(record)
        return False

    log = logging.getLogger("generated.access")
    log.setLevel(logging.INFO)
    log.addFilter(note)
    with request_would_be_denied.connected_to(report), client_banned.connected_to(ban):
        yield caller
    log.removeFilter(note)


def path_of(route: dict[str, Any]) -> str:
    """Return a path of the route, below the scopes by path that it is about, or outside of any."""
    below = route["below"][-1].split("/") if route["below"] else []
    segments = route["path"].replace("<int:id>", "7").split("/")
    return "/".join(
        below[position] if each == "<segment>" and position < len(below) and "<" not in below[position] else each
        for position, each in enumerate(segments)
    ).replace("<segment>", "elsewhere")


@settings(max_examples=1, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_every_route_is_as_it_is_described(seed: int) -> None:
    app = generated_app(seed, 200)
    document = describe_routes(take_inventory(app))
    with calling(app) as caller:
        for route in document["routes"]:
            if route["endpoint"] != "static":
                where = f"seed {seed}: {route['method']} {path_of(route)}"
                assert met(caller, route) == told(route), where
                assert not route["writes"] or anonymous(caller, route) is route["unguarded_write"], where
    assert len(document["routes"]) > 200


def told(route: dict[str, Any]) -> dict[str, Any]:
    """Return what the document says of a route, in the terms of `met`."""
    policies = {each["name"]: each for each in route["policies"]}
    foreign = [(each["by"], each["detail"]) for each in route["foreign"]]
    options = {name: each["options"] for name, each in policies.items()}
    enforced = {name: each["mode"] == "enforce" for name, each in policies.items()}
    return {
        "log_timing": "log_timing" in policies,
        "cors": options["cors"]["expose_headers"] if "cors" in policies else None,
        "secure_headers": options.get("secure_headers", {}).get("cache_control"),
        "stamp": str(options["stamp"]["number"]) if "stamp" in policies else None,
        "limit": sorted(amount(each) for each in route["policies"] if each["name"] == "limit"),
        "ban": sorted(each["options"]["lasting"] for each in route["policies"] if each["name"] == "ban"),
        "refuses": {
            name: (options[name]["realm"] if enforced[name] else "reports") if name in policies else None
            for name in AUTHENTICATION.values()
        },
        "others": {name: any(name == by for by, _ in foreign) for name in OTHERS.values()},
        "Flask-CORS": "cors" not in policies and any(by == "Flask-CORS" for by, _ in foreign),
        "Flask-Limiter": sorted(detail.partition(" (")[0] for by, detail in foreign if by == "Flask-Limiter"),
        "decorated": sum(by.endswith(".decorated") for by, _ in foreign),
        "looked": sum(by.endswith(".look") for by, _ in foreign),
    }


def amount(limit: dict[str, Any]) -> int:
    return int(limit["options"]["rates"][0].partition("/")[0])


def met(caller: Caller, route: dict[str, Any]) -> dict[str, Any]:
    """Return what requests to a route meet."""
    answer = caller.send(route)
    headers, records = answer.headers, list(caller.records)
    assert answer.status_code == 200, answer.status
    exposed = re.findall(r"X-Cors-\d+", headers.get("Access-Control-Expose-Headers", ""))
    cached = re.search(r"max-age=[1-9]\d*", headers.get("Cache-Control", ""))
    return {
        "log_timing": bool(records),
        "cors": exposed or None,
        "secure_headers": cached[0] if cached else None,
        "stamp": headers.get("X-Stamp"),
        "limit": sorted(map(int, re.findall(r";q=(\d+)", headers.get("RateLimit-Policy", "")))),
        "ban": banned(caller, route),
        "refuses": {name: refusal(caller, route, field, name) for field, name in AUTHENTICATION.items()},
        "others": {name: caller.send(route, field).status_code == 401 for field, name in OTHERS.items()},
        "Flask-CORS": "Access-Control-Allow-Origin" in headers and not exposed,
        "Flask-Limiter": [each for each in headers["X-Limiter"].split(", ") if each],
        "decorated": int(headers["X-Decorated"]),
        "looked": int(headers["X-Looked"]),
    }


def refusal(caller: Caller, route: dict[str, Any], field: str, policy: str) -> str | None:
    """Return the realm that a request without a credential is refused with; or that the policy reports it."""
    answer = caller.send(route, field)
    if answer.status_code == 401:
        realm = re.search(r'realm="((?:key|auth) \d+)"', answer.headers["WWW-Authenticate"])
        return realm[1] if realm else "?"
    return "reports" if policy in caller.reported else None


def banned(caller: Caller, route: dict[str, Any]) -> list[int]:
    """Return the seconds of the bans of a client that has done what is punished."""
    caller.send(route, X_Answer="418")
    return sorted(caller.banned)


def anonymous(caller: Caller, route: dict[str, Any]) -> bool:
    """Return whether a request without any credential reaches the view."""
    credentials, caller.credentials = caller.credentials, {}
    answer = caller.send(route)
    caller.credentials = credentials
    return "X-View" in answer.headers
