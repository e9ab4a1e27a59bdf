"""`flask guard report`: one page that loads nothing, and the same facts as a document."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Blueprint, Flask
from flask_login import LoginManager, login_required  # type: ignore[import-untyped]

from flask_guard import Guard, cors, exempt, limit, log_timing, protect, require_api_key, secure_headers
from flask_guard.audit.findings import examine
from flask_guard.audit.inventory import take_inventory
from flask_guard.audit.report.page import page_of
from flask_guard.cli import guard_group
from tests.conftest import MakeApp

HOSTILE = "</script><script>alert(1)</script>'\"&<!--"


def fine() -> str:
    return "fine"


@pytest.fixture
def shop(make_app: MakeApp) -> Flask:
    """Return an app with policies, foreign protection, findings, and text that would break a careless page."""
    app = make_app(GUARD_API_KEYS={"k": "a long secret key"})
    LoginManager(app)
    Guard(app, policies=[log_timing, secure_headers])
    api = Blueprint("api", __name__, url_prefix="/api")
    protect(api, cors(origins="https://a.example"), limit("100/minute"), require_api_key)
    api.add_url_rule("/orders", "orders", fine)
    api.add_url_rule("/orders", "create", limit("10/minute")(require_api_key(mode="report")(fine)), methods=["POST"])
    api.add_url_rule("/health", "health", exempt(require_api_key, limit)(fine))
    app.register_blueprint(api)
    app.add_url_rule("/account", "account", login_required(fine))
    app.add_url_rule("/open", "open", fine, methods=["POST"])
    app.add_url_rule("/hostile", HOSTILE, fine)
    return app


class Reader(HTMLParser):
    """Reads a page: its elements with their attributes, and the text of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.code: dict[str, list[str]] = {"script": [], "style": []}
        self.rows: list[list[str]] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag in self.code:
            self._inside = tag
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.code[self._inside].append(data)
        elif self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.replace("\n", "")


def html_of(app: Flask) -> str:
    inventory = take_inventory(app)
    return page_of(inventory, examine(inventory)).html


def run(app: Flask, *arguments: str) -> Result:
    app.cli.add_command(guard_group)
    return app.test_cli_runner().invoke(args=["guard", "report", *arguments])


# The page ------------------------------------------------------------------------------------------------------------


def test_policy_of_the_page_allows_its_own_code_and_nothing_else(shop: Flask) -> None:
    html = html_of(shop)
    page = Reader(html)
    policy = next(each["content"] for tag, each in page.elements if "http-equiv" in each)

    def digest(code: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"

    _data, script = page.code["script"]
    assert unescape(policy) == (
        f"default-src 'none'; style-src {digest(page.code['style'][0])}; script-src {digest(script)};"
        " base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    assert len(page.code["style"]) == 1


def test_page_loads_nothing(shop: Flask) -> None:
    page = Reader(html_of(shop))
    code = "".join(page.code["style"]) + page.code["script"][1]

    for _tag, attributes in page.elements:
        assert not {"src", "srcset", "style", "action", "data", "poster", "onclick", "onload"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|innerHTML|eval\(|XMLHttpRequest|WebSocket", code)


def test_text_of_the_app_stays_text(shop: Flask) -> None:
    page = Reader(html_of(shop))
    data = json.loads(page.code["script"][0])

    assert len(page.code["script"]) == 2
    assert HOSTILE in [each["endpoint"] for each in data["routes"]]
    assert any(HOSTILE in row[0] for row in page.rows)


def test_each_route_has_a_row_and_each_policy_a_column(shop: Flask) -> None:
    page = Reader(html_of(shop))
    head, *rows = page.rows
    cells = {row[0].split("!")[0].strip(): dict(zip(head[1:], row[1:], strict=True)) for row in rows}

    assert head[:7] == ["Route", "log_timing", "cors", "secure_headers", "limit", "require_api_key", "Flask-Login"]
    assert head[-1] == "findings"
    assert len(rows) == len(take_inventory(shop).entries)
    create = next(each for name, each in cells.items() if name.startswith("POST /api/orders"))
    health = next(each for name, each in cells.items() if name.startswith("GET /api/health"))
    account = next(each for name, each in cells.items() if name.startswith("GET /account"))
    assert create["limit"] == "●limit(10/minute)"
    assert create["require_api_key"] == "◐require_api_key"
    assert (health["limit"], health["require_api_key"], health["cors"]) == ("", "", "●cors(origins=https://a.example)")
    assert account["Flask-Login"] == "◆Flask-Login: login_required"


def test_unguarded_writes_are_marked_and_counted(shop: Flask) -> None:
    page = Reader(html_of(shop))

    marked = [row[0] for row in page.rows if "unguarded write" in row[0]]
    assert [each.split("!")[0].strip() for each in marked] == ["POST /api/orders", "POST /open"]


def test_findings_are_shown_by_severity_and_with_their_routes(shop: Flask) -> None:
    html = html_of(shop)
    inventory = take_inventory(shop)
    findings = examine(inventory).findings

    rules = list(dict.fromkeys(each.rule.id for each in findings))
    assert re.findall(r"<summary><b>(FG\d+)</b>", html) == rules
    data = json.loads(Reader(html).code["script"][0])
    write = next(route for route in data["routes"] if route["path"] == "/open")
    assert "FG001" in {data["findings"][number]["rule"] for number in write["findings"]}


def test_no_secret_is_in_the_page(shop: Flask) -> None:
    assert "a long secret key" not in html_of(shop)


def test_an_app_without_a_guard_has_a_page(app: Flask) -> None:
    app.add_url_rule("/", "view", fine)

    assert "Protection of tests" in html_of(app)


def test_page_is_the_same_each_time(shop: Flask) -> None:
    assert html_of(shop) == html_of(shop)


# The command ---------------------------------------------------------------------------------------------------------


def test_page_is_written_to_the_file(shop: Flask, tmp_path: Path) -> None:
    file = tmp_path / "report.html"

    result = run(shop, "-o", str(file))

    assert result.exit_code == 0, result.output
    assert file.read_text(encoding="utf-8") == html_of(shop)
    assert result.stdout.startswith(f"{file}: 7 routes, ")
    assert run(shop, "-o", "-").stdout == html_of(shop)


def test_file_that_cannot_be_written_is_told(shop: Flask, tmp_path: Path) -> None:
    result = run(shop, "-o", str(tmp_path / "none" / "report.html"))

    assert result.exit_code == 1
    assert "cannot be written: No such file or directory" in result.stderr


def test_document_holds_routes_and_audit(shop: Flask) -> None:
    document: dict[str, Any] = json.loads(run(shop, "--json").stdout)

    assert document["schema"] == "flask_guard.report/1"
    assert document["routes"]["schema"] == "flask_guard.routes/1"
    assert document["audit"]["schema"] == "flask_guard.audit/1"
