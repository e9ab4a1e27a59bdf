"""What is kept in memory of clients that each come once. Run with: python -m tests.attacks.memory"""

from __future__ import annotations

import base64
import gc
import json
import logging
import sys
from collections.abc import Callable

from flask import Flask, request
from prometheus_client import CollectorRegistry
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_guard import (
    Guard,
    ban,
    cors,
    limit,
    log_timing,
    metrics,
    protect,
    require_api_key,
    require_auth,
    same_origin,
)

MOST = 50
"""Clients whose counts are kept."""
CLIENTS = 300


def address(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def password(number: int) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'user-{number}:wrong'.encode()).decode()}"}


ATTACKS: dict[str, tuple[str, str, Callable[[int], dict[str, str]]]] = {
    "addresses": ("GET", "/limited", lambda number: {}),
    "names": ("GET", "/named", lambda number: {"X-Client": f"client-{number}"}),
    "places": ("GET", "/alone", lambda number: {}),
    "keys": ("GET", "/keyed", lambda number: {"X-API-Key": f"wrong-{number}"}),
    "passwords": ("GET", "/there", password),
    "paths": ("GET", "/nowhere/{0}", lambda number: {}),
    "methods": ("INVENTED{0}", "/limited", lambda number: {}),
    "preflights": ("OPTIONS", "/shared", lambda number: {"Access-Control-Request-Method": f"INVENTED{number}"}),
    "origins": ("POST", "/form", lambda number: {"Origin": f"https://evil-{number}.example", "Cookie": "a=b"}),
    "request ids": ("GET", "/limited", lambda number: {"X-Request-ID": f"request-{number}"}),
}


def attacked() -> Flask:
    """Return an app that refuses clients for many reasons."""
    app = Flask("attacked")
    app.config.update(GUARD_LIMIT_CLIENTS=MOST, GUARD_API_KEYS={"ci": "a long random secret"}, SECRET_KEY="secret")
    Guard(
        app,
        policies=[
            log_timing,
            metrics(registry=CollectorRegistry()),
            ban(after="3/hour"),
            cors(origins="https://app.example.com"),
        ],
    )

    for name, policy in {
        "limited": limit("1/hour"),
        "named": limit("1/hour", by=lambda: request.headers.get("X-Client")),
        "alone": limit.concurrent(1),
        "keyed": require_api_key(failures="1/hour"),
        "there": require_auth(basic=lambda name, password: None, failures="1/hour"),
        "shared": limit("1/hour", shared="all"),
        "form": same_origin,
    }.items():
        methods = ["POST"] if name == "form" else ["GET"]
        app.add_url_rule(f"/{name}", name, protect(lambda: "", policy), methods=methods)
    return app


def come(app: Flask, attack: str, numbers: range) -> None:
    """Let each of the clients with `numbers` send two requests."""
    method, path, fields = ATTACKS[attack]
    for number in numbers:
        builder = EnvironBuilder(
            path=path.format(number),
            method=method.format(number),
            headers=Headers(fields(number)),
            base_url="https://app.test",
        )
        environ = {**builder.get_environ(), "REMOTE_ADDR": address(number)}
        for _ in range(2):
            run_wsgi_app(app, dict(environ), buffered=True)


def blocks_in_use() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def kept(attack: str) -> float:
    """Return the memory blocks that are kept of each client that never comes again."""
    app = attacked()
    come(app, attack, range(100))
    before = blocks_in_use()
    come(app, attack, range(100, 100 + CLIENTS))
    return (blocks_in_use() - before) / CLIENTS


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(json.dumps({attack: kept(attack) for attack in ATTACKS}))
