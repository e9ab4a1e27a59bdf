"""Content security policies: mistakes in them are refused, and a nearer one is laid over an outer one."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask

from flask_guard import ConfigError, Guard, SecureHeaders, secure_headers
from flask_guard.security_headers import nonce, strict_dynamic
from flask_guard.security_headers.csp import parse_csp, parse_whole_csp
from tests.cases import together

from .test_secure_headers import security_headers

HASH = "'sha256-n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg='"


def policy_of(app: Flask, path: str = "/") -> dict[str, str]:
    """Return the policy that a response has, by directive."""
    header = security_headers(app, path).get("Content-Security-Policy", "")
    return dict(each.partition(" ")[::2] for each in header.split("; ") if each)


# Mistakes ----------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Any, str]] = {
    "keyword without quotes": ("default-src self", "write 'self' with its quotes"),
    "keyword without quotes in a list": ({"script-src": ["self"]}, "write 'self' with its quotes"),
    "keyword in double quotes": ({"script-src": ['"self"']}, "write 'self' with its quotes"),
    "nonce without quotes": ({"script-src": ["nonce"]}, "write 'nonce' with its quotes"),
    "hash without quotes": ({"script-src": [HASH.strip("'")]}, "with its quotes"),
    "misspelled keyword": ("script-src 'unsafe-inlin'", "did you mean \"'unsafe-inline'\""),
    "unknown keyword": ("script-src 'anything'", "is not a keyword"),
    "nonce written out": ("script-src 'nonce-abc123'", "the same on every response protects nothing"),
    "hash of the wrong length": ("script-src 'sha256-AAAA'", "is not a keyword"),
    "misspelled directive": ("defualt-src 'self'", "did you mean 'default-src'"),
    "misspelled directive in a mapping": ({"scripts-src": ["'self'"]}, "did you mean 'script-src'"),
    "unknown directive": ("plugin-types application/pdf", "is not a directive"),
    "directive that is not text": ({5: "'self'"}, "5 is not a directive"),
    "directive twice": ("img-src a.example; img-src b.example", "img-src twice"),
    "comma": ("default-src 'self', img-src *", "write ';' between directives"),
    "none beside others": ("default-src 'none' 'self'", "'none' allows nothing"),
    "no source": ("script-src; img-src *", "script-src names no source"),
    "empty list": ({"script-src": []}, "script-src names no source"),
    "several in one source": ({"script-src": ["'self' https://a.example"]}, "is not one source"),
    "semicolon in a source": ({"script-src": ["'self';"]}, "is not one source"),
    "number as a source": ({"script-src": [5]}, "is not one source"),
    "scheme without its colon": ("img-src https", "Write the scheme with its colon: https:"),
    "URL without its colon": ({"img-src": ["https//a.example"]}, "with its colon: https://a.example"),
    "nonce written out, without quotes": ("script-src nonce-abc123", "the same on every response protects nothing"),
    "url with a query": ("img-src https://a.example/?x", "is not a source"),
    "host with a wildcard in the middle": ("img-src cdn.*.example", "is not a source"),
    "value where there is none": ("upgrade-insecure-requests 1", "takes no sources"),
    "line end": ("default-src 'self'\nSet-Cookie: a=b", "cannot carry"),
    "line end in a mapping": ({"report-uri": ["/a\nb"]}, "is not one source"),
    "empty": ("", "must be a header value"),
    "number": (5, "must be a header value"),
}


@together(("policy", "fix"), WRONG.values())
@together("keyword", ["csp", "csp_report_only"])
def test_mistake_is_refused_with_the_right_spelling(policy: Any, fix: str, keyword: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s)secure_headers\({keyword}=…\).*") as refused:
        secure_headers(**{keyword: policy})

    assert fix in str(refused.value)


RIGHT = [
    "default-src 'self'; script-src 'self' https://cdn.example:8443/lib/ *.example.com; img-src data: blob: https:",
    f"script-src 'strict-dynamic' {HASH} 'unsafe-inline' https:; base-uri 'none'",
    "default-src *; connect-src wss://live.example http://localhost:* http://[::1]:5173; frame-src http://127.0.0.1",
    "sandbox allow-scripts allow-forms; report-uri https://reports.example/csp?site=7 /other; report-to csp",
    "sandbox; upgrade-insecure-requests; require-trusted-types-for 'script'; trusted-types default",
    "frame-ancestors 'none'; form-action 'self'; script-src-elem 'self' 'nonce'; style-src-attr 'unsafe-inline'",
    "default-src 'none'; worker-src blob:; child-src 'self'; manifest-src 'self'; script-src 'wasm-unsafe-eval'",
    "img-src localhost:5000 cdn under_score.example xn--bcher-kva.example android-app://x.y",
]


@pytest.mark.parametrize("policy", RIGHT)
def test_what_browsers_understand_is_taken(policy: str) -> None:
    assert str(parse_whole_csp(policy, "csp")) == policy


def test_names_and_keywords_may_have_any_case() -> None:
    assert str(parse_whole_csp("Default-Src 'SELF' CDN.example", "csp")) == "default-src 'self' CDN.example"


def test_mapping_may_give_sources_as_a_list_as_text_or_not_at_all() -> None:
    policy = {
        "script-src": ("'self'", nonce, strict_dynamic),
        "img-src": "'self' data:",
        "upgrade-insecure-requests": True,
    }

    written = str(parse_whole_csp(policy, "csp"))

    assert written == "script-src 'self' 'nonce' 'strict-dynamic'; img-src 'self' data:; upgrade-insecure-requests"


def test_names_in_a_mapping_may_have_underscores() -> None:
    assert str(parse_whole_csp({"script_src": "'self'", "img_src": ["*"]}, "csp")) == "script-src 'self'; img-src *"
    with pytest.raises(ConfigError, match="did you mean 'script-src'"):
        parse_csp("script_src 'self'", "csp")


def test_equal_policies_are_equal_however_they_are_written() -> None:
    assert parse_csp("img-src 'self'", "a") == parse_csp(" img-src   'self' ;", "b")
    assert secure_headers(csp={"img-src": "*"}) == secure_headers(csp={"img-src": ["*"]})
    assert repr(secure_headers(csp="img-src *")) == "secure_headers(csp='img-src *')"


# Laying one over another -------------------------------------------------------------------------------------------


def test_mapping_changes_the_preset_directive_by_directive(app: Flask) -> None:
    changes = {"script-src": ["'self'", "https://cdn.example"], "object-src": None, "font-src": "'self' data:"}
    app.add_url_rule("/", "index", lambda: "hello")
    Guard(app, policies=[secure_headers(csp=changes)])

    assert policy_of(app) == {
        "default-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "upgrade-insecure-requests": "",
        "script-src": "'self' https://cdn.example",
        "font-src": "'self' data:",
    }


OUTER: dict[str, Any] = {
    "nothing": {},
    "a mapping": {"csp": {"img-src": "https:", "font-src": "https:"}},
    "a whole policy": {"csp": "default-src 'self'; img-src https:; font-src https:"},
    "none": {"csp": None},
}
INNER: dict[str, dict[str, str]] = {
    "nothing": {"default-src": "'none'", "img-src": "*", "frame-ancestors": "'none'"},
    "a mapping": {"default-src": "'none'", "img-src": "*", "font-src": "https:", "frame-ancestors": "'none'"},
    "a whole policy": {"default-src": "'self'", "img-src": "*", "font-src": "https:"},
    "none": {"img-src": "*"},
}


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("preset", ["api", None])
def test_nearer_mapping_changes_what_is_in_force_around_it(app: Flask, outer: str, preset: Any) -> None:
    near = secure_headers(csp={"img-src": "*"}, **({"preset": preset} if preset else {}))
    blueprint = Blueprint("pages", __name__)
    blueprint.add_url_rule("/", "index", near(lambda: "hello"))
    secure_headers(**OUTER[outer])(blueprint)
    app.register_blueprint(blueprint)
    Guard(app, policies=[secure_headers("api")])

    policy = policy_of(app)

    assert {name: policy[name] for name in INNER[outer]} == INNER[outer]
    assert len(policy) == len(INNER[outer]) + (2 if outer in ("nothing", "a mapping") else 0)  # base-uri, form-action


def test_nearer_whole_policy_replaces_what_is_around_it(app: Flask) -> None:
    app.add_url_rule("/", "index", secure_headers(csp="img-src *")(lambda: "hello"))
    Guard(app, policies=[secure_headers(csp={"font-src": "https:"})])

    assert policy_of(app) == {"img-src": "*"}


def test_second_policy_stands_alone_also_as_a_mapping(app: Flask) -> None:
    app.add_url_rule(
        "/", "index", secure_headers(csp_report_only={"img-src": "'self'", "font-src": None})(lambda: "hi")
    )
    Guard(app)

    assert security_headers(app)["Content-Security-Policy-Report-Only"] == "img-src 'self'"


# Mistakes that show only in the whole --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "fix"),
    [
        (secure_headers(csp={"script-src": strict_dynamic}), "no script can run"),
        (secure_headers(csp="default-src 'self' 'strict-dynamic'"), "no script can run"),
        (secure_headers(csp={"report-to": "csp"}), "Write reporting_endpoints={'csp': '/csp-reports'}"),
        (secure_headers(csp={"report-to": "csp"}, reporting_endpoints={"other": "/x"}), "report-to names 'csp'"),
    ],
)
def test_policy_that_cannot_work_is_refused_before_it_is_served(app: Flask, policy: SecureHeaders, fix: str) -> None:
    app.add_url_rule("/", "index", policy(lambda: "hello"))
    guard = Guard(app)

    with pytest.raises(ConfigError, match=r"secure_headers at .*test_csp\.py:\d+: ") as refused:
        guard.plan_for("index")

    assert fix in str(refused.value)


def test_policy_may_report_to_an_endpoint_of_an_outer_scope(app: Flask) -> None:
    app.add_url_rule("/", "index", secure_headers(csp={"report-to": "csp"})(lambda: "hello"))
    Guard(app, policies=[secure_headers(reporting_endpoints={"csp": "/csp-reports"})])

    headers = security_headers(app)

    assert headers["Content-Security-Policy"].endswith("; report-to csp")
    assert headers["Reporting-Endpoints"] == 'csp="/csp-reports"'
