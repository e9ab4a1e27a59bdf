"""The example of a single-page app does in Chromium what it says: ``examples/spa``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import pytest
from flask import Flask, Response, request

from examples.spa.api import create_api
from examples.spa.pages import create_pages
from flask_guard import csp_violation
from tests.conftest import free_port

from .conftest import Browser, Server, Tab, page, serving

T = TypeVar("T")


@dataclass
class Spa:
    """The page, the API, and a page of another site."""

    page: Server
    api: Server
    evil: Server
    pages: Flask
    sent: list[str]

    def forget(self) -> None:
        """Start the list of requests to the API over."""
        self.sent.clear()


@pytest.fixture(scope="module")
def spa() -> Iterator[Spa]:
    ports = [free_port(), free_port()]
    pages = create_pages(f"http://localhost:{ports[1]}")
    api = create_api(f"http://localhost:{ports[0]}")
    sent: list[str] = []

    @api.after_request
    def note(response: Response) -> Response:
        sent.append(f"{request.method} {request.path} {response.status_code}")
        return response

    evil = Flask("evil")
    evil.add_url_rule("/", "page", lambda: page(_form(request.args["action"])))
    evil.add_url_rule("/favicon.ico", "icon", lambda: ("", 204))
    with ExitStack() as stack:
        at_page = stack.enter_context(serving(pages, port=ports[0]))
        at_api = stack.enter_context(serving(api, port=ports[1]))
        yield Spa(at_page, at_api, stack.enter_context(serving(evil)), pages, sent)


def _form(action: str) -> str:
    """Return a form that sends what JSON looks like to a careless server."""
    name = '{"item": "tea", "x": "'
    return f"<form method=post enctype=text/plain action='{action}'><input name='{name}' value='\"}}'></form>"


@pytest.fixture
def at(browser: Browser, spa: Spa) -> Iterator[Tab]:
    """Return a tab with the page."""
    spa.forget()
    with Tab(browser) as tab:
        tab.goto(spa.page.url())
        yield tab


def press(tab: Tab, name: str) -> tuple[int, str]:
    """Press a button of the page; return the status and the body that the page could read."""
    tab.evaluate(
        "name => { document.querySelector('#answer').textContent = ''; document.querySelector(`#${name}`).click() }",
        name,
    )
    text = wait_for(tab, lambda: str(tab.evaluate("document.querySelector('#answer').textContent")))
    status, _, body = text.removeprefix(f"{name}: ").partition(" ")
    return int(status), body


def wait_for(tab: Tab, found: Callable[[], T]) -> T:
    """Return the first true value that `found` returns. The policy of the page forbids Playwright's own waiting."""
    for _ in range(400):
        value = found()
        if value:
            return value
        tab.browser.run(tab.page.wait_for_timeout(25))
    raise AssertionError("nothing came")


def test_a_public_read_needs_no_preflight(at: Tab, spa: Spa) -> None:
    status, body = press(at, "products")

    assert (status, json.loads(body)) == (200, {"coffee": 4, "tea": 3})
    assert spa.sent == ["GET /products 200"]


def test_a_write_is_asked_for_first_and_refused_without_a_session(at: Tab, spa: Spa) -> None:
    status, body = press(at, "order")

    assert (status, json.loads(body)["status"]) == (401, 401)
    assert spa.sent == ["OPTIONS /orders 204", "POST /orders 401"]


def test_a_write_with_the_session_is_served_and_its_errors_can_be_read(at: Tab, spa: Spa) -> None:
    assert press(at, "login")[0] == 201
    status, body = press(at, "order")

    assert (status, json.loads(body)) == (201, {"by": "ada", "item": "tea"})
    assert press(at, "unknown") == (404, '{"error":"unknown item: water"}\n')
    assert spa.sent == [
        "OPTIONS /session 204",
        "POST /session 201",
        "OPTIONS /orders 204",
        "POST /orders 201",
        "POST /orders 404",  # the preflight is remembered
    ]


def test_a_script_with_the_nonce_runs_and_nothing_is_said_on_the_console(at: Tab, spa: Spa) -> None:
    press(at, "products")

    assert at.evaluate("document.querySelector('#greeting').textContent") == "Welcome"
    assert at.console == []


def test_a_script_that_came_through_a_hole_is_blocked_and_reported(at: Tab, spa: Spa) -> None:
    reports: list[str] = []

    def note(_app: Flask, violation: Any, **_: object) -> None:
        reports.append(f"{violation.directive} {violation.blocked_url}")

    with csp_violation.connected_to(note, spa.pages):
        at.goto(spa.page.url(f"/search?q={quote('<script>document.title = `taken over`</script>')}"))
        wait_for(at, lambda: reports)

    assert at.evaluate("document.title") == "Shop"
    assert reports[0] == "script-src-elem inline"


def test_a_page_of_another_site_cannot_order(at: Tab, spa: Spa) -> None:
    press(at, "login")
    spa.forget()
    evil = spa.evil.url("/", "127.0.0.1")

    assert at.submit(f"{evil}?action={spa.api.url('/orders')}") == 403
    at.goto(f"{evil}?action=/")
    assert at.fetch(spa.api.url("/orders"), method="POST", credentials="include", body="{}") is None
    assert {line.rpartition(" ")[2] for line in spa.sent} == {"403"}
    at.goto(spa.page.url())
    assert at.fetch(spa.api.url("/orders"), credentials="include") is not None


def test_a_form_of_the_own_page_is_served_and_a_foreign_one_is_not(at: Tab, spa: Spa) -> None:
    assert at.submit(spa.page.url()) == 200
    assert at.evaluate("document.querySelector('#thanks').textContent") == "Thank you for: good"
    assert at.submit(f"{spa.evil.url('/', '127.0.0.1')}?action={spa.page.url('/feedback')}") == 403
