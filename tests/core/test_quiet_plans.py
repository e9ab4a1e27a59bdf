"""Endpoints that no policy reaches: they are left alone, and nothing gets past the policies of others through them."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask, copy_current_request_context, request, request_started

from flask_guard import (
    Guard,
    Policy,
    current_api_key,
    current_request_id,
    limit,
    log_timing,
    protect,
    require_api_key,
    same_origin,
)

this_request: Any = request


@pytest.fixture
def guarded(app: Flask) -> Flask:
    """Return an app whose blueprint is guarded, and that has a view at ``/open``."""
    admin = Blueprint("admin", __name__)
    admin.add_url_rule("/admin", "index", lambda: "admin")
    protect(admin, require_api_key, log_timing)
    app.register_blueprint(admin)
    app.add_url_rule("/open", "open", lambda: str(bool(current_api_key)))
    Guard(app)
    return app


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_hook_cannot_send_their_requests_to_a_guarded_view(guarded: Flask, caplog: pytest.LogCaptureFixture) -> None:
    rules = {rule.rule: rule for rule in guarded.url_map.iter_rules()}

    @guarded.before_request
    def rewrite() -> None:
        request.url_rule = rules[request.args.get("rule", "/open")]

    client = guarded.test_client()

    assert [client.get(f"/open?rule={rule}").status_code for rule in ("/open", "/admin", "/open")] == [200, 500, 200]
    assert "endpoint 'admin.index' was not served" in caplog.text


def test_a_hook_cannot_do_so_either_if_it_asks_for_the_run(guarded: Flask) -> None:
    (admin,) = [rule for rule in guarded.url_map.iter_rules() if rule.rule == "/admin"]

    @guarded.before_request
    def rewrite() -> None:
        request.url_rule = admin
        assert not current_api_key

    assert [guarded.test_client().get("/open").status_code for _ in range(2)] == [500, 500]


@pytest.mark.parametrize("path", ["/open", "/logged"])
def test_a_hook_cannot_do_so_either_with_another_endpoint_on_their_rule(guarded: Flask, path: str) -> None:
    guarded.add_url_rule("/logged", "logged", log_timing(lambda: "logged"))

    @guarded.before_request
    def rewrite() -> None:
        this_request.url_rule.endpoint = "admin.index"

    client = guarded.test_client()

    assert [client.get(path).status_code for _ in range(2)] == [500, 401]  # the plan of the rule as it is now


@pytest.mark.parametrize(("policies", "status"), [((), 200), ((same_origin(),), 500)])
def test_a_hook_cannot_choose_another_method(app: Flask, policies: tuple[Policy, ...], status: int) -> None:
    app.add_url_rule("/", "index", lambda: f"served {request.method}", methods=["GET", "POST"])
    Guard(app, policies=policies)

    @app.before_request
    def rewrite() -> None:
        request.method = request.args.get("method", "GET")

    client = app.test_client()
    seen = [
        client.get("/", query_string=query, headers={"Sec-Fetch-Site": "cross-site"}) for query in ("", "method=POST")
    ]

    assert [each.status_code for each in seen] == [200, status]


def test_the_caller_has_no_key_there(guarded: Flask) -> None:
    assert [guarded.test_client().get("/open").text for _ in range(2)] == ["False", "False"]


def test_a_thread_with_a_copy_of_the_context_does_not_end_the_request(guarded: Flask) -> None:
    def view() -> str:
        thread = threading.Thread(target=copy_current_request_context(lambda: bool(current_api_key)))
        thread.start()
        thread.join()
        return f"{bool(current_api_key)} {limit('1/hour').hit().remaining}"

    guarded.add_url_rule("/thread", "thread", view)

    assert guarded.test_client().get("/thread").text == "False 0"


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/open", "/quiet", "/admin"])
@pytest.mark.usefixtures("no_collection")
def test_a_request_is_freed_once_it_is_over(guarded: Flask, path: str) -> None:
    plain = Flask("plain")
    plain.add_url_rule("/quiet", "quiet", lambda: "quiet")
    guarded.add_url_rule("/quiet", "quiet", lambda: "quiet")

    assert is_freed(guarded, path) == is_freed(plain, "/quiet")  # not so by Flask 3.2.0.dev0


def is_freed(app: Flask, path: str) -> bool:
    """Return whether nothing refers to a request any more once it is over."""
    seen: list[Any] = []
    environ = app.test_client().get("/quiet").request.environ  # the first request makes the plans

    def note(_app: Flask, **_: Any) -> None:
        seen.append(weakref.ref(this_request._get_current_object()))

    with request_started.connected_to(note, app):
        app({**environ, "PATH_INFO": path}, lambda *args: print).close()  # type: ignore[attr-defined]

    (request,) = seen
    return request() is None


def test_a_preprocessor_of_a_blueprint_finds_the_request_begun(app: Flask) -> None:
    seen: list[str] = []
    shop = Blueprint("shop", __name__)
    shop.url_value_preprocessor(lambda endpoint, values: seen.append(str(current_request_id)))
    shop.add_url_rule("/", "index", lambda: "shop")
    Guard(app, policies=[log_timing])
    app.register_blueprint(shop)
    client = app.test_client()

    assert [client.get("/").headers["X-Request-ID"] for _ in range(3)] == seen
