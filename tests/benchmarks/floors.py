"""The least that the same behaviour costs: written by hand for one app, without options, checks or plans.

A hook that does nothing costs Flask's calling of it; a limit in Redis costs one script call through redis-py. What
a policy costs beyond its floor is the price of all that it can do besides.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
import threading
import time
from typing import Any

import redis
from flask import Flask, Response, g, request

from flask_guard import cors, limit, log_timing, require_api_key
from tests.benchmarks import peers
from tests.benchmarks.overhead import KEY, LOGGER, ORIGIN, RATE, Variant, environ, guarded, make_app
from tests.benchmarks.shapes import used_up

SCRIPT = "local used = redis.call('INCR', KEYS[1]) if used == 1 then redis.call('EXPIRE', KEYS[1], 60) end return used"
AMOUNT = 100_000_000


def variants(url: str) -> list[Variant]:
    """Return the floors, each before the policy that it is the floor of."""
    fields = environ()
    anonymous = {name: value for name, value in fields.items() if name != "HTTP_AUTHORIZATION"}
    return [
        Variant("bare", make_app(), fields),
        Variant("three idle hooks", _idle(), fields),
        Variant("empty plan", guarded(), fields, peer="three idle hooks"),
        Variant("log by hand", _log(make_app()), fields),
        Variant("log_timing", guarded(log_timing(logger=LOGGER)), fields, peer="log by hand"),
        Variant("cors by hand", _cors(make_app()), fields),
        Variant("cors", guarded(cors(origins=[ORIGIN])), fields, peer="cors by hand"),
        Variant("headers by hand", _headers(make_app()), fields),
        Variant("five headers", guarded(peers.FIVE), fields, peer="headers by hand", same=peers.TALISMAN_FIELDS),
        Variant("key by hand", _key(make_app()), fields),
        Variant("require_api_key", guarded(require_api_key), fields, peer="key by hand"),
        Variant("401 by hand", _key(make_app()), anonymous, 401),
        Variant("401", guarded(require_api_key), anonymous, 401, peer="401 by hand"),
        Variant("limit by hand", _limit(make_app(), AMOUNT), fields),
        Variant("limit", guarded(limit(RATE)), fields, peer="limit by hand"),
        Variant("429 by hand", _limit(make_app(), 0), fields, 429),
        Variant("429", used_up(), fields, 429, peer="429 by hand"),
        Variant("all five by hand", _log(_headers(_cors(_key(_limit(make_app(), AMOUNT))))), fields),
        Variant("all five", guarded(peers.LIKE_THE_PEERS), fields, peer="all five by hand"),
        *(_in_redis(url, fields) if url.startswith("redis://") else ()),
    ]


def _in_redis(url: str, fields: dict[str, Any]) -> list[Variant]:
    return [
        Variant("Redis by hand", _redis(url), fields),
        Variant("Redis", guarded(limit(RATE), RATELIMIT_STORAGE_URI=url), fields, peer="Redis by hand"),
    ]


def _idle() -> Flask:
    app = make_app()
    app.before_request(lambda: None)
    app.after_request(lambda response: response)
    app.teardown_request(lambda error: None)
    return app


def _log(app: Flask) -> Flask:
    """Log each request with the attributes that `log_timing` gives a record."""
    access, well_formed = logging.getLogger(LOGGER), re.compile(r"[\w.-]{1,128}").fullmatch

    @app.before_request
    def begin() -> None:
        presented = request.environ.get("HTTP_X_REQUEST_ID", "")
        g.started, g.id = time.perf_counter(), presented if well_formed(presented) else secrets.token_hex(16)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.id
        client, identity = request.remote_addr, g.id
        started, method, path, endpoint = g.started, request.method, request.path, request.endpoint

        def log() -> None:
            taken = (time.perf_counter() - started) * 1000
            record = {"request_id": identity, "method": method, "path": path, "endpoint": endpoint, "client": client}
            record |= {"status": response.status_code, "duration_ms": taken, "bytes": response.content_length}
            access.info("%s %s %s %.1f ms", method, path, response.status_code, taken, extra=record)

        response.call_on_close(log)
        return response

    return app


def _headers(app: Flask) -> Flask:
    policy = peers.FIVE
    fields = {"Content-Security-Policy": str(policy.csp), "X-Frame-Options": str(policy.frame_options)}
    fields |= {"X-Content-Type-Options": "nosniff", "Referrer-Policy": str(policy.referrer_policy)}
    fields["Permissions-Policy"] = str(policy.permissions_policy)

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in fields.items():
            response.headers[name] = value
        return response

    return app


def _cors(app: Flask) -> Flask:
    origins = frozenset([ORIGIN])

    @app.after_request
    def allow(response: Response) -> Response:
        origin = request.environ.get("HTTP_ORIGIN")
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin
        response.vary.add("Origin")
        return response

    return app


def _key(app: Flask) -> Flask:
    keys = {hashlib.sha256(KEY.encode()).digest(): "bench"}

    @app.before_request
    def check() -> Response | None:
        scheme, _, presented = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        g.key = keys.get(hashlib.sha256(presented.encode()).digest()) if scheme.lower() == "bearer" else None
        return None if g.key else _refusal(401, {"WWW-Authenticate": 'Bearer realm="api"'})

    @app.after_request
    def keep_private(response: Response) -> Response:
        response.headers["Vary"] = "Authorization"
        response.headers["Cache-Control"] = "private"
        return response

    return app


def _limit(app: Flask, amount: int) -> Flask:
    lock, windows = threading.Lock(), dict[str, tuple[int, float]]()

    @app.before_request
    def count() -> Response | None:
        now = time.time()
        with lock:
            used, ends = windows.get(request.environ["REMOTE_ADDR"], (0, 0.0))
            used, ends = (used + 1, ends) if ends > now else (1, now + 60)
            windows[request.environ["REMOTE_ADDR"]] = used, ends
        g.left, g.wait = amount - used, int(ends - now) + 1
        return None if used <= amount else _refusal(429, {"Retry-After": str(g.wait)})

    app.after_request(_tell)
    return app


def _redis(url: str) -> Flask:
    app, client = make_app(), redis.Redis.from_url(url)
    digest = client.script_load(SCRIPT)

    @app.before_request
    def count() -> Response | None:
        used: Any = client.evalsha(digest, 1, f"floor:{request.environ['REMOTE_ADDR']}")
        g.left, g.wait = AMOUNT - used, 60
        return None if used <= AMOUNT else _refusal(429, {"Retry-After": "60"})

    app.after_request(_tell)
    return app


def _tell(response: Response) -> Response:
    response.headers["RateLimit-Policy"] = f'"default";q={AMOUNT};w=60'
    response.headers["RateLimit"] = f'"default";r={g.left};t={g.wait}'
    return response


def _refusal(status: int, headers: dict[str, str]) -> Response:
    body = json.dumps({"type": "about:blank", "title": "Refused", "status": status, "detail": "Refused."})
    return Response(body, status, headers, content_type="application/problem+json")
