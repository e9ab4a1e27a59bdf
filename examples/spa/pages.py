"""The page, which may run its own scripts and scripts with a nonce, and call one API."""

from __future__ import annotations

from flask import Flask, request
from markupsafe import Markup, escape

from flask_guard import Guard, cache, csp_nonce, limit, log_timing, protect, same_origin, secure_headers
from flask_guard.security_headers import csp_reports, nonce


def create_pages(api: str) -> Flask:
    """Return the app that serves the page.

    :param api: the origin of the API, such as ``http://localhost:5001``.
    """
    app = Flask(__name__)
    headers = secure_headers(
        "relaxed",
        csp={
            "script-src": ["'self'", nonce],
            "connect-src": ["'self'", api],
            "report-uri": "/csp-reports",  # over https, add report-to and reporting_endpoints={"csp": "/csp-reports"}
        },
    )
    Guard(app, policies=[log_timing, headers, same_origin, cache("no-cache")])
    app.register_blueprint(protect(csp_reports(), limit("60/minute")))

    @app.get("/")
    def index() -> str:
        greeting = f"<script nonce='{csp_nonce()}'>document.querySelector('#greeting').textContent = 'Welcome'</script>"
        buttons = "".join(f"<button id='{name}'>{text}</button>" for name, text in BUTTONS.items())
        form = "<form method='post' action='/feedback'><input name='text' value='good'><button>Send</button></form>"
        body = f"<h1 id='greeting'></h1>{greeting}{buttons}<pre id='answer'></pre>{form}"
        return _page(f"{body}<script src='/static/spa.js' data-api='{escape(api)}'></script>")

    @app.get("/search")
    def search() -> str:
        """Repeat the query unescaped, as a deliberate hole. The policy keeps injected scripts from running."""
        return _page(f"<p>Nothing found for {Markup(request.args.get('q', ''))}</p>")  # noqa: S704

    @app.post("/feedback")
    def feedback() -> str:
        return _page(f"<p id='thanks'>Thank you for: {escape(request.form['text'])}</p>")

    @app.get("/favicon.ico")
    def icon() -> tuple[str, int]:
        return "", 204

    return app


BUTTONS = {"products": "Products", "login": "Log in", "order": "Order tea", "unknown": "Order water"}
"""The calls of the page to the API; see ``static/spa.js``."""


def _page(body: str) -> str:
    return f"<!doctype html><html lang='en'><head><title>Shop</title></head><body>{body}</body></html>"
