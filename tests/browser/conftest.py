"""A real Chromium, and servers for it to talk to."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import os
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from tests.conftest import required_program

T = TypeVar("T")
NAMES = ["shop.test", "*.shop.test", "cdn.test"]
"""The names that the certificate is for."""
SECONDS = 90
"""How long anything may take on a busy machine."""
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--short-reporting-delay",
]
FETCH = """async ([url, options]) => {
    try {
        const response = await fetch(url, options);
        return {status: response.status, text: await response.text(), headers: Object.fromEntries(response.headers)};
    } catch (error) {
        return null;
    }
}"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in one process, so that one browser serves them all."""
    folder = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if str(item.path).startswith(folder):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.xdist_group("browser"))


# Servers -------------------------------------------------------------------------------------------------------------


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Drop the line."""


@dataclass
class Server:
    """An app that is served on the loopback interface; every name below ``.test`` leads there."""

    port: int
    scheme: str = "http"

    def url(self, path: str = "/", host: str = "localhost") -> str:
        return f"{self.origin(host)}{path}"

    def origin(self, host: str = "localhost") -> str:
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for every name below ``.test``."""

    context: ssl.SSLContext
    fingerprint: str
    file: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(f"{n}.test") for n in ("shop", "cdn", "*.shop")]), False
        )
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Certificate(context, base64.b64encode(hashlib.sha256(public).digest()).decode(), folder / "cert.pem")


@contextmanager
def serving(app: Flask, context: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Server]:
    """Serve `app` for a ``with`` block, by a thread for each request."""
    server: BaseWSGIServer = make_server(
        "127.0.0.1", port, app, threaded=True, request_handler=Quiet, ssl_context=context
    )
    server.daemon_threads = True  # type: ignore[attr-defined]  # of the mixin: connections that stay open are not awaited
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="server", daemon=True)
    thread.start()
    try:
        yield Server(server.port, "https" if context else "http")
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


Serve = Callable[..., Server]


@pytest.fixture
def serve(certificate: Certificate) -> Iterator[Serve]:
    """Return a function that serves an app until the test ends."""
    running = []

    def start(app: Flask, *, tls: bool = False) -> Server:
        block = serving(app, certificate.context if tls else None)
        running.append(block)
        return block.__enter__()

    yield start
    for block in running:
        block.__exit__(None, None, None)


# The browser ---------------------------------------------------------------------------------------------------------


class Browser:
    """Chromium, driven from a thread of its own: Playwright's loop would get in the way of tests of async views."""

    def __init__(self, program: str, arguments: list[str]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="browser", daemon=True)
        self._thread.start()
        self.run(self._start(program, arguments))

    async def _start(self, program: str, arguments: list[str]) -> None:
        from playwright.async_api import async_playwright

        self._playwright = await async_playwright().start()
        self.chromium = await self._playwright.chromium.launch(executable_path=program, args=arguments)

    def run(self, action: Coroutine[Any, Any, T]) -> T:
        """Return what `action` returns, run in the thread of the browser."""
        return asyncio.run_coroutine_threadsafe(action, self._loop).result(SECONDS)

    def close(self) -> None:
        async def stop() -> None:
            await self.chromium.close()
            await self._playwright.stop()

        self.run(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="session")
def browser(certificate: Certificate) -> Iterator[Browser]:
    """Return Chromium without its windows, if that is installed: those take four fifths of the time."""
    program = shutil.which("chromium-headless-shell") or required_program("chromium", "chromium")
    yield from _running(program, certificate)


@pytest.fixture(scope="session")
def whole_browser(certificate: Certificate) -> Iterator[Browser]:
    """Return Chromium with all that it has. Without windows, it sends no reports."""
    yield from _running(required_program("chromium", "chromium"), certificate)


def _running(program: str, certificate: Certificate) -> Iterator[Browser]:
    names = "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
    trusted = f"--ignore-certificate-errors-spki-list={certificate.fingerprint}"
    started = Browser(program, [*ARGUMENTS, names, trusted])
    yield started
    started.close()


@dataclass
class Tab:
    """A tab with cookies and caches of its own.

    :ivar console: the warnings and errors on its console.
    :ivar dialogs: the texts of dialogs, which are dismissed.
    """

    browser: Browser
    console: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def __enter__(self) -> Tab:
        self.browser.run(self._open())
        return self

    async def _open(self) -> None:
        self._context = await self.browser.chromium.new_context()
        self.page = await self._context.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("dialog", self._dismiss)

    def _note(self, message: Any) -> None:
        if message.type in ("warning", "error"):
            self.console.append(message.text)

    async def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()

    def __exit__(self, _type: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.browser.run(self._context.close())

    def before_scripts(self, script: str) -> None:
        """Run `script` in every page before its own, whatever its policy."""
        self.browser.run(self._context.add_init_script(script))

    def goto(self, url: str) -> None:
        """Open `url`, and wait until the page and what it loads are there."""
        self.browser.run(self.page.goto(url))

    def submit(self, url: str) -> int:
        """Open `url` and submit its first form; return the status of the answer."""

        async def send() -> int:
            async with self.page.expect_navigation() as navigation:
                await self.page.evaluate("document.forms[0].submit()")
            response = await navigation.value
            assert response is not None
            return int(response.status)

        self.goto(url)
        return self.browser.run(send())

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """Return the value of a JavaScript expression or function."""
        return self.browser.run(self.page.evaluate(script, argument))

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        self.browser.run(self.page.wait_for_function(expression))

    def load_manifest(self) -> None:
        """Have the browser load the manifest of the page, as it does before a page is installed."""

        async def load() -> None:
            session = await self._context.new_cdp_session(self.page)
            await session.send("Page.getAppManifest")

        self.browser.run(load())

    def fetch(self, url: str, **options: Any) -> dict[str, Any] | None:
        """Return what a script of the page gets from ``fetch``, or None if the browser keeps it from the script."""
        result: dict[str, Any] | None = self.evaluate(FETCH, [url, options])
        return result


def until(tab: Tab, expression: str) -> None:
    """Wait until a JavaScript expression is true. Unlike `Tab.wait_for` it works where the page forbids ``eval``."""
    deadline = time.monotonic() + SECONDS
    while not tab.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.05)


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    with Tab(browser) as opened:
        yield opened


def page(body: str = "", head: str = "") -> str:
    """Return an HTML page that loads nothing by itself."""
    return f"<!doctype html><html lang=en><head><title>Test</title>{head}</head><body>{body}</body></html>"


def blank(app: Flask) -> Flask:
    """Give `app` an empty page at ``/``, and an icon, which browsers ask for."""
    app.add_url_rule("/", "page", page)
    app.add_url_rule("/favicon.ico", "icon", lambda: ("", 204))
    return app
