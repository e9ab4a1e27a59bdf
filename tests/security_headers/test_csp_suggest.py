"""From reports to the smallest policy that would have allowed them, with what is dangerous about it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_guard import ConfigError
from flask_guard.security_headers.csp import Csp, nonce, parse_whole_csp
from flask_guard.security_headers.csp_match import allows_inline, allows_url, deciding
from flask_guard.security_headers.csp_suggest import suggest
from flask_guard.security_headers.violations import Violation, violations_in_text
from tests.cases import together

from .hashes import hash_of

PAGE = "https://shop.example/orders"
STRICT = parse_whole_csp("default-src 'self'; script-src 'self' 'nonce'; base-uri 'none'", "csp")


def violation(directive: str, blocked: str, **more: Any) -> Violation:
    return Violation(PAGE, directive, blocked, **more)


def suggested(*violations: Violation, policy: Csp = STRICT) -> dict[str, str]:
    """Return the directives that a suggestion changes or adds."""
    before = dict(policy.directives)
    changed = [(name, sources) for name, sources in suggest(violations, policy).policy.directives]
    return {name: " ".join(sources or ()) for name, sources in changed if before.get(name) != sources}


@together(
    ("reported", "changes"),
    [
        (
            violation("script-src-elem", "https://cdn.example/a.js"),
            {"script-src": "'self' 'nonce' https://cdn.example"},
        ),
        (violation("img-src", "https://cdn.example/a.png"), {"img-src": "'self' https://cdn.example"}),
        (violation("style-src-elem", "https://cdn.example/a.css"), {"style-src": "'self' https://cdn.example"}),
        (violation("img-src", "data"), {"img-src": "'self' data:"}),
        (violation("font-src", "data:"), {"font-src": "'self' data:"}),
        (violation("worker-src", "blob"), {"worker-src": "'self' blob:"}),
        (violation("connect-src", "wss://live.example:8443/feed"), {"connect-src": "'self' wss://live.example:8443"}),
        (violation("base-uri", "https://shop.example/"), {"base-uri": "'self'"}),
        (violation("script-src-elem", "inline"), {}),
        (violation("style-src-elem", "inline"), {"style-src": "'self' 'unsafe-inline'"}),
        (violation("style-src-attr", "inline"), {"style-src-attr": "'unsafe-inline'"}),
        (violation("script-src-attr", "inline"), {"script-src-attr": "'unsafe-inline'"}),
        (violation("script-src", "eval"), {"script-src": "'self' 'nonce' 'unsafe-eval'"}),
        (violation("script-src", "wasm-eval"), {"script-src": "'self' 'nonce' 'wasm-unsafe-eval'"}),
        (violation("img-src", "https://shop.example/logo.png"), {}),
        (violation("frame-ancestors", "https://partner.example/"), {}),
    ],
)
def test_each_report_asks_for_one_source(reported: Violation, changes: dict[str, str]) -> None:
    assert suggested(reported) == changes


def test_policy_without_a_nonce_gets_one_for_inline_scripts() -> None:
    policy = parse_whole_csp("script-src 'self'", "csp")

    assert suggested(violation("script-src-elem", "inline"), policy=policy) == {"script-src": "'self' 'nonce'"}


def test_hashes_that_would_take_the_effect_of_a_source_are_replaced_by_it() -> None:
    policy = parse_whole_csp(f"script-src-attr 'unsafe-hashes' {hash_of('run()')}", "csp")

    found = suggest([violation("script-src-attr", "inline")], policy).policy

    assert str(found) == "script-src-attr 'unsafe-inline'"
    assert allows_inline(found, "script-src-attr", "run()")


def test_reports_of_one_source_are_counted_together() -> None:
    reports = [violation("img-src", f"https://cdn.example/{number}.png") for number in range(5)]

    (added,) = suggest([*reports, violation("img-src", "https://other.example/x")][:5], STRICT).added

    assert (added.directive, added.source, added.count) == ("img-src", "https://cdn.example", 5)
    assert added.example == reports[0]


@pytest.mark.parametrize(
    ("reported", "word"),
    [
        (violation("script-src", "eval"), "eval()"),
        (violation("script-src-attr", "inline"), "addEventListener()"),
        (violation("script-src-elem", "data"), "made up within the page"),
        (violation("script-src-elem", "http://cdn.example/a.js"), "on the way"),
        (violation("img-src", "http://cdn.example/a.png"), "on the way"),
        (violation("object-src", "data"), "made up within the page"),
        (violation("worker-src", "blob"), "made up within the page"),
        (violation("style-src-elem", "inline"), "use a nonce"),
        (violation("script-src-elem", "https://cdn.jsdelivr.net/npm/vue"), "anybody may publish"),
    ],
)
def test_dangerous_source_is_marked(reported: Violation, word: str) -> None:
    (added,) = suggest([reported], STRICT).added

    assert word in added.danger


@pytest.mark.parametrize(
    "reported",
    [
        violation("img-src", "data"),
        violation("style-src-attr", "inline"),
        violation("img-src", "http://localhost:5000/x"),
        violation("script-src-elem", "https://cdn.example/a.js"),
        violation("img-src", "https://cdn.jsdelivr.net/a.png"),
    ],
)
def test_harmless_source_is_not_marked(reported: Violation) -> None:
    (added,) = suggest([reported], STRICT).added

    assert added.danger == ""


@pytest.mark.parametrize(
    ("policy", "dangers"),
    [
        ("script-src 'self' 'unsafe-inline' 'unsafe-eval' https: http: data:", 5),
        ("script-src 'nonce' 'unsafe-inline' 'strict-dynamic' https:", 0),
        ("default-src *", 1),
        ("default-src *; script-src 'self'; object-src 'none'; frame-src 'self'", 0),
        ("default-src 'self'; script-src unpkg.com *.jsdelivr.net https://cdnjs.cloudflare.com/ajax/", 2),
        ("script-src-attr 'unsafe-inline'; style-src 'self' 'unsafe-inline' https:; img-src * data:", 2),
    ],
)
def test_dangers_of_the_policy_to_start_from_are_told(policy: str, dangers: int) -> None:
    found = suggest([violation("font-src", "data")], parse_whole_csp(policy, "csp"))

    assert len(found.dangers) == dangers, found.dangers


@pytest.mark.parametrize(
    ("reported", "policy", "reason"),
    [
        (violation("script-src-elem", "inline"), "script-src 'nonce'", 'add nonce="{{ csp_nonce() }}" to the element'),
        (violation("style-src-elem", "inline"), "style-src 'self'", ""),
        (violation("style-src-elem", "inline"), "style-src 'nonce'", "inline code needs one"),
        (
            violation("script-src-elem", "https://a.example/"),
            "script-src 'nonce' 'strict-dynamic'",
            "hosts do not count",
        ),
        (violation("script-src-elem", "inline", sample="javascript:x()"), "script-src 'self'", "use a button"),
        (violation("script-src-elem", "chrome-extension://abc/x.js"), "script-src 'self'", "browser extension"),
        (violation("img-src", "data", source_file="moz-extension:"), "img-src 'self'", "browser extension"),
        (violation("require-trusted-types-for", "trusted-types-sink"), "img-src *", "Trusted Types"),
    ],
)
def test_what_no_source_allows_has_a_reason(reported: Violation, policy: str, reason: str) -> None:
    found = suggest([reported], parse_whole_csp(policy, "csp"))

    assert [reason in each for _, each in found.beyond_help] == ([True] if reason else [])
    assert bool(found.added) is not bool(reason)


def test_report_that_says_too_little_is_told_apart() -> None:
    found = suggest([violation("img-src", ""), violation("img-src", "about")], STRICT)

    assert found.added == []
    assert [reason for _, reason in found.beyond_help] == ["the report does not say what was blocked"] * 2


def test_policy_to_start_from_is_the_one_that_most_reports_name() -> None:
    reports = [
        violation("img-src", "data", policy="default-src 'self'; script-src 'nonce-AAAA'"),
        violation("img-src", "data", policy="default-src 'self'; script-src 'nonce-BBBB'"),
        violation("img-src", "data", policy="default-src 'none'"),
        violation("img-src", "data", policy="nonsense"),
    ]

    assert str(suggest(reports).policy) == f"default-src 'self'; script-src {nonce}; img-src 'self' data:"


def test_reports_without_a_policy_need_one() -> None:
    with pytest.raises(ConfigError, match="give one with --policy"):
        suggest([violation("img-src", "data")])


hosts = st.sampled_from(["https://cdn.example", "https://a.example:8443", "wss://live.example", "https://shop.example"])
directives = st.sampled_from(
    ["script-src-elem", "img-src", "font-src", "connect-src", "style-src-elem", "frame-src", "worker-src", "media-src"]
)
policies = st.sampled_from(
    [
        "default-src 'none'",
        "default-src 'self'; script-src 'self'; img-src 'self' data:",
        "script-src 'none'; child-src 'none'; style-src-elem 'self'",
        "default-src https://a.example:8443; frame-src 'none'",
    ]
)


@pytest.mark.slow
@given(policies, st.lists(st.tuples(directives, hosts), min_size=1, max_size=12))
def test_suggested_policy_allows_every_report_and_nothing_can_be_taken_out(
    text: str, blocked: list[tuple[str, str]]
) -> None:
    policy = parse_whole_csp(text, "csp")
    reports = [violation(directive, f"{host}/x") for directive, host in blocked]

    found = suggest(reports, policy)

    def allows_all(candidate: Csp) -> bool:
        return all(allows_url(candidate, each.directive, each.blocked_url, PAGE) for each in reports)

    assert allows_all(found.policy)
    for added in found.added:
        if deciding(policy, added.directive) == added.directive:  # a new one stands for default-src
            sources = dict(found.policy.directives)
            fewer = tuple(each for each in sources[added.directive] or () if each != added.source) or ("'none'",)
            assert not allows_all(Csp(tuple({**sources, added.directive: fewer}.items()), is_whole=True))


# Reading reports -----------------------------------------------------------------------------------------------------

NEW = {
    "type": "csp-violation",
    "age": 1,
    "url": PAGE,
    "body": {
        "documentURL": f"{PAGE}?token=secret#top",
        "effectiveDirective": "img-src",
        "blockedURL": "https://cdn.example/a.png?key=secret",
        "originalPolicy": "img-src 'self'",
        "sourceFile": PAGE,
        "lineNumber": 7,
        "columnNumber": 3,
        "disposition": "report",
        "sample": "",
    },
}
OLD = {
    "csp-report": {
        "document-uri": PAGE,
        "violated-directive": "img-src 'self'",
        "blocked-uri": "https://cdn.example/a.png",
        "original-policy": "img-src 'self'",
        "line-number": 7,
    }
}
LOGGED = {"document_url": PAGE, "directive": "img-src", "blocked_url": "https://cdn.example/a.png", "line": 7}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([NEW]),
        json.dumps(NEW),
        json.dumps(OLD),
        json.dumps(LOGGED),
        json.dumps([NEW], indent=2),
        "\n".join(["not JSON", json.dumps(OLD), "", '{"type": "deprecation", "body": {}}']),
    ],
    ids=["list", "one", "report-uri", "log record", "indented", "lines"],
)
def test_reports_are_read_in_every_form(text: str) -> None:
    (found,) = violations_in_text(text)

    assert (found.document_url, found.directive, found.line) == (PAGE, "img-src", 7)
    assert found.blocked_url == "https://cdn.example/a.png"


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "null", '{"type": "csp-violation"}', '{"csp-report": 5}', '{"directive": 5}', "[[[[]]]]"]
)
def test_what_is_not_a_report_is_left_out(text: str) -> None:
    assert list(violations_in_text(text)) == []
