"""Policies beside Flask's own hooks and WSGI layers. Each prints a line when it runs. Start the app, send requests::

    flask --app examples.global_hooks run

The layers run first, then hooks and policies in the order of their registration. The response passes them in reverse::

    $ curl http://127.0.0.1:5000/api/orders -H 'X-API-Key: demo-key'
    outer layer: GET /api/orders
      inner layer: GET /api/orders
        before_request, registered before the Guard
          policy of the app, before its yield
          policy of the blueprint, before its yield
          policy of the view, before its yield
        before_request, registered after the Guard
        before_request of the blueprint
            the view
        after_request of the blueprint
        after_request, registered after the Guard
          policy of the view, after its yield: 200
          policy of the blueprint, after its yield: 200
          policy of the app, after its yield: 200
        after_request, registered before the Guard
      inner layer: 200 OK
    outer layer: 200 OK
        teardown_request
      inner layer: the body has been sent
    outer layer: the body has been sent
    deferred: a mail to the shop

A denied request does not reach the view, but everything that acts on responses acts on its response, too. The phase of
a policy decides when it acts, so `require_api_key` runs before the blueprint's own policy, which is written first::

    $ curl http://127.0.0.1:5000/api/orders
    outer layer: GET /api/orders
      inner layer: GET /api/orders
        before_request, registered before the Guard
          policy of the app, before its yield
          require_api_key refuses: missing
        after_request of the blueprint
        after_request, registered after the Guard
          policy of the app, after its yield: 401
        after_request, registered before the Guard
      inner layer: 401 UNAUTHORIZED
    outer layer: 401 UNAUTHORIZED
        teardown_request
      inner layer: the body has been sent
    outer layer: the body has been sent
"""

import time
from collections.abc import Generator
from typing import Any

from flask import Blueprint, Flask, Request, Response

from flask_guard import (
    Denied,
    Guard,
    Middleware,
    Phase,
    defer,
    middleware,
    protect,
    request_denied,
    require_api_key,
    secure_headers,
)
from flask_guard.wsgi import Ending, HeaderList, stack
from flask_guard.wsgi import Middleware as Layer


def ran(what: str) -> None:
    """Print `what`, which has run."""
    print(what, flush=True)


# Hooks, in the order in which they are registered --------------------------------------------------------------------

app = Flask(__name__)
app.config["GUARD_API_KEYS"] = {"demo": "demo-key"}


@app.before_request
def before_early() -> None:
    ran("    before_request, registered before the Guard")


@app.after_request
def after_early(response: Response) -> Response:
    ran("    after_request, registered before the Guard")
    return response


def telling(scope: str, phase: Phase = Phase.CUSTOM) -> Middleware:
    """Return a policy that prints when it runs."""

    @middleware(phase=phase)
    def tell(_request: Request) -> Generator[None, Response, None]:
        ran(f"      policy of the {scope}, before its yield")
        response = yield
        ran(f"      policy of the {scope}, after its yield: {response.status_code}")

    return tell


Guard(app, policies=[telling("app", Phase.OBSERVE), secure_headers])


@app.before_request
def before_late() -> None:
    ran("    before_request, registered after the Guard")


@app.after_request
def after_late(response: Response) -> Response:
    ran("    after_request, registered after the Guard")
    return response


@app.teardown_request
def teardown(_error: BaseException | None) -> None:
    ran("    teardown_request")


@request_denied.connect_via(app)
def denied(_sender: Flask, denial: Denied, **_: object) -> None:
    ran(f"      {denial.policy} refuses: {denial.reason}")


# A guarded blueprint with hooks --------------------------------------------------------------------------------------

api = protect(Blueprint("api", __name__, url_prefix="/api"), telling("blueprint"), require_api_key)


@api.before_request
def before_blueprint() -> None:
    ran("    before_request of the blueprint")


@api.after_request
def after_blueprint(response: Response) -> Response:
    ran("    after_request of the blueprint")
    return response


def send_mail(to: str) -> None:
    time.sleep(0.2)
    ran(f"deferred: a mail to {to}")


@api.get("/orders")
@telling("view")
def orders() -> list[str]:
    ran("        the view")
    defer(send_mail, "the shop")
    return ["tea", "coffee"]


app.register_blueprint(api)


# Below Flask: the first layer of a stack is the outermost ------------------------------------------------------------


class Telling(Layer):
    """Prints when it sees a request, a response, and the end of its body."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def on_request(self, environ: dict[str, Any]) -> None:
        ran(f"{self.name} layer: {environ['REQUEST_METHOD']} {environ['PATH_INFO']}")

    def on_response(self, environ: dict[str, Any], status: str, headers: HeaderList) -> None:
        ran(f"{self.name} layer: {status}")

    def on_end(self, environ: dict[str, Any], ending: Ending) -> None:
        ran(f"{self.name} layer: the body has been sent")


app.wsgi_app = stack(app.wsgi_app, Telling("outer"), Telling("  inner"))  # type: ignore[assignment, method-assign]
