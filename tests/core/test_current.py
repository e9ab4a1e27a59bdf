"""`current_api_key` and `current_principal` say why they are empty."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, render_template_string

from flask_guard import Guard, current_api_key, current_principal, exempt, require_api_key, require_auth
from tests.conftest import MakeApp

PROXIES = [
    (current_api_key, "current_api_key", "require_api_key", require_api_key),
    (current_principal, "current_principal", "require_auth", require_auth(session=lambda: None)),
]
each_proxy = pytest.mark.parametrize(("proxy", "name", "kind", "policy"), PROXIES, ids=[each[1] for each in PROXIES])


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app(GUARD_API_KEYS={"ci": "a long random secret"}, TESTING=True)


@each_proxy
@pytest.mark.parametrize("scope", ["nowhere", "another view", "exempt"])
def test_attribute_where_nothing_guards_names_the_policy_to_write(
    app: Flask, proxy: Any, name: str, kind: str, policy: Any, scope: str
) -> None:
    app.add_url_rule("/", "index", exempt(policy)(lambda: proxy.id) if scope == "exempt" else lambda: proxy.id)
    app.add_url_rule("/other", "other", policy(lambda: "") if scope == "another view" else lambda: "")
    Guard(app, policies=[policy] if scope == "exempt" else [])

    with pytest.raises(AttributeError) as raised:
        app.test_client().get("/")

    assert str(raised.value) == (
        f"{name}.id: {name} is None, because no {kind} guards this request."
        f" Put @{kind} on the view, its blueprint or the app"
    )


@each_proxy
def test_attribute_where_nothing_was_presented_says_to_ask_first(
    app: Flask, proxy: Any, name: str, kind: str, policy: Any
) -> None:
    app.add_url_rule("/", "index", policy(optional=True)(lambda: proxy.id))
    Guard(app)

    with pytest.raises(AttributeError, match=f"the request presented nothing.*'if {name}:' first"):
        app.test_client().get("/")


@each_proxy
def test_empty_proxy_is_false_equals_none_and_has_no_attributes(
    app: Flask, proxy: Any, name: str, kind: str, policy: Any
) -> None:
    app.add_url_rule("/", "index", lambda: f"{bool(proxy)} {proxy == None} {hasattr(proxy, 'id')}")  # noqa: E711
    app.add_url_rule("/page", "page", lambda: render_template_string("by {{ proxy.id }}.", proxy=proxy))
    Guard(app)

    assert app.test_client().get("/").text == "False True False"
    assert app.test_client().get("/page").text == "by ."


@each_proxy
def test_proxy_outside_a_guarded_request_is_an_error_that_says_so(
    app: Flask, proxy: Any, name: str, kind: str, policy: Any
) -> None:
    with pytest.raises(RuntimeError, match=f"{name} is only available while a guarded request is handled"):
        proxy.id  # noqa: B018
    with app.test_request_context(), pytest.raises(RuntimeError, match=name):
        proxy.id  # noqa: B018
