"""Matching decides as browsers do (CSP 3, section 6.7)."""

from __future__ import annotations

import pytest

from flask_guard.security_headers.csp import parse_whole_csp
from flask_guard.security_headers.csp_match import allows_inline, allows_url
from tests.cases import together

from .hashes import hash_of

PAGE = "https://shop.example/orders"

URLS: list[tuple[str, str, str, bool]] = [
    # policy, directive, url, allowed
    ("img-src 'self'", "img-src", "https://shop.example/logo.png", True),
    ("img-src 'self'", "img-src", "https://shop.example:8443/logo.png", False),
    ("img-src 'self'", "img-src", "http://shop.example/logo.png", False),
    ("img-src 'self'", "img-src", "https://cdn.shop.example/logo.png", False),
    ("img-src 'self'", "img-src", "data:image/png;base64,AAAA", False),
    ("img-src data:", "img-src", "data:image/png;base64,AAAA", True),
    ("img-src *", "img-src", "https://anywhere.example/x", True),
    ("img-src *", "img-src", "data:image/png;base64,AAAA", False),
    ("img-src https:", "img-src", "https://anywhere.example/x", True),
    ("img-src https:", "img-src", "http://anywhere.example/x", False),
    ("img-src http:", "img-src", "https://anywhere.example/x", True),
    ("img-src 'none'", "img-src", "https://shop.example/x", False),
    ("img-src cdn.example", "img-src", "https://cdn.example/x", True),
    ("img-src cdn.example", "img-src", "http://cdn.example/x", False),
    ("img-src http://cdn.example", "img-src", "https://cdn.example/x", True),
    ("img-src cdn.example", "img-src", "https://cdn.example.evil/x", False),
    ("img-src cdn.example", "img-src", "https://evilcdn.example/x", False),
    ("img-src *.cdn.example", "img-src", "https://a.b.cdn.example/x", True),
    ("img-src *.cdn.example", "img-src", "https://cdn.example/x", False),
    ("img-src cdn.example:8443", "img-src", "https://cdn.example:8443/x", True),
    ("img-src cdn.example:8443", "img-src", "https://cdn.example/x", False),
    ("img-src cdn.example:*", "img-src", "https://cdn.example:8443/x", True),
    ("img-src CDN.example", "img-src", "https://cdn.example/x", True),
    ("script-src cdn.example/lib/", "script-src-elem", "https://cdn.example/lib/a.js", True),
    ("script-src cdn.example/lib/", "script-src-elem", "https://cdn.example/other/a.js", False),
    ("script-src cdn.example/a.js", "script-src-elem", "https://cdn.example/a.js?v=2", True),
    ("script-src cdn.example/a.js", "script-src-elem", "https://cdn.example/a.js/b", False),
    ("connect-src wss://live.example", "connect-src", "wss://live.example/feed", True),
    ("connect-src wss://live.example", "connect-src", "ws://live.example/feed", False),
    ("connect-src 'self'", "connect-src", "https://shop.example/api", True),
    ("img-src [::1]:5000", "img-src", "https://[::1]:5000/x", True),
    # fallbacks
    ("default-src 'self'", "font-src", "https://fonts.example/x", False),
    ("default-src 'self'; font-src *", "font-src", "https://fonts.example/x", True),
    ("default-src 'none'; script-src 'self'", "script-src-elem", "https://shop.example/a.js", True),
    ("script-src 'self'; script-src-elem 'none'", "script-src-elem", "https://shop.example/a.js", False),
    ("default-src 'none'; child-src 'self'", "frame-src", "https://shop.example/x", True),
    ("default-src 'none'; script-src 'self'", "worker-src", "https://shop.example/w.js", True),
    ("default-src 'none'", "form-action", "https://anywhere.example/", True),
    ("form-action 'self'", "form-action", "https://anywhere.example/", False),
    ("base-uri 'none'", "base-uri", "https://shop.example/", False),
    ("img-src 'none'", "script-src-elem", "https://anywhere.example/a.js", True),
    # strict-dynamic: hosts do not count for scripts
    ("script-src 'nonce' 'strict-dynamic' https:", "script-src-elem", "https://shop.example/a.js", False),
]


@together(("policy", "directive", "url", "allowed"), URLS)
def test_urls(policy: str, directive: str, url: str, allowed: bool) -> None:
    assert allows_url(parse_whole_csp(policy, "csp"), directive, url, PAGE) is allowed


def test_page_over_http_may_load_its_own_files_over_https() -> None:
    policy = parse_whole_csp("img-src 'self' cdn.example", "csp")

    assert allows_url(policy, "img-src", "https://shop.example/x", "http://shop.example/")
    assert allows_url(policy, "img-src", "https://cdn.example/x", "http://shop.example/")
    assert not allows_url(policy, "img-src", "https://shop.example:8443/x", "http://shop.example/")


@pytest.mark.parametrize("policy", ["script-src 'nonce'", "script-src 'nonce' 'strict-dynamic'", "default-src 'nonce'"])
def test_nonce_lets_an_element_load_anything(policy: str) -> None:
    parsed = parse_whole_csp(policy, "csp")

    assert allows_url(parsed, "script-src-elem", "https://cdn.example/a.js", PAGE, has_nonce=True)
    assert not allows_url(parsed, "script-src-elem", "https://cdn.example/a.js", PAGE)


HASH = hash_of("run()")

INLINE: list[tuple[str, str, bool, bool]] = [
    # policy, directive, has_nonce, allowed
    ("script-src 'self'", "script-src-elem", False, False),
    ("script-src 'unsafe-inline'", "script-src-elem", False, True),
    ("script-src 'unsafe-inline'", "script-src-attr", False, True),
    ("default-src 'unsafe-inline'", "style-src-attr", False, True),
    ("script-src 'unsafe-inline' 'nonce'", "script-src-elem", False, False),
    ("script-src 'unsafe-inline' 'nonce'", "script-src-elem", True, True),
    ("script-src 'unsafe-inline' 'nonce'", "script-src-attr", True, False),
    ("script-src 'nonce'", "script-src-attr", True, False),
    (f"script-src {HASH}", "script-src-elem", False, True),
    (f"script-src {HASH}", "script-src-attr", False, False),
    (f"script-src {HASH} 'unsafe-hashes'", "script-src-attr", False, True),
    (f"script-src {HASH} 'unsafe-inline'", "script-src-attr", False, False),
    (f"script-src {hash_of('other()')} 'unsafe-inline'", "script-src-elem", False, False),
    ("script-src 'unsafe-inline' 'strict-dynamic' 'nonce'", "script-src-elem", False, False),
    ("img-src 'none'", "script-src-elem", False, True),
    ("style-src 'self'; style-src-attr 'unsafe-inline'", "style-src-attr", False, True),
    ("style-src 'self'; style-src-attr 'unsafe-inline'", "style-src-elem", False, False),
]


@together(("policy", "directive", "has_nonce", "allowed"), INLINE)
def test_what_is_written_into_the_page(policy: str, directive: str, has_nonce: bool, allowed: bool) -> None:
    assert allows_inline(parse_whole_csp(policy, "csp"), directive, "run()", has_nonce=has_nonce) is allowed


def test_hash_is_that_of_the_standard() -> None:
    assert hash_of("alert('Hello, world.');") == "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
