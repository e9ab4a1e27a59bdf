"""Whatever a client sends, nothing breaks, and nothing of it gets into a header or a line of a log."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from flask import Blueprint, Flask, Request, Response
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.test import create_environ

from flask_guard import (
    Guard,
    cors,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
    secure_headers,
)
from flask_guard.keys import SignedKeys
from tests.cases import case, together

pytestmark = pytest.mark.slow

ORIGIN = "https://app.example.com"
KEY = "the secret of ci"
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@middleware
def stamp(request: Request, *, header: str = "X-Stamp") -> Generator[None, Response, None]:
    response = yield
    response.headers[header] = "yes"


ORIGINS: dict[str, Any] = {
    "exact": [ORIGIN, "http://[::1]:8080"],
    "pattern": re.compile(r"https://[a-z0-9-]+\.example\.com|https?://.*"),
    "star": "*",
}
KEYS: dict[str, dict[str, Any]] = {
    "configured": {"keys": {"ci": KEY}},
    "signed": {"keys": SignedKeys("a secret key for tests")},
}


def make(origins: str, keys: str) -> Flask:
    """Return an app with every policy, some on a blueprint, some on views, some on the app."""
    app = Flask("hostile")
    app.config["SECRET_KEY"] = "a secret key for tests"
    Guard(app, policies=[log_timing, secure_headers, cors(origins=ORIGINS[origins])], **KEYS[keys])
    shop = Blueprint("shop", __name__, url_prefix="/shop")
    protect(shop, stamp, limit("1000000/minute"), limit("1000000/minute", by=lambda r: r.headers.get("User-Agent")))
    everywhere = require_api_key(in_=["bearer", "x-api-key", "query:key"], failures="1000000/minute")
    shop.add_url_rule("/orders", "orders", everywhere(lambda: "orders"), methods=["GET", "POST"])
    wildcard = cors(origins=ORIGINS[origins], allow_headers="*", methods=["GET", "PUT"], credentials=origins != "star")
    shop.add_url_rule("/open/<path:rest>", "open", wildcard(lambda rest: "open"), methods=["GET", "PUT"])
    shop.add_url_rule("/shadow", "shadow", require_api_key(mode="report")(lambda: "shadow"))
    app.register_blueprint(shop)
    app.register_blueprint(require_api_key(Blueprint("locked", __name__, url_prefix="/locked")))
    return app


APPS = {(origins, keys): make(origins, keys) for origins in ORIGINS for keys in KEYS}


# What comes back -------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """What an app sent to the server, byte for byte, and what it logged."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    lines: list[str] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collect every line that is logged, formatted as a handler would."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))
            lines.extend(str(value) for name, value in vars(record).items() if name in ("path", "method", "address"))

    handler, root = Collect(), logging.getLogger()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def send(app: Flask, environ: dict[str, str]) -> Answer:
    """Call `app` as a WSGI server would that checks nothing; raise whatever the app raises."""
    answer = Answer()

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        answer.status, answer.headers = int(status[:3]), headers

    with logged() as answer.lines:
        body = app.wsgi_app({**create_environ("/shop/orders"), **environ}, start_response)
        try:
            answer.body = b"".join(body)
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
    return answer


def check(answer: Answer, environ: dict[str, str]) -> None:
    """Assert what holds for every answer."""
    assert 200 <= answer.status < 500
    for name, value in answer.headers:
        assert TOKEN.fullmatch(name), name
        assert not CONTROL.search(value), (name, value)
        assert value.encode("latin-1")
    for line in answer.lines:
        assert not CONTROL.search(line), line
        assert len(line) < 5000
    (request_id,) = answer.values("X-Request-ID")
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", request_id)
    check_origin(answer, environ.get("HTTP_ORIGIN", ""))


def check_origin(answer: Answer, origin: str) -> None:
    """Assert that there is at most one allowed origin, and that it is one."""
    allowed = answer.values("Access-Control-Allow-Origin")
    assert len(allowed) <= 1
    if allowed and allowed != ["*"]:
        assert allowed == [origin]
        assert re.fullmatch(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[\w.-]+)(:\d+)?", origin, re.IGNORECASE | re.ASCII)
    for value in answer.values("Access-Control-Allow-Headers"):
        assert all(TOKEN.fullmatch(name.strip()) for name in value.split(","))


# What is sent ----------------------------------------------------------------------------------------------------

raw = st.one_of(
    st.binary(max_size=80).map(lambda value: value.decode("latin-1")),
    st.text(st.characters(max_codepoint=255), max_size=80),
    st.text("\r\n\x00\x1b\x7f\x85 ,;:=\"'\\/%*.-aZ09\xff", max_size=40),
)
one_line = raw.map(lambda value: re.sub("[\r\n]", " ", value))
"""Values that no redirect of Werkzeug's own breaks with: it copies the query into the `Location`."""
origins = st.one_of(
    raw,
    st.builds(lambda scheme, rest: f"{scheme}://{rest}", st.sampled_from(["https", "http", "HTTPS", ""]), raw),
    st.builds(lambda tail: f"{ORIGIN}{tail}", raw),
    st.builds(lambda label: f"https://{label}.example.com", raw),
    st.sampled_from([ORIGIN, "null", "*", "http://[::1]:8080", "http://[::", "https://a.example.com\r\nX: y"]),
)
credentials = st.one_of(
    raw,
    st.builds(lambda scheme, rest: scheme + rest, st.sampled_from(["Bearer ", "bearer\t", "Bearer", "Basic "]), raw),
    st.sampled_from(["Bearer", "Bearer ", "Bearer   ", f"Bearer {KEY}", f"Bearer {KEY}\r\nX: y", "Bearer \x00"]),
)
methods = st.one_of(raw, st.sampled_from(["GET", "POST", "PUT", "put", "DELETE", "", "G\x00ET", "GET\r\nX: y"]))
FIELDS = {
    "HTTP_AUTHORIZATION": credentials,
    "HTTP_X_API_KEY": raw,
    "HTTP_ORIGIN": origins,
    "HTTP_ACCESS_CONTROL_REQUEST_METHOD": methods,
    "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": st.one_of(raw, st.lists(raw, max_size=5).map(",".join)),
    "HTTP_X_REQUEST_ID": raw,
    "HTTP_TRACEPARENT": st.one_of(raw, st.builds(lambda tail: f"00-{'a' * 32}-{'b' * 16}-{tail}", raw)),
    "HTTP_ACCEPT": st.one_of(raw, st.builds(lambda rest: f"text/html;q={rest}", raw)),
    "HTTP_USER_AGENT": raw,
    "HTTP_COOKIE": raw,
    "REMOTE_ADDR": st.one_of(raw, st.ip_addresses().map(str), st.builds(lambda zone: f"fe80::1%{zone}", raw)),
    "PATH_INFO": st.one_of(
        raw.map(lambda rest: f"/{rest}"),
        raw.map(lambda rest: f"/shop/open/{rest}"),
        raw.map(lambda rest: f"/locked/{rest}"),
        st.sampled_from(["/shop/orders", "/shop/shadow", "/shop/nowhere", "", "/nowhere", "/shop/open/a"]),
    ),
    "QUERY_STRING": st.one_of(one_line, st.builds(lambda value: f"key={value}", one_line)),
}
environs = st.fixed_dictionaries(
    {"REQUEST_METHOD": st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"])}, optional=FIELDS
)
apps = st.sampled_from(sorted(APPS))


@settings(deadline=None, max_examples=120)
@given(apps, environs)
@example(("exact", "configured"), {"REQUEST_METHOD": "OPTIONS", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": ""})
@example(("star", "signed"), {"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": "Bearer"})
def test_nothing_that_is_sent_breaks_or_injects_anything(which: tuple[str, str], environ: dict[str, str]) -> None:
    check(send(APPS[which], environ), environ)


@settings(deadline=None, max_examples=60)
@given(apps, origins, methods, raw, st.sampled_from(["/shop/orders", "/shop/open/a", "/nowhere"]))
@example(("star", "configured"), "https://a\r\nX: y", "GET", "x", "/shop/orders")
@example(("star", "configured"), "\x00", "PUT", "x", "/shop/open/a")
@example(("pattern", "configured"), "https://a.example.com\n", "PUT", "x", "/shop/open/a")
def test_no_preflight_breaks_or_injects_anything(
    which: tuple[str, str], origin: str, method: str, headers: str, path: str
) -> None:
    environ = {
        "REQUEST_METHOD": "OPTIONS",
        "PATH_INFO": path,
        "HTTP_ORIGIN": origin,
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD": method,
        "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": f"content-type,{headers}",
    }

    check(send(APPS[which], environ), environ)


@settings(deadline=None, max_examples=60)
@given(methods, st.sampled_from(["/shop/orders", "/nowhere"]))
@example("GE\r\nT \x1b[31m", "/shop/orders")
def test_no_method_breaks_or_injects_anything(method: str, path: str) -> None:
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path}

    check(send(APPS["exact", "configured"], environ), environ)


HUGE = 100_000


@together("start", ["", "Bearer ", "https://", "/shop/open/", "key=", "text/html,", "::"])
def test_endless_values_do_no_harm(start: str) -> None:
    for name, which in product([*FIELDS, "REQUEST_METHOD"], APPS):
        with case(name, which):
            environ = {"REQUEST_METHOD": "GET", name: start + "a," * (HUGE // 2)}

            answer = send(APPS[which], environ)

            check(answer, environ)
            assert sum(len(each) + len(value) for each, value in answer.headers) < 8192


@together("value", ["a\r\nSet-Cookie: b=c", "a\nb", "a\rb", "a\x00b", "\x1b[31m", "\x85", "\xff\xfe"])
def test_line_ends_and_nul_are_not_passed_on(value: str) -> None:
    for name, which, method in product(FIELDS, APPS, ("GET", "OPTIONS")):
        with case(name, which, method):
            environ = {"REQUEST_METHOD": method, name: f"/locked/{value}" if name == "PATH_INFO" else value}

            answer = send(APPS[which], environ)

            check(answer, environ)
            assert "b=c" not in "".join(answer.values("Set-Cookie"))


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer ", "bearer    "])
def test_bearer_with_nothing_is_refused_as_malformed(authorization: str) -> None:
    answer = send(APPS["exact", "configured"], {"HTTP_AUTHORIZATION": authorization})

    assert answer.status == 400
    assert answer.values("WWW-Authenticate") == ['Bearer realm="api", error="invalid_request"']
