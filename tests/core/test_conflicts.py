"""What one target cannot have twice, however the two get there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from flask import Blueprint, Flask, Request
from flask.views import MethodView

from flask_guard import (
    ConfigError,
    Cors,
    Guard,
    Limit,
    LogTiming,
    Middleware,
    RequireApiKey,
    SecureHeaders,
    compose,
    cors,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
    secure_headers,
)
from tests.cases import together

AnyPolicy: TypeAlias = "RequireApiKey | Cors | Limit | SecureHeaders | LogTiming | Middleware"


@middleware
def note(request: Request, *, value: str = "") -> None: ...


PAIRS: dict[str, tuple[AnyPolicy, AnyPolicy]] = {
    "require_api_key": (require_api_key, require_api_key(scopes="orders:write")),
    "cors": (cors(origins="https://a.example.com"), cors(origins="https://b.example.com")),
    "secure_headers": (secure_headers, secure_headers),
    "log_timing": (log_timing, log_timing(slow_ms=10)),
    "middleware": (note, note(value="other")),
}


def on_view(one: AnyPolicy, other: AnyPolicy) -> None:
    one(other(lambda: "view"))


def on_both_sides_of_the_route(one: AnyPolicy, other: AnyPolicy) -> None:
    one(Flask("tests").get("/")(other(lambda: "view")))


def on_class(one: AnyPolicy, other: AnyPolicy) -> None:
    one(other(type("Thing", (MethodView,), {})))


def on_blueprint(one: AnyPolicy, other: AnyPolicy) -> None:
    one(other(Blueprint("api", __name__)))


def on_app(one: AnyPolicy, other: AnyPolicy) -> None:
    one(other(Flask("tests")))


def by_guard(one: AnyPolicy, other: AnyPolicy) -> None:
    Guard(Flask("tests"), policies=[one, other])


def by_guard_and_protect(one: AnyPolicy, other: AnyPolicy) -> None:
    app = Flask("tests")
    Guard(app, policies=[one])
    protect(app, other)


def by_protect(one: AnyPolicy, other: AnyPolicy) -> None:
    protect(Blueprint("api", __name__), one, other)


def by_compose(one: AnyPolicy, other: AnyPolicy) -> None:
    compose(one, other)(lambda: "view")


WAYS = [
    on_view,
    on_both_sides_of_the_route,
    on_class,
    on_blueprint,
    on_app,
    by_guard,
    by_guard_and_protect,
    by_protect,
    by_compose,
]
every_way = pytest.mark.parametrize("apply_both", WAYS)


@every_way
@together("kind", PAIRS)
def test_kind_twice_on_one_target_is_a_config_error_that_says_where(
    apply_both: Callable[[AnyPolicy, AnyPolicy], None], kind: str
) -> None:
    with pytest.raises(ConfigError, match="one target takes one") as raised:
        apply_both(*PAIRS[kind])

    assert str(raised.value).count(f"{__file__}:") == 2


@every_way
def test_same_limit_twice_on_one_target_is_a_config_error(
    apply_both: Callable[[AnyPolicy, AnyPolicy], None],
) -> None:
    with pytest.raises(ConfigError, match="twice"):
        apply_both(limit("1/minute"), limit("1/minute"))


@every_way
def test_different_limits_on_one_target_are_not(apply_both: Callable[[AnyPolicy, AnyPolicy], None]) -> None:
    apply_both(limit("1/minute"), limit("10/hour"))


def test_one_policy_goes_on_several_targets(app: Flask) -> None:
    Guard(app)
    for name in ("a", "b"):
        app.add_url_rule(f"/{name}", name, secure_headers(lambda: "view"))

    headers = [app.test_client().get(path).headers for path in ("/a", "/b")]

    assert [each.getlist("X-Content-Type-Options") for each in headers] == [["nosniff"], ["nosniff"]]
