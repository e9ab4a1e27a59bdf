"""Variants of many sizes: one to 20 policies, nested blueprints, requests that are denied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from flask import Blueprint, Flask

from flask_guard import Guard, Policy, compose, cors, limit, middleware, protect, require_api_key
from tests.benchmarks.overhead import KEY, ORIGIN, POLICIES, RATE, Variant, environ, guarded, make_app

COUNTS = (1, 5, 10, 20)
DEPTHS = (1, 2, 3, 4, 5)


def counts(sizes: Sequence[int] = COUNTS) -> list[Variant]:
    """Return an app for each number of policies, which do nothing."""
    fields = environ()
    return [Variant(f"{size} policies", guarded(compose(*map(_passing, range(size)))), fields) for size in sizes]


def _passing(number: int) -> Any:
    def passing(_request: Any) -> None:
        return None

    passing.__name__ = passing.__qualname__ = f"passing_{number}"
    return middleware(passing)


def nested(depths: Sequence[int] = DEPTHS) -> Iterator[Variant]:
    """Yield a bare app and a guarded one for each depth: the five policies are spread over the blueprints."""
    for depth in depths:
        path = "/level" * depth
        fields = environ(path=path)
        yield Variant(f"bare, nested {depth}", _nested(depth, guard=False), fields, over="")
        yield Variant(f"all five, nested {depth}", _nested(depth, guard=True), fields, over=f"bare, nested {depth}")


def _nested(depth: int, *, guard: bool) -> Flask:
    app = make_app()
    levels = [Blueprint(f"level_{number}", "benchmark", url_prefix="/level") for number in range(depth)]
    levels[-1].add_url_rule("", "view", lambda: "hello")
    if guard:
        Guard(app)
        for number, policy in enumerate(POLICIES.values()):
            protect(levels[number % depth], policy)
    for outer, inner in reversed([*pairwise(levels)]):
        outer.register_blueprint(inner)
    app.register_blueprint(levels[0])
    return app


def denied() -> list[Variant]:
    """Return requests that are denied, or answered before the view, each after the same request let through."""
    key, anonymous = environ(), environ({"Origin": ORIGIN})
    preflight = environ({"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}, method="OPTIONS")
    keys: Policy = require_api_key(failures=RATE)
    allowed = cors(origins=[ORIGIN])
    return [
        Variant("key accepted", guarded(keys), key),
        _denied("401", guarded(keys), anonymous, 401, "Flask-HTTPAuth", "key accepted", "WWW-Authenticate"),
        Variant("limit kept", guarded(limit(RATE)), key),
        _denied("429", used_up(), key, 429, "Flask-Limiter", "limit kept", "Retry-After"),
        Variant("cors, GET", guarded(allowed), key),
        _denied(
            "preflight", guarded(allowed), preflight, 204, "Flask-CORS", "cors, GET", "Access-Control-Allow-Origin"
        ),
    ]


def _denied(
    name: str, app: Flask, environ: dict[str, Any], status: int, peer: str, let_through: str, same: str
) -> Variant:
    peer = f"{name}, {peer}"
    return Variant(name, app, environ, status, peer=peer, same=(same,), goals={let_through: 1, peer: 1})


def used_up() -> Flask:
    """Return an app whose limit is used up for the years to come."""
    app = guarded(limit("1/year"))
    app.test_client().get("/", headers={"X-API-Key": KEY}, environ_base={"REMOTE_ADDR": "192.0.2.1"})
    return app
