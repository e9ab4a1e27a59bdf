"""Chromium blocks in two pages exactly the findings of `csp scan`, and nothing that `csp suggest` has allowed."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, render_template

from flask_guard import Guard, secure_headers
from flask_guard.core.app_state import AppState
from flask_guard.core.start import start_serving
from flask_guard.security_headers import nonce
from flask_guard.security_headers.csp import parse_whole_csp
from flask_guard.security_headers.csp_scan import scan
from flask_guard.security_headers.csp_suggest import suggest
from flask_guard.security_headers.page_uses import PAGE
from flask_guard.security_headers.violations import Violation, clean_url

from .conftest import Browser, Serve, Server, Tab

PAGES = Path(__file__).parent / "pages"
WATCH = """let all = [];
try { all = top.violations ??= []; } catch { /* a frame of another origin */ }
document.addEventListener('securitypolicyviolation', event => {
    const {effectiveDirective, blockedURI, lineNumber, documentURI, sourceFile, sample} = event;
    all.push([effectiveDirective, blockedURI, lineNumber, documentURI, sourceFile, sample]);
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
"""Blocked URLs as directives and hosts, a count of blocked inline code by directive, and its lines."""


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
        (directive, _site(uri, server.origin("shop.test"))) for directive, uri, *_ in violations if uri != "inline"
    }
    inline = Counter(directive for directive, uri, *_ in violations if uri == "inline")
    lines = {line for directive, uri, line, *_ in violations if uri == "inline" and directive.endswith("-elem")}
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


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("page", ["orders.html", "app.html"])
def test_suggested_policy_lets_through_what_was_blocked(browser: Browser, serve: Serve, page: str, policy: str) -> None:
    app = app_with(page, POLICIES[policy])
    response = app.test_client().get("/", base_url="https://shop.test")
    in_force = parse_whole_csp(re.sub("'nonce-[0-9a-f]+'", nonce, response.headers["Content-Security-Policy"]), "csp")
    blocked = _violations(browser, serve(app, tls=True))
    needs_nonce = set()

    for _ in range(3):  # what is let through loads more
        found = suggest(blocked, in_force)
        left = {(each.directive, each.blocked_url) for each, _ in found.beyond_help}
        needs_nonce |= {(each.example.directive, "inline") for each in found.added if each.source == nonce}
        before = {(each.directive, each.blocked_url) for each in blocked}
        in_force = found.policy
        blocked = _violations(browser, serve(app_with(page, {"csp": str(in_force)}), tls=True))
        still = {(each.directive, each.blocked_url) for each in blocked}
        assert still & before <= left | needs_nonce
        if still <= left | needs_nonce:
            return
    pytest.fail(f"{still} is still blocked")


def _violations(browser: Browser, server: Server) -> list[Violation]:
    """Return what Chromium blocks of what is loaded with the page."""
    with Tab(browser) as tab:
        tab.before_scripts(WATCH)
        tab.goto(server.url("/", "shop.test"))
        found = tab.evaluate("window.violations")
    return [
        Violation(clean_url(page), directive, clean_url(blocked), clean_url(source), line, sample=sample)
        for directive, blocked, line, page, source, sample in found
    ]
