"""Chromium does with pages what `secure_headers` says, and has nothing to say about a page that obeys."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from flask import Flask, Response, jsonify, render_template_string, request, session

from flask_guard import Guard, Policy, cors, exempt, protect, same_origin, secure_headers
from flask_guard.security_headers import csp_reports, nonce, strict_dynamic

from .conftest import Browser, Serve, Server, Tab, page

PIXEL = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
WEB_SHARE = "Error with Permissions-Policy header: Unrecognized feature: 'web-share'."
"""The one word of OWASP's list that Chromium does not know on every system."""


def note(word: str) -> str:
    """Return a script that notes that it ran."""
    return f"(window.ran ??= []).push('{word}');"


def assets(app: Flask) -> Flask:
    """Give `app` a script, a style, an image and an icon."""
    app.add_url_rule("/own.js", "js", lambda: Response(note("file"), content_type="text/javascript"))
    app.add_url_rule("/own.css", "css", lambda: Response("body { color: rgb(1, 2, 3) }", content_type="text/css"))
    app.add_url_rule("/own.gif", "gif", lambda: Response(GIF, content_type="image/gif"))
    app.add_url_rule("/favicon.ico", "icon", lambda: Response(GIF, content_type="image/gif"))
    return app


def site(policy: Policy, html: str, *others: Policy, **config: Any) -> Flask:
    """Return an app that serves one template under `policy` and `others`."""
    app = assets(Flask("site"))
    app.config.update(SECRET_KEY="a secret key for tests", **config)
    app.add_url_rule("/", "index", lambda: render_template_string(html, cdn=app.config.get("CDN")))
    Guard(app, policies=[policy, *others])
    return app


def with_cookie(response: Response) -> Response:
    """Set a cookie, as an app with sessions does."""
    response.set_cookie("user", "ada")
    return response


@pytest.fixture
def cdn(serve: Serve) -> Server:
    """Serve scripts, styles and images over https, for everybody."""
    app = assets(Flask("cdn"))
    Guard(app, policies=[secure_headers("api"), cors(origins="*")])
    return serve(app, tls=True)


def ran(tab: Tab) -> list[str]:
    found: list[str] = tab.evaluate("window.ran ?? []")
    return found


# Pages that obey -----------------------------------------------------------------------------------------------------

OWN = "<link rel=stylesheet href=/own.css><script src=/own.js></script><img src=/own.gif alt=''>"
OBEYING = {
    "strict": page(OWN, "<link rel=icon href=/favicon.ico>"),
    "api": "{}",
    "relaxed": page(
        OWN
        + "<link rel=stylesheet href='{{ cdn }}/own.css'><img src='{{ cdn }}/own.gif' alt=''>"
        + f"<img src='data:image/gif;base64,{PIXEL}' alt=''><p style='color: red'>red</p>"
        + "<style>p { margin: 0 }</style>"
        + f"<script nonce='{{{{ csp_nonce() }}}}'>{note('inline')}</script>"
        + "<script nonce='{{ csp_nonce() }}' src='{{ cdn }}/own.js'></script><iframe src=/frame title=frame></iframe>",
        "<link rel=icon href=/favicon.ico>",
    ),
}


@pytest.mark.parametrize("preset", OBEYING)
@pytest.mark.parametrize(
    ("tls", "mode"),
    [(True, "enforce"), (False, "enforce"), (True, "report")],
    ids=["https", "http", "https, only reported"],
)
def test_page_that_obeys_a_preset_leaves_nothing_on_the_console(
    tab: Tab, serve: Serve, cdn: Server, preset: Any, tls: bool, mode: Any
) -> None:
    app = site(secure_headers(preset, mode=mode), OBEYING[preset], CDN=cdn.origin("cdn.test"))
    app.add_url_rule("/frame", "frame", page)
    server = serve(app, tls=tls)

    tab.goto(server.url("/", "shop.test" if tls else "localhost"))
    tab.goto(server.url("/", "shop.test" if tls else "localhost"))  # again, with what the first visit left behind

    assert set(tab.console) <= ({WEB_SHARE} if preset == "strict" else set())
    assert ran(tab) == {"strict": ["file"], "api": [], "relaxed": ["file", "inline", "file"]}[preset]
    if preset == "relaxed":
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth === 1)")
        assert tab.evaluate("document.querySelector('iframe').contentDocument.title") == "Test"
        assert tab.evaluate("getComputedStyle(document.querySelector('p')).color") == "rgb(255, 0, 0)"


# Pages that do not ---------------------------------------------------------------------------------------------------

DISOBEYING = page(
    f"<script>{note('inline')}</script><script nonce=wrong>{note('wrong nonce')}</script>"
    f"<script nonce='{{{{ csp_nonce() }}}}'>{note('nonce')}</script>"
    f'<img src="{{{{ cdn }}}}/own.gif" alt="" onload="{note("handler")}" onerror="{note("handler")}">'
    f"<script src='{{{{ cdn }}}}/own.js'></script><p style='color: red'>text</p><script src=/own.js></script>"
)
WATCH = """addEventListener('securitypolicyviolation', event => {
    (window.violations ??= []).push([event.effectiveDirective, event.disposition]);
});"""


@pytest.mark.parametrize("mode", ["enforce", "report"])
def test_policy_blocks_or_only_reports(tab: Tab, serve: Serve, cdn: Server, mode: Any) -> None:
    policy = secure_headers(csp={"script-src": ["'self'", nonce]}, embedder_policy=None, mode=mode)
    server = serve(site(policy, DISOBEYING, CDN=cdn.origin("cdn.test")), tls=True)
    tab.before_scripts(WATCH)

    tab.goto(server.url("/", "shop.test"))

    everything = ["inline", "wrong nonce", "nonce", "file", "file", "handler"]
    violations = tab.evaluate("window.violations")
    assert sorted(ran(tab)) == sorted(["nonce", "file"] if mode == "enforce" else everything)
    assert {disposition for _, disposition in violations} == {mode}
    assert {directive for directive, _ in violations} == {
        "script-src-elem",
        "script-src-attr",
        "style-src-attr",
        "img-src",
    }


def test_nonce_with_strict_dynamic_lets_a_script_load_others(tab: Tab, serve: Serve, cdn: Server) -> None:
    html = page(
        "<script nonce='{{ csp_nonce() }}'>const more = document.createElement('script');"
        "more.src = '{{ cdn }}/own.js'; document.head.append(more);</script><script src=/own.js></script>"
    )
    policy = secure_headers(csp={"script-src": [nonce, strict_dynamic]}, embedder_policy=None)
    server = serve(site(policy, html, CDN=cdn.origin("cdn.test")), tls=True)

    tab.goto(server.url("/", "shop.test"))
    tab.wait_for("window.ran")

    assert ran(tab) == ["file"]  # the one of the CDN; the page's own has no nonce


@pytest.mark.parametrize("old", [True, False], ids=["report-uri", "report-to"])
def test_browser_reports_to_the_collector(
    whole_browser: Browser, serve: Serve, caplog: pytest.LogCaptureFixture, old: bool
) -> None:
    app = site(
        secure_headers(
            csp={"report-uri": "/csp-reports"} if old else {"report-to": "csp"},
            reporting_endpoints=None if old else {"csp": "/csp-reports"},
            mode="report",
        ),
        page(f"<script>{note('inline')}</script>"),
        same_origin,
    )
    app.after_request(with_cookie)
    app.register_blueprint(csp_reports())
    server = serve(app, tls=True)

    with Tab(whole_browser) as tab:
        tab.goto(server.url("/?token=secret", "shop.test"))
        record = _first(caplog, "flask_guard.csp")
        assert ran(tab) == ["inline"]

    fields = vars(record)
    assert (fields["directive"], fields["blocked_url"]) == ("script-src-elem", "inline")
    assert (fields["disposition"], fields["document_url"]) == ("report", server.url("/", "shop.test"))
    assert fields["line"] == 1
    assert "default-src 'self'" in fields["policy"]


def _first(caplog: pytest.LogCaptureFixture, logger: str) -> logging.LogRecord:
    """Return the first record of a logger, once there is one."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = [record for record in caplog.records if record.name == logger]
        if found:
            return found[0]
        time.sleep(0.02)
    raise TimeoutError(f"{logger} has logged nothing")


# Framing and embedding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["strict", "relaxed"])
@pytest.mark.parametrize("host", ["shop.test", "cdn.test"])
def test_page_can_be_framed_by_its_own_site_at_most(tab: Tab, serve: Serve, preset: Any, host: str) -> None:
    app = site(secure_headers(preset), page("<p>framed</p>"))
    framing = "<iframe src='{{ request.args.url }}' title=frame></iframe>"
    app.add_url_rule("/framing", "framing", exempt(secure_headers)(lambda: render_template_string(page(framing))))
    server = serve(app, tls=True)

    tab.goto(f"{server.url('/framing', host)}?url={server.url('/', 'shop.test')}")

    may = preset == "relaxed" and host == "shop.test"
    refused = [text for text in tab.console if "frame" in text.lower()]
    assert bool(refused) is not may
    if may:
        assert tab.evaluate("document.querySelector('iframe').contentDocument.body.innerText") == "framed"


def test_other_sites_embed_only_what_a_cors_opens_to_everybody(tab: Tab, serve: Serve) -> None:
    app = assets(Flask("shop"))
    app.add_url_rule("/open.gif", "open", cors(origins="*")(lambda: Response(GIF, content_type="image/gif")))
    Guard(app, policies=[secure_headers])
    shop = serve(app, tls=True)
    other = serve(assets(Flask("other")), tls=True)
    other_page = f"{other.origin('cdn.test')}/own.gif"

    tab.goto(other_page)
    loaded = tab.evaluate(
        """urls => Promise.all(urls.map(url => new Promise(resolve => {
            const image = new Image();
            image.onload = () => resolve(true);
            image.onerror = () => resolve(false);
            image.src = url;
        })))""",
        [shop.url("/own.gif", "shop.test"), shop.url("/open.gif", "shop.test")],
    )

    assert loaded == [False, True]


# Https ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["strict", "relaxed"])
def test_insecure_assets_load_over_http_and_are_upgraded_over_https(tab: Tab, serve: Serve, preset: Any) -> None:
    html = page("<img src='http://{{ request.host }}/own.gif' alt=''>")
    plain, secure = serve(site(secure_headers(preset), html)), serve(site(secure_headers(preset), html), tls=True)

    for server in (plain, secure):
        tab.goto(server.url("/", "shop.test"))
        assert tab.evaluate("document.images[0].naturalWidth") == 1, server.scheme


def test_browser_that_has_seen_the_promise_uses_https(tab: Tab, serve: Serve) -> None:
    server = serve(site(secure_headers("relaxed"), page("<p>over {{ request.scheme }}</p>")), tls=True)
    tab.goto(server.url("/", "shop.test"))

    tab.goto(server.url("/", "shop.test").replace("https:", "http:"))

    assert tab.evaluate("location.protocol") == "https:"
    assert tab.evaluate("document.body.innerText") == "over https"


def test_session_cookie_is_kept_and_hidden_from_scripts(tab: Tab, serve: Serve) -> None:
    app = site(secure_headers("relaxed", session_cookie="Strict"), page("<p>page</p>"))
    app.add_url_rule("/login", "login", lambda: session.setdefault("user", "ada"))
    app.add_url_rule("/user", "user", lambda: jsonify([session.get("user"), sorted(request.cookies)]))
    server = serve(app, tls=True)

    tab.goto(server.url("/login", "shop.test"))
    answer = tab.fetch(server.url("/user", "shop.test"))

    assert answer is not None
    assert answer["text"].strip() == '["ada",["__Host-session"]]'
    assert tab.evaluate("document.cookie") == ""


def test_logging_out_clears_what_the_site_has_stored(tab: Tab, serve: Serve) -> None:
    app = site(secure_headers("relaxed"), page("<p>page</p>"))
    clearing = secure_headers(clear_site_data=["cookies", "storage"])
    app.add_url_rule("/logout", "logout", protect(lambda: page("<p>bye</p>"), clearing))
    server = serve(app, tls=True)
    tab.goto(server.url("/", "shop.test"))
    tab.evaluate("() => { document.cookie = 'theme=dark; Secure'; localStorage.setItem('draft', 'text') }")
    assert tab.evaluate("[document.cookie, localStorage.draft]") == ["theme=dark", "text"]

    tab.goto(server.url("/logout", "shop.test"))

    assert tab.evaluate("[document.cookie, localStorage.draft ?? null]") == ["", None]
