"""Apps with policies, exemptions and foreign decorators wherever they may stand, drawn at random from a seed.

Each policy that is drawn has a number of its own, by which its responses tell that it was in force.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Flask, Response, g, request
from flask.views import MethodView
from flask_cors import cross_origin
from flask_httpauth import HTTPTokenAuth  # type: ignore[import-untyped]
from flask_jwt_extended import JWTManager, jwt_required
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, UserMixin, login_required  # type: ignore[import-untyped]

from flask_guard import (
    Guard,
    Policy,
    ban,
    cache,
    cors,
    exempt,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
    require_auth,
    require_request,
    same_origin,
    secure_headers,
)

ORIGIN = "https://page.example"
KEY = "a long secret key of the generated apps"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PATHS = ("/a", "/a/b", "/c", "/<segment>/b")
"""Scopes by path; rules with a variable first segment lie on both sides of some."""


@middleware
def stamp(_request: object, *, number: int = 0) -> Generator[None, Response, None]:
    """Put the number into a response field."""
    response = yield
    response.headers.add("X-Stamp", str(number))


def decorated(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return the view as a decorator of the app's own wraps it: what it does, nobody can know."""

    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        g.decorated = g.get("decorated", 0) + 1
        return view(*args, **kwargs)

    return wrapper


@dataclass
class Draw:
    """What is drawn for one app."""

    random: random.Random
    app: Flask
    numbers: Iterator[int]
    limiter: Limiter
    tokens: HTTPTokenAuth
    makers: tuple[Callable[[Draw, int], Policy], ...]
    endpoints: int = 0
    kinds: tuple[Policy, ...] = field(default=(cors, limit, require_api_key, require_auth, secure_headers, stamp, ban))

    def policies(self, most: int = 4) -> list[Policy]:
        """Return policies, of one kind at most one each, but for limits."""
        makers = self.random.sample(self.makers, self.random.randint(0, most))
        drawn = [make(self, next(self.numbers)) for make in makers]
        kinds = {each.key: each for each in drawn}
        return [each for each in drawn if each.repeatable or kinds[each.key] is each]

    def exemption(self) -> list[Any]:
        kinds = self.random.sample(self.kinds, self.random.randint(1, 3))
        return [exempt(*kinds)] if self.random.random() < 0.2 else []

    def applied(self, target: Any, most: int = 3) -> Any:
        """Return a view or class with what is drawn for it: policies and decorators in any order."""
        own: list[Any] = [*self.policies(most)]
        exempted = self.exemption()
        if exempted and not {each.key for each in own} & {each.key for each in exempted[0].policies}:
            own += exempted
        if not isinstance(target, type):
            own += self.foreign()
        self.random.shuffle(own)
        for decorator in own:
            target = decorator(target)
        return target

    def foreign(self) -> list[Any]:
        """Return decorators of other packages."""
        known: list[Any] = [
            login_required,
            self.tokens.login_required,
            jwt_required(),
            cross_origin(origins=ORIGIN, methods=["GET", "PUT"]),
            decorated,
        ]
        return self.random.sample(known, 1) if self.random.random() < 0.3 else []


def _mode(draw: Draw) -> Any:
    return "report" if draw.random.random() < 0.15 else None


MAKERS: tuple[Callable[[Draw, int], Policy], ...] = (
    lambda draw, n: cors(origins=ORIGIN, expose_headers=[f"X-Cors-{n}"]),
    lambda draw, n: limit(f"{10_000 + n}/hour", mode=_mode(draw)),
    lambda draw, n: limit(f"{10_000 + n}/day", shared=f"s{n}"),
    lambda draw, n: limit(f"{10_000 + n}/day", by="api_key"),
    lambda draw, n: require_api_key(in_="x-api-key", realm=f"key {n}", failures=None, mode=_mode(draw)),
    lambda draw, n: require_auth(bearer=bearer, realm=f"auth {n}", failures=None, mode=_mode(draw)),
    lambda draw, n: secure_headers(
        draw.random.choice(["strict", "api"]), cache_control=f"max-age={n}" if n % 2 else None, referrer_policy="origin"
    ),
    lambda draw, n: stamp(number=n),
    lambda draw, n: ban(after="1/hour", on=[418], lasting=f"{1000 + n}s", mode=_mode(draw)),
)


MORE: tuple[Callable[[Draw, int], Policy], ...] = (
    lambda draw, n: limit("3/minute", algorithm="token-bucket", burst=n % 5 + 1),
    lambda draw, n: limit.concurrent(n % 3 + 1),
    lambda draw, n: limit(f"{n % 4 + 1}/minute", algorithm="moving-window", cost=n % 2 + 1),
    lambda draw, n: same_origin(allow=ORIGIN if n % 2 else (), mode=_mode(draw)),
    lambda draw, n: require_request(
        json=bool(n % 2), headers="X-User" if n % 3 else (), max_body=10_000, mode=_mode(draw)
    ),
    lambda draw, n: cache("public, max-age=60" if n % 2 else "no-cache", etag=True),
    lambda draw, n: cors(origins=ORIGIN, credentials=True, reject_unlisted=True),
    lambda draw, n: require_api_key(failures="2/hour", realm=f"key {n}"),
)
"""Policies that refuse more often, or whose responses differ from request to request."""


def bearer(token: str) -> dict[str, Any] | None:
    return {"sub": "ada"} if token == KEY else None


def fine(**_values: object) -> tuple[Response, int]:
    """Answer with the status that the request asks for."""
    response = Response("fine")
    response.headers["X-View"] = "ran"
    if request.method == "POST":
        response.set_cookie("cart", "7")
    return response, int(request.headers.get("X-Answer", 200))


def generated_app(seed: int, endpoints: int, *, more: bool = False) -> Flask:
    """Return the app of a seed.

    :param more: whether it has the policies of `MORE`, too.
    """
    app = Flask("generated")
    app.config.update(
        SECRET_KEY="a secret key for generated apps",
        JWT_SECRET_KEY="a secret of at least 32 characters, for sure",
        JWT_HEADER_NAME="X-JWT",
        JWT_HEADER_TYPE="",
        RATELIMIT_STORAGE_URI="guard-memory://",
    )
    JWTManager(app)
    LoginManager(app).request_loader(lambda sent: User() if "X-User" in sent.headers else None)
    tokens = HTTPTokenAuth(header="X-Token", realm="tokens")
    tokens.verify_token(lambda token: "ada" if token == KEY else None)
    limiter, makers = Limiter(get_remote_address, app=app), MAKERS + MORE if more else MAKERS
    draw = Draw(random.Random(seed), app, iter(range(1, 1_000_000)), limiter, tokens, makers)  # noqa: S311
    if draw.random.random() < 0.5:
        app.before_request(look)
    Guard(app, keys={"k": KEY}, policies=[log_timing(logger="generated.access"), *draw.policies(2)])
    for path in draw.random.sample(PATHS, draw.random.randint(0, 2)):
        policies = draw.policies(2)
        if policies:
            protect(app, *policies, under=path)
    while draw.endpoints < endpoints:
        app.register_blueprint(_blueprint(draw, 1, endpoints))
        for _ in range(draw.random.randint(1, 5)):
            _add_endpoint(draw, app)
    app.after_request(tell_of_others(draw.limiter))
    return app


class User(UserMixin):  # type: ignore[misc]
    """A user that has logged in."""

    id = "ada"


def look() -> None:
    """Let every request through."""
    g.looked = g.get("looked", 0) + 1


def tell_of_others(limiter: Limiter) -> Callable[[Response], Response]:
    """Return a hook that puts into response fields what other packages did."""

    def tell(response: Response) -> Response:
        response.headers["X-Decorated"] = str(g.get("decorated", 0))
        response.headers["X-Looked"] = str(g.get("looked", 0))
        response.headers["X-Limiter"] = ", ".join(str(each.limit) for each in limiter.current_limits)
        return response

    return tell


def _blueprint(draw: Draw, depth: int, endpoints: int) -> Blueprint:
    name = f"blueprint{next(draw.numbers)}"
    blueprint = Blueprint(name, __name__, url_prefix=draw.random.choice(["/a", "/c", f"/{name}"]))
    policies = draw.policies()
    if policies:
        protect(blueprint, *policies)
    exempted = draw.exemption()
    if exempted and not {each.key for each in policies} & {each.key for each in exempted[0].policies}:
        exempted[0](blueprint)
    if draw.random.random() < 0.2:
        blueprint.before_request(look)
    for _ in range(draw.random.randint(1, 6)):
        _add_endpoint(draw, blueprint)
    if depth < 3 and draw.endpoints < endpoints and draw.random.random() < 0.5:
        blueprint.register_blueprint(_blueprint(draw, depth + 1, endpoints))
    return blueprint


def _add_endpoint(draw: Draw, target: Flask | Blueprint) -> None:
    number = next(draw.numbers)
    draw.endpoints += 1
    rule = draw.random.choice(
        [f"/view{number}", f"/view{number}/", f"/a/view{number}", f"/a/b/view{number}", f"/<segment>/b/view{number}",
         f"/view{number}/<int:id>"]
    )  # fmt: skip
    methods = draw.random.sample(METHODS, draw.random.randint(1, 2))
    if draw.random.random() < 0.2:
        target.add_url_rule(rule, view_func=_class_based(draw, number, methods))
        return
    view = _own_function(number)
    if draw.random.random() < 0.15:
        view = draw.limiter.limit(f"{20_000 + number}/hour")(view)
    target.add_url_rule(rule, f"view{number}", draw.applied(view), methods=methods)
    if draw.random.random() < 0.15:  # two views share a path
        others = [each for each in METHODS if each not in methods]
        other = next(draw.numbers)
        target.add_url_rule(rule, f"view{other}", draw.applied(_own_function(other)), methods=others[:1])
        draw.endpoints += 1


def _own_function(number: int) -> Callable[..., Any]:
    def view(**values: object) -> Any:
        return fine(**values)

    view.__name__ = view.__qualname__ = f"view{number}"
    return view


def _class_based(draw: Draw, number: int, methods: list[str]) -> Any:
    members = {each.lower(): draw.applied(_method(number)) for each in methods}
    cls: Any = type(f"Class{number}", (MethodView,), members)
    return draw.applied(cls).as_view(f"view{number}")


def _method(number: int) -> Callable[..., Any]:
    def method(self: MethodView, **values: object) -> Any:
        return fine(**values)

    method.__name__ = method.__qualname__ = f"method{number}"
    return method
