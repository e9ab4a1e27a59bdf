"""The inspector in Chromium: requests appear by themselves, and open to their way through the plan."""

from __future__ import annotations

from pathlib import Path

from axe_playwright_python.base import AXE_FILE_PATH  # type: ignore[import-untyped]
from flask import Flask

from flask_guard import Guard, limit, log_timing, require_api_key

from .conftest import Serve, Tab, until


def watched() -> Flask:
    app = Flask("watched")
    app.config.update(SECRET_KEY="a secret key for tests", GUARD_API_KEYS={"k": "a long secret key"})
    app.debug = True
    Guard(app, policies=[log_timing], inspector=True)
    app.add_url_rule("/orders", "orders", limit("9/hour")(require_api_key(lambda: "fine")))
    return app


def test_requests_appear_by_themselves_with_what_they_needed(tab: Tab, serve: Serve) -> None:
    app = watched()
    server = serve(app)
    tab.goto(server.url("/_guard/"))
    until(tab, "document.getElementById('state').textContent === 'No request yet.'")

    app.test_client().get("/orders")

    until(tab, "document.querySelectorAll('#log > li').length === 1")
    assert "401 GET /orders" in tab.evaluate("document.querySelector('#log summary').textContent")
    tab.browser.run(tab.page.click("#log summary"))
    until(tab, "document.querySelector('#log .flow') !== null")
    way = tab.evaluate("document.querySelector('#log .flow').innerText")
    assert "denied 401 (missing)" in way
    assert "Send a key: 'Authorization: Bearer KEY' or 'X-API-Key: KEY'." in way
    tab.evaluate(Path(AXE_FILE_PATH).read_text(encoding="utf-8"))
    found = tab.evaluate("() => axe.run()")
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
    assert tab.console == []


def test_pause_keeps_the_list_as_it_is(tab: Tab, serve: Serve) -> None:
    app = watched()
    server = serve(app)
    tab.goto(server.url("/_guard/"))
    until(tab, "document.getElementById('state').textContent === 'No request yet.'")
    tab.browser.run(tab.page.click("#pause"))
    app.test_client().get("/orders")

    tab.browser.run(tab.page.wait_for_timeout(1500))
    assert tab.evaluate("document.querySelectorAll('#log > li').length") == 0

    tab.browser.run(tab.page.click("#pause"))
    until(tab, "document.querySelectorAll('#log > li').length === 1")
