"""The scope matrix: the policies, the scopes that they can be at, the situations, and an app of any combination."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flask import Blueprint, Flask, Request, Response, abort
from flask.views import MethodView
from werkzeug.test import TestResponse

from flask_guard import (
    Cors,
    Guard,
    Limit,
    LogTiming,
    Middleware,
    RequireApiKey,
    SecureHeaders,
    cors,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
    secure_headers,
)
from tests.conftest import MakeApp

AnyPolicy: TypeAlias = "RequireApiKey | Cors | Limit | SecureHeaders | LogTiming | Middleware"
View: TypeAlias = Callable[..., Any]

ORIGIN = "https://app.example.com"
KEY = "a key for tests"
THING = "/api/v1/thing"


@middleware
def stamp(request: Request) -> Generator[None, Response, None]:
    response = yield
    response.headers["X-Stamp"] = "yes"


POLICIES: dict[str, AnyPolicy] = {
    "require_api_key": require_api_key,
    "cors": cors(origins=ORIGIN),
    "limit": limit("100/minute"),
    "secure_headers": secure_headers,
    "log_timing": log_timing,
    "middleware": stamp,
}

SIGNS: dict[str, Callable[[TestResponse], bool]] = {
    "require_api_key": lambda r: r.status_code == 401 and r.headers["WWW-Authenticate"] == 'Bearer realm="api"',
    "cors": lambda r: r.headers.getlist("Access-Control-Allow-Origin") == [ORIGIN],
    "limit": lambda r: r.headers.getlist("RateLimit-Policy") == ['"100-per-minute";q=100;w=60'],
    "secure_headers": lambda r: r.headers.getlist("X-Content-Type-Options") == ["nosniff"],
    "log_timing": lambda r: len(r.headers.getlist("X-Request-ID")) == 1,
    "middleware": lambda r: r.headers.getlist("X-Stamp") == ["yes"],
}
"""How each policy shows that it acted on a response to a request without a key."""


# The situations --------------------------------------------------------------------------------------------------


def plain() -> str:
    return "plain"


def forbidden() -> str:
    abort(403)


def broken() -> str:
    raise ZeroDivisionError("broken on purpose")


def streamed() -> Iterator[str]:
    yield from ("one ", "two ", "three")


async def asynchronous() -> str:
    return "async"


@dataclass(frozen=True)
class Situation:
    """A request, the view behind the path, and what the app answers if no policy interferes."""

    status: int
    view: View = plain
    method: str = "GET"
    path: str = THING
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def is_preflight(self) -> bool:
        return self.method == "OPTIONS"


SITUATIONS = {
    "200": Situation(200, body=b"plain"),
    "abort 403": Situation(403, forbidden),
    "unhandled 500": Situation(500, broken),
    "404": Situation(404, path="/api/v1/nowhere"),
    "405": Situation(405, method="DELETE"),
    "HEAD": Situation(200, method="HEAD", body=b""),
    "preflight": Situation(200, method="OPTIONS", headers={"Access-Control-Request-Method": "GET"}),
    "streamed": Situation(200, streamed, body=b"one two three"),
    "async": Situation(200, asynchronous, body=b"async"),
}


# The scopes ------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """An app that serves a view below two blueprints, while it is being put together."""

    app: Flask
    outer: Blueprint = field(default_factory=lambda: Blueprint("outer", __name__, url_prefix="/api"))
    inner: Blueprint = field(default_factory=lambda: Blueprint("inner", __name__, url_prefix="/v1"))
    app_wide: tuple[AnyPolicy, ...] = ()


def by_guard(site: Site, policy: AnyPolicy, view: View) -> View:
    site.app_wide = (policy,)
    return view


def by_protect(site: Site, policy: AnyPolicy, view: View) -> View:
    protect(site.app, policy)
    return view


def on_path(path: str) -> Callable[[Site, AnyPolicy, View], View]:
    """Return what applies a policy to all below `path`."""

    def apply(site: Site, policy: AnyPolicy, view: View) -> View:
        protect(site.app, policy, under=path)
        return view

    return apply


def on_outer_blueprint(site: Site, policy: AnyPolicy, view: View) -> View:
    policy(site.outer)
    return view


def on_nested_blueprint(site: Site, policy: AnyPolicy, view: View) -> View:
    policy(site.inner)
    return view


def on_view(site: Site, policy: AnyPolicy, view: View) -> View:
    def thing() -> Any:
        return view()

    async def thing_async() -> Any:
        return await view()

    return policy(thing_async if inspect.iscoroutinefunction(view) else thing)


def class_of(view: View, decorate: Callable[[View], View] = lambda method: method) -> type[MethodView]:
    """Return a class-based view whose `get` does what `view` does, decorated."""

    def get(self: MethodView) -> Any:
        return view()

    async def get_async(self: MethodView) -> Any:
        return await view()

    class Thing(MethodView):
        def post(self) -> str:
            return "posted"

    Thing.get = decorate(get_async if inspect.iscoroutinefunction(view) else get)  # type: ignore[attr-defined]
    Thing.methods = {"GET", "POST"}
    return Thing


def on_class(site: Site, policy: AnyPolicy, view: View) -> View:
    return policy(class_of(view)).as_view("thing")


def in_class_decorators(site: Site, policy: AnyPolicy, view: View) -> View:
    cls = class_of(view)
    cls.decorators = [policy]
    return cls.as_view("thing")


def on_one_method(site: Site, policy: AnyPolicy, view: View) -> View:
    return class_of(view, policy).as_view("thing")


BELOW_INNER = frozenset({"POST /api/v1/thing", "GET /api/v1/other", "GET /api/v1/nowhere"})
BELOW_OUTER = BELOW_INNER | {"GET /api/other", "GET /api/nowhere"}
EVERYWHERE = BELOW_OUTER | {"GET /other", "GET /nowhere"}

SCOPES: dict[str, tuple[Callable[[Site, AnyPolicy, View], View], frozenset[str]]] = {
    "Guard(policies)": (by_guard, EVERYWHERE),
    "protect(app)": (by_protect, EVERYWHERE),
    "path": (on_path("/api"), BELOW_OUTER),
    "deeper path": (on_path("/api/v1/"), BELOW_INNER),
    "path with a variable": (on_path("/<section>/v1"), BELOW_INNER),
    "outer blueprint": (on_outer_blueprint, BELOW_OUTER),
    "nested blueprint": (on_nested_blueprint, BELOW_INNER),
    "view": (on_view, frozenset()),
    "class": (on_class, frozenset({"POST /api/v1/thing"})),
    "MethodView.decorators": (in_class_decorators, frozenset({"POST /api/v1/thing"})),
    "one method": (on_one_method, frozenset()),
}
"""How to apply a policy to `GET /api/v1/thing`, and what else it reaches then."""


def put_together(make_app: MakeApp, scope: str, policy: AnyPolicy, view: View = plain) -> Flask:
    """Return an app in which `policy` is at `scope` around `GET /api/v1/thing`."""
    site = Site(make_app(GUARD_API_KEYS={"tests": KEY}))
    thing = SCOPES[scope][0](site, policy, view)
    site.inner.add_url_rule("/thing", "thing", thing)
    if not hasattr(thing, "view_class"):
        site.inner.add_url_rule("/thing", "post_thing", lambda: "posted", methods=["POST"])
    for each in (site.app, site.outer, site.inner):
        each.add_url_rule("/other", "other", lambda: "other")
    Guard(site.app, policies=site.app_wide)
    site.outer.register_blueprint(site.inner)
    site.app.register_blueprint(site.outer)
    return site.app


def send(app: Flask, situation: Situation, **headers: str) -> TestResponse:
    """Send the situation's request from a page of ORIGIN, and read the response to its end."""
    response = app.test_client().open(
        situation.path, method=situation.method, headers={"Origin": ORIGIN, **situation.headers, **headers}
    )
    response.get_data()
    return response


def is_reached(scope: str, situation: Situation) -> bool:
    """Return whether a policy at `scope` is in the plan of the situation's request."""
    return situation.path == THING or f"{situation.method} {situation.path}" in SCOPES[scope][1]


def status_in(policy: str, scope: str, situation: Situation) -> int:
    """Return the status that a request without a key gets."""
    if is_reached(scope, situation):
        if policy == "require_api_key" and not situation.is_preflight:
            return 401
        if policy == "cors" and situation.is_preflight:
            return 204
    return situation.status
