"""The page of `flask guard report` in Chromium: quiet, accessible at every width and in both colours, easy to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_FILE_PATH  # type: ignore[import-untyped]
from flask import Blueprint, Flask
from flask_login import LoginManager, login_required  # type: ignore[import-untyped]

from flask_guard import Guard, cors, limit, log_timing, protect, require_api_key, secure_headers
from flask_guard.audit.findings import examine
from flask_guard.audit.inventory import take_inventory
from flask_guard.audit.report.page import page_of

from .conftest import Tab, until

VISIBLE = "[...document.querySelectorAll('#routes tbody > tr')].filter(row => row.checkVisibility()).length"
WIDTHS = (1440, 900, 390)
ROUTES = 150


def shop(routes: int) -> Flask:
    """Return an app with some of everything that the page shows, and as many routes of one sort."""
    app = Flask("shop")
    app.config.update(SECRET_KEY="a secret key for tests", GUARD_API_KEYS={"k": "a long secret key"})
    LoginManager(app)
    Guard(app, policies=[log_timing, secure_headers])
    api = Blueprint("api", __name__, url_prefix="/api")
    protect(api, cors(origins="https://a.example"), limit("100/minute"), require_api_key)
    for number in range(routes):
        api.add_url_rule(f"/orders/<int:order>/lines/{number}", f"line{number}", lambda: "fine")
    app.register_blueprint(api)
    app.add_url_rule("/account", "account", login_required(lambda: "fine"))
    app.add_url_rule("/open", "open", require_api_key(mode="report")(lambda: "fine"), methods=["POST"])
    app.before_request(lambda: None)
    return app


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a report."""
    return write_report(tmp_path_factory.mktemp("report"), ROUTES)


@pytest.fixture(scope="module")
def short_report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a report with a few routes: axe looks at each of them for long."""
    return write_report(tmp_path_factory.mktemp("report"), 12)


def write_report(folder: Path, routes: int) -> str:
    """Write a report, and return its URL."""
    inventory = take_inventory(shop(routes))
    (folder / "report.html").write_text(page_of(inventory, examine(inventory)).html, encoding="utf-8")
    return (folder / "report.html").as_uri()


def type_filter(tab: Tab, text: str) -> None:
    tab.browser.run(tab.page.fill("#filter", text))
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def press(tab: Tab, key: str) -> None:
    tab.browser.run(tab.page.keyboard.press(key))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_quiet_and_accessible(tab: Tab, short_report: str, width: int, scheme: Any) -> None:
    tab.browser.run(tab.page.set_viewport_size({"width": width, "height": 900}))
    tab.browser.run(tab.page.emulate_media(color_scheme=scheme))
    tab.goto(f"{short_report}#filter=lines/1")
    tab.evaluate("() => document.querySelectorAll('details').forEach(each => { each.open = true; })")
    tab.evaluate("() => [...document.querySelectorAll('tr:not([hidden]) button')][0].click()")

    tab.evaluate(Path(AXE_FILE_PATH).read_text(encoding="utf-8"))
    found = tab.evaluate("() => axe.run()")

    assert [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found["violations"]] == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.console == []


def test_typing_shows_the_routes_that_have_every_word(tab: Tab, report: str) -> None:
    tab.goto(report)
    for text, shown in [
        ("account", 1), ("post open", 1), ("limit lines/7", 11), ("-limit", 3), ("unguarded", 1), ("flask-login", 1),
        ("nothing-like-it", 0),
    ]:  # fmt: skip
        type_filter(tab, text)
        assert (tab.evaluate(VISIBLE), text) == (shown, text)
        assert tab.evaluate("document.getElementById('shown').textContent").startswith(f"{shown} of ")


def test_filter_is_kept_in_the_address(tab: Tab, report: str) -> None:
    tab.goto(f"{report}#filter=account")

    assert tab.evaluate(VISIBLE) == 1
    assert tab.evaluate("document.getElementById('filter').value") == "account"


def test_many_routes_are_shown_on_demand_and_all_are_printed(tab: Tab, report: str) -> None:
    tab.goto(report)

    assert tab.evaluate(VISIBLE) == 100
    tab.browser.run(tab.page.emulate_media(media="print"))
    assert tab.evaluate(VISIBLE) == ROUTES + 3
    tab.browser.run(tab.page.emulate_media(media="screen"))
    tab.browser.run(tab.page.click("#all"))
    assert tab.evaluate(VISIBLE) == ROUTES + 3


def test_page_is_used_by_keyboard_alone(tab: Tab, report: str) -> None:
    tab.goto(report)
    press(tab, "/")
    assert tab.evaluate("document.activeElement.id") == "filter"
    tab.browser.run(tab.page.keyboard.type("open"))
    until(tab, f"{VISIBLE} === 1")
    for _ in range(2):  # past the scrolling matrix to its first route
        press(tab, "Tab")
    assert tab.evaluate("document.activeElement.textContent") == "POST /open"

    press(tab, "Enter")

    assert tab.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    way = tab.evaluate("[...document.querySelectorAll('.flow li')].map(each => each.innerText.split('\\n'))")
    assert way[-1][0] == "view open"
    assert any("only reports denials" in box for box in way)
    press(tab, "Enter")
    assert tab.evaluate("document.querySelectorAll('.flow').length") == 0
    tab.browser.run(tab.page.focus("#filter"))
    press(tab, "Escape")
    assert tab.evaluate(VISIBLE) == 100


def test_routes_of_a_finding_are_shown(tab: Tab, report: str) -> None:
    tab.goto(report)
    tab.evaluate("() => document.querySelectorAll('details').forEach(each => { each.open = true; })")

    tab.browser.run(tab.page.locator("button[data-filter]").first.click())

    rule = tab.evaluate("document.getElementById('filter').value")
    has_it = f"route => route.findings.some(number => data.findings[number].rule === '{rule}')"
    data = "const data = JSON.parse(document.getElementById('data').textContent)"
    assert 0 < tab.evaluate(VISIBLE) == tab.evaluate(f"() => {{ {data}; return data.routes.filter({has_it}).length; }}")
