"""Middleware of your own, in Flask and below it. A request passes, in this order,

1. `Timing`, below Flask: everything else is inside, so that is what it times, and it logs every request;
2. `Headers`, below Flask: it sets header fields on every response, whoever made it;
3. `RewriteBody`, below Flask: it puts a notice before the ``</body>`` of every page;
4. `maintenance`, a policy of the app: while the file ``instance/maintenance`` exists, the answer is a 503. In Flask,
   since there an endpoint can be exempted: the health check is;
5. `tenant`, a policy of the shop's blueprint: a request that names no tenant, or one that we do not know, gets a 400;
6. the view;

and the response goes out the same way, from the last to the first. Start it, and send requests::

    flask --app examples.custom_middleware run

    $ curl -i http://127.0.0.1:5000/ -H 'X-Tenant: acme'
    HTTP/1.1 200 OK
    Content-Type: text/html; charset=utf-8
    X-Tenant: acme
    Content-Length: 82
    X-Frame-Options: DENY
    Server-Timing: app;dur=0.6

    <html><body><h1>The shop of acme</h1><p>We are moving on Sunday.</p></body></html>

(The server adds some fields.) The tenant's field comes from the policy, and the length from `RewriteBody`, which has
changed it; then come those of `Headers` and `Timing`. The body of a response that is no page stays as it is; and a
request that a policy answers gets no further in, but its response goes out the same way::

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

During maintenance nobody is asked for a tenant, as that policy comes first. The health check goes on::

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


# In Flask: a phase says when a policy acts, and a scope on what ------------------------------------------------------


@middleware(phase=Phase.PRECONDITION)
def maintenance(_request: Request, *, retry_after: int = 120) -> tuple[str, int, dict[str, str]] | None:
    """Answer in place of the view while there is a file that says so. `retry_after` is in seconds."""
    if (Path(current_app.instance_path) / "maintenance").exists():
        return "<html><body><h1>Back soon</h1></body></html>", 503, {"Retry-After": str(retry_after)}
    return None


@middleware
def tenant(request: Request, *, header: str = "X-Tenant") -> Generator[None, Response, Any]:
    """Let only requests of known tenants through, and say on the response whose it is."""
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
