"""What `csp scan` says of two pages is what Chromium blocks in them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, render_template

from flask_guard import Guard, secure_headers
from flask_guard.core.app_state import AppState
from flask_guard.core.start import start_serving
from flask_guard.security_headers import nonce
from flask_guard.security_headers.csp_scan import scan
from flask_guard.security_headers.page_uses import PAGE

from .conftest import Serve, Server, Tab

PAGES = Path(__file__).parent / "pages"
WATCH = """let all = [];
try { all = top.violations ??= []; } catch { /* a frame of another origin */ }
document.addEventListener('securitypolicyviolation', event => {
    all.push([event.effectiveDirective, event.blockedURI, event.lineNumber]);
});"""
POLICIES: dict[str, dict[str, Any]] = {
    "strict": {},
    "strict with a nonce": {"csp": {"script-src": ["'self'", nonce], "style-src": ["'self'", nonce]}},
    "relaxed": {"preset": "relaxed"},
    "api": {"preset": "api"},
    "some hosts": {
        "csp": {
            "script-src": "'self' https://cdn.test 'unsafe-inline'",
            "img-src": "'self' *.test data:",
            "style-src": "'self' https://cdn.test/bootstrap.css",
        }
    },
}


def app_with(page: str, options: dict[str, Any]) -> Flask:
    app = Flask("pages", template_folder=str(PAGES))
    app.config["SECRET_KEY"] = "a secret key for tests"

    def index() -> str:
        return render_template(page, orders=[1, 2], avatar="https://avatars.test/ada.gif")

    app.add_url_rule("/", "index", index, methods=["GET", "POST"])
    kinds = {"js": "text/javascript", "css": "text/css", "gif": "image/gif"}
    app.add_url_rule("/assets/<name>", "asset", lambda name: Response(content_type=kinds.get(name.split(".")[-1])))
    policy = secure_headers(options.get("preset", "strict"), csp=options.get("csp", {}), embedder_policy=None)
    Guard(app, policies=[policy])
    return app


Blocked = tuple[set[tuple[str, str]], Counter[str], set[int]]
"""What is blocked: directives with hosts or schemes, directives with how often for inline code, lines of elements."""


TRY_EVERYTHING = """async ([submits, expected]) => {
    const until = Date.now() + 10_000, pause = () => new Promise(resolve => setTimeout(resolve, 50));
    const blocked = async (directive, count) => {
        const among = () => window.violations.filter(each => !directive || each[0] === directive);
        while (among().length < count && Date.now() < until) await pause();
    };
    document.querySelectorAll('template').forEach(each => document.body.append(each.content.cloneNode(true)));
    document.querySelectorAll('noscript').forEach(each => each.insertAdjacentHTML('afterend', each.innerText));
    document.querySelectorAll('a.script').forEach(each => each.click());
    for (const [index, form] of document.querySelectorAll(submits ? 'form' : 'form.pay').entries()) {
        form.submit();  // which the next one would stop
        await blocked('form-action', index + 1);
    }
    await blocked('', expected);
    await pause();
}"""


def blocked_by_chromium(tab: Tab, server: Server, *, submits: bool, expected: int) -> Blocked:
    """Return what Chromium blocks once everything on the page was tried.

    :param submits: whether to submit the form that posts to the site itself: if that is allowed, the page is left.
    :param expected: how many violations to wait for, a while.
    """
    tab.before_scripts(WATCH)
    tab.goto(server.url("/", "shop.test"))
    tab.load_manifest()
    tab.evaluate(TRY_EVERYTHING, [submits, expected])
    violations = tab.evaluate("window.violations")
    loaded = {
        (directive, _site(uri, server.origin("shop.test"))) for directive, uri, _ in violations if uri != "inline"
    }
    inline = Counter(directive for directive, uri, _ in violations if uri == "inline")
    lines = {line for directive, uri, line in violations if uri == "inline" and directive.endswith("-elem")}
    return loaded, inline, lines


def _site(url: str, own: str) -> str:
    """Return the part of a URL that policies are about."""
    if url.startswith(own):
        return "self"
    return "/".join(url.split("/")[:3]) if "://" in url else url.partition(":")[0]


def found_by_scan(app: Flask, page: str) -> tuple[Blocked, set[tuple[str, str]]]:
    """Return what the scan says is blocked, and what it says may be."""
    with app.app_context():
        start_serving(AppState.of(app))
        uses = [finding.use for finding in scan(AppState.of(app)) if finding.template == page]
    loaded = {(use.directive, _site(use.url, PAGE)) for use in uses if use.url and use.is_known}
    inline = [use for use in uses if not use.url]
    lines = {use.line for use in inline if use.kind in ("inline script", "inline style")}
    perhaps = {(use.directive, "https://avatars.test") for use in uses if not use.is_known}
    return (loaded, Counter(use.directive for use in inline), lines), perhaps


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("page", ["orders.html", "app.html"])
def test_scan_says_what_chromium_blocks(tab: Tab, serve: Serve, page: str, policy: str) -> None:
    app = app_with(page, POLICIES[policy])
    (loaded, inline, lines), perhaps = found_by_scan(app, page)

    loaded_there, inline_there, lines_there = blocked_by_chromium(
        tab,
        serve(app, tls=True),
        submits=("form-action", "self") in loaded,
        expected=len(loaded) + inline.total(),
    )

    assert loaded <= loaded_there <= loaded | perhaps
    assert inline_there == inline
    assert lines <= lines_there
