"""Chromium names the page that a request comes from, and `same_origin` serves the app's own alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask, request, session

from flask_guard import Guard, require_auth, same_origin, secure_headers

from .conftest import Browser, Certificate, Server, Tab, page, serving

SHOP, ACCOUNT, EVIL = "shop.test", "account.shop.test", "cdn.test"
ALLOWED = "allowed.shop.test"


class Shop:
    """A shop that knows its users by a cookie, which browsers send from every page."""

    def __init__(self, scheme: str, pages: Server) -> None:
        self.sent: list[str] = []
        self.app = Flask("shop")
        self.app.config.update(SECRET_KEY="secret", SESSION_COOKIE_DOMAIN=None)
        if scheme == "https":
            self.app.config.update(SESSION_COOKIE_SAMESITE="None", SESSION_COOKIE_SECURE=True)
        allowed = f"https://{ALLOWED}:{pages.port}"
        self.app.add_url_rule("/login", "login", self._login)
        self.app.add_url_rule("/form", "form", self._form)
        self.app.add_url_rule("/quiet", "quiet", secure_headers(csp=None)(self._form))
        guards = [require_auth(session=lambda: session.get("user"), realm="shop"), same_origin]
        self.app.add_url_rule("/transfer", "transfer", guards[0](guards[1](self._transfer)), methods=["POST"])
        shared = guards[0](same_origin(allow=allowed)(self._transfer))
        self.app.add_url_rule("/shared", "shared", shared, methods=["POST"])
        self.app.add_url_rule("/favicon.ico", "icon", lambda: ("", 204))
        Guard(self.app)

    @staticmethod
    def _login() -> str:
        session["user"] = "ada"
        return page("welcome")

    @staticmethod
    def _form() -> str:
        return form("/transfer")

    def _transfer(self) -> str:
        self.sent.append(request.form.get("to", "?"))
        return page("sent")


def form(action: str) -> str:
    """Return a page with a form, and a frame that is sandboxed with the same form in it."""
    fields = f'<form method="post" action="{action}"><input name="to" value="eve"></form>'
    return page(f"{fields}<iframe sandbox='allow-forms allow-scripts' srcdoc='{fields}'></iframe>")


@pytest.fixture(scope="module", params=["https", "http"])
def scheme(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def pages(scheme: str, certificate: Certificate) -> Iterator[Server]:
    """Serve pages with a form to wherever their query says."""
    app = Flask("pages")
    app.add_url_rule("/", "page", lambda: form(request.args["action"]))
    app.add_url_rule("/favicon.ico", "icon", lambda: ("", 204))
    with serving(app, certificate.context if scheme == "https" else None) as server:
        yield server


@pytest.fixture(scope="module")
def shop(scheme: str, pages: Server) -> Shop:
    return Shop(scheme, pages)


@pytest.fixture(scope="module")
def at(shop: Shop, scheme: str, certificate: Certificate) -> Iterator[Server]:
    with serving(shop.app, certificate.context if scheme == "https" else None) as server:
        yield server


@pytest.fixture
def user(browser: Browser, shop: Shop, at: Server) -> Iterator[Tab]:
    """Return a tab that is logged in."""
    shop.sent.clear()
    with Tab(browser) as tab:
        tab.goto(at.url("/login", SHOP))
        yield tab


def test_a_form_of_the_own_page_is_served(user: Tab, shop: Shop, at: Server) -> None:
    assert user.submit(at.url("/form", SHOP)) == 200
    assert shop.sent == ["eve"]


@pytest.mark.parametrize("host", [EVIL, ACCOUNT])
def test_a_form_of_another_site_or_host_is_refused(user: Tab, shop: Shop, at: Server, pages: Server, host: str) -> None:
    assert user.submit(f"{pages.url('/', host)}?action={at.url('/transfer', SHOP)}") == 403
    assert shop.sent == []


def test_a_form_of_the_same_host_on_another_port_is_refused(user: Tab, shop: Shop, at: Server, pages: Server) -> None:
    assert user.submit(f"{pages.url('/', SHOP)}?action={at.url('/transfer', SHOP)}") == 403
    assert shop.sent == []


def test_a_script_of_another_site_is_refused(user: Tab, shop: Shop, at: Server, pages: Server) -> None:
    user.goto(f"{pages.url('/', EVIL)}?action=/")

    user.evaluate(
        "url => fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include',"
        " body: new URLSearchParams({to: 'eve'})})",
        at.url("/transfer", SHOP),
    )

    assert shop.sent == []


def test_a_sandboxed_frame_of_the_own_page_has_no_origin_and_is_refused(user: Tab, shop: Shop, at: Server) -> None:
    async def press() -> int:
        frame = user.page.frames[1]
        async with user.page.expect_response("**/transfer") as answer:
            await frame.evaluate("document.forms[0].submit()")
        return int((await answer.value).status)

    user.goto(at.url("/form", SHOP))

    assert user.browser.run(press()) == 403
    assert shop.sent == []


def test_an_allowed_page_may_send(user: Tab, shop: Shop, at: Server, pages: Server, scheme: str) -> None:
    status = user.submit(f"{pages.url('/', ALLOWED)}?action={at.url('/shared', SHOP)}")

    assert (status, shop.sent) == ((200, ["eve"]) if scheme == "https" else (403, []))  # https is what is listed


def test_a_page_without_referrer_is_served_where_the_browser_names_the_site(
    user: Tab, shop: Shop, at: Server, scheme: str
) -> None:
    """A form of such a page has the origin null, and over http nothing else tells where it comes from."""
    assert user.submit(at.url("/quiet", SHOP)) == (200 if scheme == "https" else 403)


def test_a_foreign_site_does_not_see_whether_the_user_is_logged_in(browser: Browser, at: Server, pages: Server) -> None:
    with Tab(browser) as stranger:
        assert stranger.submit(f"{pages.url('/', EVIL)}?action={at.url('/transfer', SHOP)}") == 403
