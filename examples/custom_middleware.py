"""Custom middleware in Flask and below it. A request passes these steps, and the response passes them in reverse:

1. `Timing`, below Flask, times everything inside, and logs every request.
2. `Headers`, below Flask, sets header fields on every response.
3. `RewriteBody`, below Flask, adds a notice before the ``</body>`` of every page.
4. `maintenance`, a policy of the app, answers 503 while the file ``instance/maintenance`` exists. In Flask, an endpoint
   such as the health check can be exempted.
5. `tenant`, a policy of the shop's blueprint, answers 400 to a request without a known tenant.
6. The view.

Start the app, and send requests::

    flask --app examples.custom_middleware run

    $ curl -i http://127.0.0.1:5000/ -H 'X-Tenant: acme'
    HTTP/1.1 200 OK
    Content-Type: text/html; charset=utf-8
    X-Tenant: acme
    Content-Length: 82
    X-Frame-Options: DENY
    Server-Timing: app;dur=0.6

    <html><body><h1>The shop of acme</h1><p>We are moving on Sunday.</p></body></html>

The policy adds ``X-Tenant``, and `RewriteBody` changes the length. `Headers` and `Timing` add the last two fields, and
the server some others. JSON bodies stay unchanged. A denied request does not reach the view, but its response passes
the outer steps::

    $ curl -i http://127.0.0.1:5000/prices -H 'X-Tenant: acme'
    HTTP/1.1 200 OK
    Content-Type: application/json
    Content-Length: 10
    X-Tenant: acme
    X-Frame-Options: DENY
    Server-Timing: app;dur=0.5

    {"tea":3}

    $ curl -i http://127.0.0.1:5000/prices -H 'X-Tenant: nobody'
    HTTP/1.1 400 BAD REQUEST
    Content-Type: application/json
    Content-Length: 50
    X-Frame-Options: DENY
    Server-Timing: app;dur=0.5

    {"error":"X-Tenant must be one of: acme, globex"}

The maintenance policy comes first, so a request without a tenant gets the 503, too. The health check still works::

    $ mkdir -p instance && touch instance/maintenance
    $ curl -i http://127.0.0.1:5000/
    HTTP/1.1 503 SERVICE UNAVAILABLE
    Retry-After: 120
    Content-Type: text/html; charset=utf-8
    Content-Length: 75
    X-Frame-Options: DENY
    Server-Timing: app;dur=0.5

    <html><body><h1>Back soon</h1><p>We are moving on Sunday.</p></body></html>

    $ curl -i http://127.0.0.1:5000/health
    HTTP/1.1 200 OK
    Content-Type: application/json
    Content-Length: 16
    X-Frame-Options: DENY
    Server-Timing: app;dur=0.5

    {"status":"ok"}

    $ rm instance/maintenance
"""

import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Request, Response, current_app, g

from flask_guard import Guard, Phase, exempt, middleware, protect
from flask_guard.wsgi import Headers, RewriteBody, Timing, stack

logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
TENANTS = ("acme", "globex")
NOTICE = b"<p>We are moving on Sunday.</p>"


# In Flask: the phase of a policy decides when it acts, and the scope where --------------------------------------------


@middleware(phase=Phase.PRECONDITION)
def maintenance(_request: Request, *, retry_after: int = 120) -> tuple[str, int, dict[str, str]] | None:
    """Answer 503 in place of the view while the file exists. `retry_after` is in seconds."""
    if (Path(current_app.instance_path) / "maintenance").exists():
        return "<html><body><h1>Back soon</h1></body></html>", 503, {"Retry-After": str(retry_after)}
    return None


@middleware
def tenant(request: Request, *, header: str = "X-Tenant") -> Generator[None, Response, Any]:
    """Let only requests of known tenants through, and name the tenant on the response."""
    name = request.headers.get(header)
    if name not in TENANTS:
        return {"error": f"{header} must be one of: {', '.join(TENANTS)}"}, 400
    g.tenant = name
    response = yield
    response.headers[header] = name
    return None


app = Flask(__name__)
Guard(app, policies=[maintenance])

shop = protect(Blueprint("shop", __name__), tenant)


@shop.get("/")
def front_page() -> str:
    return f"<html><body><h1>The shop of {g.tenant}</h1></body></html>"


@shop.get("/prices")
def prices() -> dict[str, int]:
    return {"tea": 3}


@app.get("/health")
@exempt(maintenance)
def health() -> dict[str, str]:
    return {"status": "ok"}


app.register_blueprint(shop)


# Below Flask: the first layer of a stack is the outermost ------------------------------------------------------------


def add_notice(page: bytes) -> bytes:
    """Put the notice at the end of a page."""
    return page.replace(b"</body>", NOTICE + b"</body>")


app.wsgi_app = stack(  # type: ignore[assignment, method-assign]
    app.wsgi_app,
    Timing(logger="flask_guard.access", slow_ms=500),
    Headers(set={"X-Frame-Options": "DENY"}),
    RewriteBody(rewrite=add_notice),
)
