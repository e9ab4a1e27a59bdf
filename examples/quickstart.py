"""A small orders API, guarded. Run it with: flask --app examples.quickstart run"""

import hashlib
import logging
from collections.abc import Generator
from datetime import datetime, timezone
from typing import Any

from flask import Blueprint, Flask, Request, Response, g, request

from flask_guard import (
    Guard,
    cors,
    current_api_key,
    exempt,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
    secure_headers,
)

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


def sha256(secret: str) -> str:
    """Return the hash of a secret for the configuration. A real app stores only the hash."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


app = Flask(__name__)
app.config["GUARD_API_KEYS"] = {
    "reader": {"hash": sha256("demo-reader-key"), "scopes": ["orders:read"]},
    "writer": {"hash": sha256("demo-writer-key"), "scopes": ["orders:read", "orders:write"]},
}


@app.before_request  # a global hook, registered before the Guard, so before every policy
def note_the_time() -> None:
    g.now = datetime.now(timezone.utc).isoformat(timespec="seconds")


Guard(app, policies=[log_timing, secure_headers])  # app-wide: on every response, errors included


@app.get("/")
@limit("5/minute")  # one decorated view
def index() -> dict[str, str]:
    return {"hello": "world", "now": g.now}


@middleware  # a policy of our own: code before the yield sees the request, code after it the response
def tenant(request: Request, *, header: str = "X-Tenant") -> Generator[None, Response, Any]:
    g.tenant = request.headers.get(header, "acme")
    if g.tenant not in ("acme", "globex"):
        return {"error": f"unknown tenant: send {header}: acme or globex"}, 400
    response = yield
    response.headers[header] = g.tenant
    return None


api = Blueprint("api", __name__, url_prefix="/api")  # a guarded blueprint: these reach every view of it
protect(api, cors(origins=["https://app.example.com"]), require_api_key(scopes="orders:read"), limit("100/minute"))


@api.get("/orders")
@tenant
def list_orders() -> dict[str, Any]:
    return {"tenant": g.tenant, "orders": ["tea", "coffee"]}


@api.post("/orders")
@require_api_key(scopes="orders:write")  # nearer than the blueprint's policy, which it replaces
@limit("10/minute", by="api_key")
def create_order() -> tuple[dict[str, Any], int]:
    return {"created": request.get_json()["item"], "by": current_api_key.id}, 201


@api.get("/health")
@exempt(require_api_key, limit)  # and this one is open
def health() -> dict[str, str]:
    return {"status": "ok"}


app.register_blueprint(api)
