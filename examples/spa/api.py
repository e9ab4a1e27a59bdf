"""The API: anyone may read the products, and users of the page at `page` may order."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Flask, jsonify, request, session
from flask.typing import ResponseReturnValue

from flask_guard import (
    Guard,
    Principal,
    cache,
    cors,
    current_principal,
    exempt,
    limit,
    log_timing,
    require_auth,
    require_request,
    same_origin,
    secure_headers,
)

PRODUCTS = {"tea": 3, "coffee": 4}


def logged_in() -> Principal | None:
    """Return the user of the session."""
    return Principal(session["user"]) if "user" in session else None


def create_api(page: str) -> Flask:
    """Return the API.

    :param page: the origin of the page, such as ``http://localhost:5000``.
    """
    app = Flask("spa-api")
    app.config.update(SECRET_KEY=secrets.token_hex(), SESSION_COOKIE_NAME="api", SESSION_COOKIE_SAMESITE="Strict")
    Guard(
        app,
        policies=[
            log_timing,
            secure_headers("api"),
            cors(origins=page, credentials=True),  # the page may read the answers, and send the cookie
            same_origin(allow=page),  # only the page may send writes
            require_request(json=True, max_body=10_000),
            limit("100/minute"),
            require_auth(session=logged_in),
        ],
    )
    orders: list[dict[str, Any]] = []

    @app.get("/products")
    @exempt(require_auth)
    @cors(origins="*")
    @cache("public, max-age=60", etag=True)
    def list_products() -> ResponseReturnValue:
        return PRODUCTS

    @app.post("/session")
    @exempt(require_auth)
    @limit("5/minute")
    def log_in() -> ResponseReturnValue:
        session["user"] = str(request.get_json()["user"])  # a real log-in asks for a password, too
        return {"user": session["user"]}, 201

    @app.get("/orders")
    def list_orders() -> ResponseReturnValue:
        return jsonify([order for order in orders if order["by"] == current_principal.id])

    @app.post("/orders")
    def place_order() -> ResponseReturnValue:
        item = request.get_json()["item"]
        if item not in PRODUCTS:
            return {"error": f"unknown item: {item}"}, 404
        orders.append({"item": item, "by": current_principal.id})
        return orders[-1], 201

    return app
