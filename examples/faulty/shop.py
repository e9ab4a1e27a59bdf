"""A shop with seven deliberate faults. Each looks harmless, and no test of the views shows it.

Find them: ``flask --app examples.faulty.shop guard audit --fail-level info``
"""

from __future__ import annotations

from flask import Flask, redirect, render_template_string, request, session
from werkzeug import Response

from flask_guard import Guard, cors, exempt, limit, require_api_key, secure_headers

app = Flask(__name__, static_folder=None)
app.config.update(
    SECRET_KEY="change-me-in-production",  # fault 1  # noqa: S106
    SESSION_COOKIE_SECURE=True,
    SESSION_COOKIE_SAMESITE="Lax",
    MAX_CONTENT_LENGTH=1_000_000,
    GUARD_API_KEYS={
        "shop": {
            "hash": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "scopes": ["orders:write"],
            "expires": "2031-01-31",
        }
    },
)
Guard(app, policies=[secure_headers, limit("600/minute")])  # fault 2: counted in memory, by each worker alone


@app.get("/")
@secure_headers("relaxed", csp={"script-src": ["'self'", "'unsafe-inline'"]})  # fault 3
def index() -> str:
    return render_template_string("<h1>The shop</h1>")


@app.post("/login")  # fault 4: passwords can be guessed, ten a second
def login() -> Response:
    session["user"] = request.form["name"]
    return redirect("/")


@app.post("/orders")
@require_api_key(scopes="orders:write")
@cors(origins="*")  # fault 5
def create_order() -> tuple[dict[str, int], int]:
    return {"order": 7}, 201


@app.delete("/orders/<int:number>")  # fault 6: the decorator of the view above was not copied
def delete_order(number: int) -> dict[str, int]:
    return {"deleted": number}


@exempt(limit)  # fault 7: above the route, without effect
@app.get("/health")
def health() -> dict[str, bool]:
    return {"ok": True}
