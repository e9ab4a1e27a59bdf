"""Variants of each concern: the five policies beside the peers, and the options of the others."""

from __future__ import annotations

from flask import Flask

from flask_guard import cache, compress, cors, csp_nonce, limit, log_timing, metrics, secure_headers
from flask_guard.access_log.fields import header
from flask_guard.security_headers import nonce
from flask_guard.wsgi import Headers, Layer, RequestID, RewriteBody, Timing, stack
from tests.benchmarks import peers
from tests.benchmarks.overhead import LOGGER, POLICIES, QUIET, RATE, Variant, environ, guarded, make_app
from tests.benchmarks.peers import FIVE, LIKE_THE_PEERS, LIMIT_FIELDS, TALISMAN_FIELDS

CORS_FIELDS = ("Access-Control-Allow-Origin",)
UNSTORED = FIVE(cache_control="no-store")
"""Talisman's fields, and the one that goes with a nonce."""
WITH_NONCE = UNSTORED(csp={"default-src": ["'self'", nonce]})


def everyday() -> list[Variant]:
    """Return the five policies, each and all, and the peers."""
    fields = environ()
    legacy = {"GUARD_RATELIMIT_HEADERS": "legacy"}
    stack_fields = (*CORS_FIELDS, *TALISMAN_FIELDS, *LIMIT_FIELDS, "X-Request-ID")
    return [
        Variant("bare", make_app(), fields),
        Variant("empty plan", guarded(), fields, goals={"bare": 0.08}),
        _beside("cors", guarded(POLICIES["cors"]), "Flask-CORS", CORS_FIELDS, 1 / 4),
        Variant("Flask-CORS", peers.cross_origin(), fields),
        _beside("Talisman's five fields", guarded(FIVE), "Talisman", TALISMAN_FIELDS, 1 / 4),
        _beside("strict", guarded(secure_headers), "Talisman", (), 1 / 3),
        Variant("Talisman", peers.talisman(), fields),
        _beside("require_api_key", guarded(POLICIES["require_api_key"]), "Flask-HTTPAuth", (), 0.8),
        Variant("Flask-HTTPAuth", peers.httpauth(), fields),
        _beside("log_timing", guarded(POLICIES["log_timing"]), "tutorial hooks", ("X-Request-ID",), 0.6),
        Variant("tutorial hooks", peers.hooks(), fields),
        _beside("limit, no fields", guarded(limit(RATE, headers=False)), "Flask-Limiter, no fields", (), 1 / 7),
        _beside("limit, RateLimit fields", guarded(POLICIES["limit"]), "Flask-Limiter", (), 1 / 7),
        _beside("limit, the peer's fields", guarded(POLICIES["limit"], **legacy), "Flask-Limiter", LIMIT_FIELDS, 1 / 7),
        Variant(
            "all five", guarded(LIKE_THE_PEERS, **legacy), fields,
            peer="the peers' stack", same=stack_fields, goals={"peer": 1 / 6, "bare": 0.75},
        ),
        Variant("Flask-Limiter, no fields", peers.limiter(), fields),  # these last: their timer threads disturb others
        Variant("Flask-Limiter", peers.limiter(headers=True), fields),
        Variant("the peers' stack", peers.stack(), fields),
    ]  # fmt: skip


def _beside(name: str, app: Flask, peer: str, same: tuple[str, ...], goal: float) -> Variant:
    return Variant(name, app, environ(), peer=peer, same=same, goals={"peer": goal})


def headers() -> list[Variant]:
    """Return ways to send fields."""
    asking = guarded(WITH_NONCE)
    asking.view_functions["view"] = lambda: "hello" if csp_nonce() else ""
    apps = {
        "bare": make_app(),
        "cors, any origin": guarded(cors(origins="*")),
        "relaxed": guarded(secure_headers("relaxed")),
        "five fields and no-store": guarded(UNSTORED),
        "nonce, unused": guarded(WITH_NONCE),
        "nonce, used": asking,
        "cache, public": guarded(cache("public, max-age=300")),
        "cache, no-store": guarded(cache("no-store")),
        "cache, etag": guarded(cache("public, max-age=300", etag=True)),
    }
    fields = environ({})  # without Authorization, which keeps a response from being public
    return [Variant(name, app, environ() if "cors" in name else fields) for name, app in apps.items()]


def compression() -> list[Variant]:
    """Return a body that is compressed, and bodies that are not."""
    plain, accepting = environ({}), environ({"Accept-Encoding": "gzip"})
    return [
        Variant("bare", make_app(), plain),
        Variant("compress, not accepted", guarded(compress(min_size=0)), plain),
        Variant("compress, too small", guarded(compress), accepting),
        Variant("compress, gzip", guarded(compress(min_size=0)), accepting),
    ]


def logging_() -> list[Variant]:
    """Return options of `log_timing`, and of `metrics`."""
    fields = environ()
    agent = {"agent": header("User-Agent"), "host": header("Host")}
    return [
        Variant("bare", make_app(), fields),
        Variant("with Server-Timing", guarded(log_timing(logger=LOGGER, server_timing=True)), fields),
        Variant("with two fields", guarded(log_timing(logger=LOGGER, fields=agent)), fields),
        Variant("sampled out", guarded(log_timing(logger=LOGGER, sample=0)), fields),
        Variant("nobody listens", guarded(log_timing(logger=QUIET)), fields),
        Variant("metrics", guarded(metrics), fields, peer="prometheus-flask-exporter"),
        Variant("prometheus-flask-exporter", peers.exporter(), fields),
    ]


def below_flask() -> list[Variant]:
    """Return layers of `flask_guard.wsgi`."""
    fields = environ()
    written = {"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    some = Headers(set=written, remove=["Server"])
    logged = Timing(logger=LOGGER)
    stacks: dict[str, list[Layer]] = {
        "bare": [],
        "Headers": [some],
        "Timing": [Timing],
        "Timing, Headers": [Timing, some],
        "Timing, nobody listens": [Timing(logger=QUIET)],
        "Timing, logging": [logged],
        "RequestID": [RequestID],
        "RewriteBody": [RewriteBody(rewrite=lambda page: page.replace(b"hello", b"goodbye"))],
        "RewriteBody, other type": [RewriteBody(rewrite=bytes.upper, content_types=["text/css"])],
    }
    policy = POLICIES["log_timing"]
    return [
        *(Variant(name, _around(make_app(), layers), fields) for name, layers in stacks.items()),
        Variant("log_timing", guarded(policy), fields),
        Variant("log_timing inside of both", _around(guarded(policy), [logged, some]), fields, over="log_timing"),
    ]


def _around(app: Flask, layers: list[Layer]) -> Flask:
    app.wsgi_app = stack(app.wsgi_app, *layers)  # type: ignore[method-assign,assignment]
    return app
