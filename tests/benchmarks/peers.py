"""The apps of the peers: the same behaviour, by the extensions that a team would otherwise combine."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

import flask_cors
from flask import Flask, Response, g, request
from flask_httpauth import HTTPTokenAuth  # type: ignore[import-untyped]
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_talisman import Talisman  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics  # type: ignore[import-untyped]

from flask_guard import compose, cors, limit, log_timing, require_api_key, secure_headers
from tests.benchmarks.overhead import KEY, LOGGER, ORIGIN, RATE, make_app

View = Callable[..., Any]

TALISMAN_FIELDS = (
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "Referrer-Policy",
    "Permissions-Policy",
)
"""The fields that Talisman sends by default over http."""

LIMIT_FIELDS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")

FIVE = secure_headers(
    csp="default-src 'self'; object-src 'none'",
    frame_options="SAMEORIGIN",
    content_type_options="nosniff",
    referrer_policy="strict-origin-when-cross-origin",
    permissions_policy="browsing-topics=()",
    hsts=None,
    opener_policy=None,
    embedder_policy=None,
    resource_policy=None,
    cache_control=None,
    dns_prefetch_control=None,
    cross_domain_policies=None,
)
"""Talisman's fields, and no others."""

LIKE_THE_PEERS = compose(log_timing(logger=LOGGER), cors(origins=[ORIGIN]), FIVE, limit(RATE), require_api_key)
"""The five policies with the fields that the stack of the peers sends."""


def decorated(*decorators: Callable[[View], View]) -> Flask:
    """Return an app whose one view has decorators; the last is the outermost."""
    app = make_app()
    for decorate in decorators:
        app.view_functions["view"] = decorate(app.view_functions["view"])
    return app


def cross_origin() -> Flask:
    """Return an app whose view has Flask-CORS' decorator."""
    app = Flask("benchmark")
    app.config["SECRET_KEY"] = "secret"
    app.add_url_rule("/", "view", cors_decorator()(lambda: "hello"))  # which says that it answers OPTIONS
    return app


def cors_decorator() -> Callable[[View], View]:
    """Return Flask-CORS' decorator."""
    return flask_cors.cross_origin(origins=[ORIGIN])


def talisman() -> Flask:
    """Return an app with Talisman, without its redirect to https."""
    app = make_app()
    Talisman(app, force_https=False)
    return app


def httpauth() -> Flask:
    """Return an app whose view is behind Flask-HTTPAuth's token decorator, with a dict look-up."""
    return decorated(token_decorator())


def token_decorator() -> Any:
    """Return Flask-HTTPAuth's decorator."""
    auth, tokens = HTTPTokenAuth(realm="api"), {KEY: "bench"}
    auth.verify_token(tokens.get)
    return auth.login_required


def limiter(uri: str = "memory://", *, headers: bool = False, rate: str = RATE) -> Flask:
    """Return an app whose view has Flask-Limiter's decorator."""
    app = make_app()
    limits = Limiter(get_remote_address, app=app, storage_uri=uri, headers_enabled=headers)
    view: Any = limits.limit(rate)(app.view_functions["view"])
    app.view_functions["view"] = view
    return app


def exhausted_limiter() -> Flask:
    """Return the same with a limit that is used up for the years to come, and with fields."""
    app = limiter(headers=True, rate="1/year")
    app.test_client().get("/", environ_base={"REMOTE_ADDR": "192.0.2.1"})
    return app


def exporter() -> Flask:
    """Return an app with prometheus-flask-exporter, by endpoint, with its default metrics."""
    app = make_app()
    PrometheusMetrics(app, group_by="endpoint", registry=CollectorRegistry())
    return app


def hooks(app: Flask | None = None) -> Flask:
    """Return an app that logs by hand, as tutorials show."""
    app = app or make_app()
    logger = logging.getLogger(LOGGER)

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()
        g.request_id = request.headers.get("X-Request-ID") or str(uuid.uuid4())

    @app.after_request
    def log(response: Response) -> Response:
        duration_ms = (time.perf_counter() - g.started) * 1000
        fields = {
            "request_id": g.request_id,
            "method": request.method,
            "path": request.path,
            "endpoint": request.endpoint,
            "status": response.status_code,
            "duration_ms": duration_ms,
            "bytes": response.content_length,
            "address": request.remote_addr,
        }
        logger.info("%s %s %s %.1f ms", request.method, request.path, response.status_code, duration_ms, extra=fields)
        response.headers["X-Request-ID"] = g.request_id
        return response

    return app


def stack(uri: str = "memory://") -> Flask:
    """Return an app with all of these together."""
    app = talisman()
    limits = Limiter(get_remote_address, app=app, storage_uri=uri, headers_enabled=True)
    view = limits.limit(RATE)(token_decorator()(app.view_functions["view"]))
    app.view_functions["view"] = cors_decorator()(view)
    return hooks(app)
