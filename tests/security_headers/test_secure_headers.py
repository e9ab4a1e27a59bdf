"""`secure_headers`: the headers that go out, their order of precedence, and the headers that are taken out."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort, send_file

from flask_guard import (
    ConfigError,
    Guard,
    SecureHeaders,
    exempt,
    secure_headers,
)
from tests.cases import together

OWASP_STRICT = {
    "Cache-Control": "no-store, max-age=0",
    "Content-Security-Policy": (
        "default-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; "
        "upgrade-insecure-requests"
    ),
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), display-capture=(), encrypted-media=(), "
        "fullscreen=(), geolocation=(), gyroscope=(), keyboard-map=(), magnetometer=(), microphone=(), midi=(), "
        "payment=(), picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), sync-xhr=(self), "
        "usb=(), web-share=(), xr-spatial-tracking=(), clipboard-read=(), clipboard-write=(), gamepad=(), hid=(), "
        "idle-detection=(), interest-cohort=(), serial=(), unload=()"
    ),
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "X-Frame-Options": "deny",
    "X-Permitted-Cross-Domain-Policies": "none",
}
"""What OWASP's Secure Headers Project recommends, with ASVS 5.0's stricter base-uri and without Clear-Site-Data."""

KEYWORDS: dict[str, tuple[str, Any]] = {
    "csp": ("Content-Security-Policy", "default-src https:"),
    "csp_report_only": ("Content-Security-Policy-Report-Only", "default-src https:"),
    "hsts": ("Strict-Transport-Security", "max-age=60"),
    "frame_options": ("X-Frame-Options", "sameorigin"),
    "content_type_options": ("X-Content-Type-Options", "nosniff"),
    "referrer_policy": ("Referrer-Policy", "origin"),
    "permissions_policy": ("Permissions-Policy", "camera=(self)"),
    "document_policy": ("Document-Policy", "js-profiling"),
    "opener_policy": ("Cross-Origin-Opener-Policy", "unsafe-none"),
    "opener_policy_report_only": ("Cross-Origin-Opener-Policy-Report-Only", 'same-origin; report-to="coop"'),
    "embedder_policy": ("Cross-Origin-Embedder-Policy", "credentialless"),
    "embedder_policy_report_only": ("Cross-Origin-Embedder-Policy-Report-Only", "require-corp"),
    "resource_policy": ("Cross-Origin-Resource-Policy", "same-site"),
    "origin_agent_cluster": ("Origin-Agent-Cluster", "?1"),
    "cache_control": ("Cache-Control", "max-age=60"),
    "clear_site_data": ("Clear-Site-Data", '"cache"'),
    "reporting_endpoints": ("Reporting-Endpoints", 'csp="/csp-reports"'),
    "dns_prefetch_control": ("X-DNS-Prefetch-Control", "on"),
    "cross_domain_policies": ("X-Permitted-Cross-Domain-Policies", "master-only"),
    "download_options": ("X-Download-Options", "noopen"),
    "xss_protection": ("X-XSS-Protection", "0"),
}
every_keyword = pytest.mark.parametrize("keyword", KEYWORDS)

HTTPS = "https://localhost"
ORDINARY = {"Content-Type", "Content-Length"}


def security_headers(app: Flask, path: str = "/", base: str = HTTPS, method: str = "GET") -> dict[str, str]:
    """Return what the response to a request carries beside the ordinary headers, none of it twice."""
    response = app.test_client().open(path, base_url=base, method=method)
    found = [(name, value) for name, value in response.headers if name not in ORDINARY | {"Allow"}]
    assert len({name.lower() for name, _ in found}) == len(found)
    return dict(found)


def serve(app: Flask, policy: SecureHeaders) -> Flask:
    app.add_url_rule("/", "index", policy(lambda: "hello"))
    Guard(app)
    return app


# Presets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [secure_headers, secure_headers(), secure_headers("strict")])
def test_strict_is_what_owasp_recommends(app: Flask, policy: SecureHeaders) -> None:
    assert security_headers(serve(app, policy)) == OWASP_STRICT


def test_why_strict_leaves_clear_site_data_out_is_documented() -> None:
    assert "Clear-Site-Data" in str(SecureHeaders.__doc__)


def test_api_lets_nothing_be_loaded_framed_cached_or_sniffed(app: Flask) -> None:
    headers = security_headers(serve(app, secure_headers("api")))

    policy = set(headers["Content-Security-Policy"].split("; "))
    assert {"default-src 'none'", "frame-ancestors 'none'"} <= policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Strict-Transport-Security"] == OWASP_STRICT["Strict-Transport-Security"]
    assert "camera=()" in headers["Permissions-Policy"]


def test_relaxed_lets_pages_load_from_https_and_run_their_own_scripts(app: Flask) -> None:
    headers = security_headers(serve(app, secure_headers("relaxed")))

    policy = dict(each.partition(" ")[::2] for each in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self' 'unsafe-inline' https:"
    assert policy["img-src"] == "'self' data: https:"
    assert policy["object-src"] == "'none'"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["X-Frame-Options"] == "sameorigin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "Cache-Control" not in headers
    assert "Cross-Origin-Embedder-Policy" not in headers


@pytest.mark.parametrize("path", ["/", "/403", "/500", "/nowhere", "/made"])
def test_every_response_carries_them(app: Flask, path: str) -> None:
    app.add_url_rule("/", "index", lambda: "hello")
    app.add_url_rule("/403", "forbidden", lambda: abort(403))
    app.add_url_rule("/500", "broken", lambda: str(1 / 0))
    app.add_url_rule("/made", "made", lambda: Response("made", 201))
    Guard(app, policies=[secure_headers])

    assert security_headers(app, path) == OWASP_STRICT
    assert security_headers(app, path, method="OPTIONS") == OWASP_STRICT


# Keywords --------------------------------------------------------------------------------------------------------


@every_keyword
def test_keyword_sets_its_header_and_touches_no_other(app: Flask, keyword: str) -> None:
    header, value = KEYWORDS[keyword]

    headers = security_headers(serve(app, secure_headers(**{keyword: value})))

    assert headers == {**OWASP_STRICT, header: value}


@every_keyword
def test_none_leaves_the_header_out(app: Flask, keyword: str) -> None:
    header, _ = KEYWORDS[keyword]

    left_out: dict[str, Any] = {keyword: None}
    headers = security_headers(serve(app, secure_headers(**left_out)))

    assert headers == {name: value for name, value in OWASP_STRICT.items() if name != header}


def test_refined_policy_keeps_what_it_was_refined_from(app: Flask) -> None:
    strict = secure_headers("strict", csp="default-src 'none'")

    headers = security_headers(serve(app, strict(frame_options=None)))

    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert "X-Frame-Options" not in headers
    assert strict == secure_headers("strict", csp="default-src 'none'")


@every_keyword
@together(
    "value",
    ["", " ", "a\nb", "a\r\nSet-Cookie: b", "a\x00b", "a\x7fb", "a\x85b", "a\u2028b", "€", -5, 1.5, b"bytes", ["list"]],
)
def test_value_that_a_header_cannot_carry_is_refused(keyword: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"secure_headers\({keyword}=…\)"):
        secure_headers(**{keyword: value})


def test_unknown_preset_is_refused_with_a_hint() -> None:
    with pytest.raises(
        ConfigError,
        match=r"preset=…\) must be one of 'strict', 'api', 'relaxed', not 'strickt'; did you mean 'strict'\?",
    ):
        secure_headers("strickt")  # type: ignore[call-overload]


TALISMAN = {
    "content_security_policy": "write csp=…",
    "strict_transport_security": "write hsts=…",
    "strict_transport_security_preload": "write hsts='max-age=63072000; includeSubDomains; preload'",
    "feature_policy": "write permissions_policy=…",
    "frame_options_allow_from": "browsers ignore it: write csp={'frame-ancestors'",
    "force_https": "write https_redirect=…",
    "session_cookie_secure": "write session_cookie='Lax'",
    "content_security_policy_nonce_in": r"write csp={'script-src': \[\"'self'\", nonce\]}",
    "content_security_policy_report_only": "write mode='report'",
}


@pytest.mark.parametrize(("option", "hint"), TALISMAN.items())
def test_option_of_talisman_is_a_type_error_that_says_what_to_write(option: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"has no option '{option}'; {hint}"):
        secure_headers(**{option: "x"})  # type: ignore[call-overload]


def test_unknown_keyword_is_a_type_error_with_a_hint() -> None:
    with pytest.raises(TypeError, match="'frame_option'; did you mean 'frame_options'"):
        secure_headers(frame_option="deny")  # type: ignore[call-overload]


# Who has the last word -------------------------------------------------------------------------------------------


def test_scopes_merge_header_by_header(app: Flask) -> None:
    outer = secure_headers(referrer_policy="same-origin", csp=None)(Blueprint("outer", __name__, url_prefix="/outer"))
    inner = secure_headers(frame_options="sameorigin")(Blueprint("inner", __name__, url_prefix="/inner"))
    inner.add_url_rule("/", "view", secure_headers(csp="default-src https:")(lambda: "hello"))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    Guard(app, policies=[secure_headers(opener_policy="unsafe-none")])

    assert security_headers(app, "/outer/inner/") == {
        **OWASP_STRICT,
        "Cross-Origin-Opener-Policy": "unsafe-none",
        "Referrer-Policy": "same-origin",
        "X-Frame-Options": "sameorigin",
        "Content-Security-Policy": "default-src https:",
    }


def test_nearer_preset_never_undoes_a_header_that_an_outer_scope_named(app: Flask) -> None:
    app.add_url_rule("/", "index", secure_headers("api", frame_options=None)(lambda: "hello"))
    app.add_url_rule("/bare", "bare", secure_headers(lambda: "hello"))
    Guard(app, policies=[secure_headers("relaxed", hsts=60, referrer_policy="origin", frame_options="sameorigin")])

    index, bare = security_headers(app), security_headers(app, "/bare")

    assert (index["Strict-Transport-Security"], index["Referrer-Policy"]) == ("max-age=60", "origin")
    assert index["Content-Security-Policy"].startswith("default-src 'none'")
    assert "X-Frame-Options" not in index
    assert (bare["Strict-Transport-Security"], bare["X-Frame-Options"]) == ("max-age=60", "sameorigin")
    assert bare["Content-Security-Policy"].startswith("default-src 'self'; script-src 'self'")


@pytest.mark.parametrize("nearer", ["api", "relaxed", "strict"])
@pytest.mark.parametrize("outer", ["api", "relaxed", "strict"])
def test_promise_of_https_that_the_app_names_holds_below_every_preset(app: Flask, outer: Any, nearer: Any) -> None:
    app.add_url_rule("/", "index", secure_headers(nearer)(lambda: "hello"))
    app.add_url_rule("/named", "named", secure_headers(nearer, hsts=60)(lambda: "hello"))
    Guard(app, policies=[secure_headers(outer, hsts=3600)])

    assert security_headers(app)["Strict-Transport-Security"] == "max-age=3600"
    assert security_headers(app, "/named")["Strict-Transport-Security"] == "max-age=60"


def test_header_that_an_outer_scope_leaves_out_stays_out_under_a_nearer_preset(app: Flask) -> None:
    app.add_url_rule("/", "index", secure_headers("strict")(lambda: "hello"))
    Guard(app, policies=[secure_headers(hsts=None, csp=None)])

    headers = security_headers(app)

    assert "Strict-Transport-Security" not in headers
    assert "Content-Security-Policy" not in headers


def test_exempt_view_has_none(app: Flask) -> None:
    app.add_url_rule("/", "index", exempt(secure_headers)(lambda: "hello"))
    Guard(app, policies=[secure_headers])

    assert security_headers(app) == {}


@every_keyword
def test_header_that_the_view_set_itself_wins(app: Flask, keyword: str) -> None:
    header, value = KEYWORDS[keyword]
    app.add_url_rule("/", "index", lambda: ("hello", {header.lower(): "the view's"}))
    Guard(app, policies=[secure_headers(**{keyword: value})])

    response = app.test_client().get("/", base_url=HTTPS)

    assert response.headers.getlist(header) == ["the view's"]
    assert response.headers["X-Content-Type-Options"] in ("nosniff", "the view's")


def test_cache_headers_of_a_sent_file_win(app: Flask) -> None:
    app.add_url_rule("/", "index", lambda: send_file(__file__, max_age=60))
    Guard(app, policies=[secure_headers])

    with app.test_client().get("/", base_url=HTTPS) as response:
        assert "max-age=60" in response.headers["Cache-Control"]
        assert response.headers["X-Frame-Options"] == "deny"


def test_policy_of_one_app_does_not_leak_into_another() -> None:
    blueprint = Blueprint("pages", __name__)
    blueprint.add_url_rule("/", "index", secure_headers(csp="default-src https:")(lambda: "hello"))
    apps = [Flask("first"), Flask("second")]
    for each, outer in zip(apps, ["origin", "same-origin"], strict=True):
        Guard(each, policies=[secure_headers(referrer_policy=outer)])
        each.register_blueprint(blueprint)

    assert [security_headers(each)["Referrer-Policy"] for each in apps] == ["origin", "same-origin"]
    assert {security_headers(each)["Content-Security-Policy"] for each in apps} == {"default-src https:"}


# What is taken out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["Server", "X-Powered-By", "x-powered-by", "X-AspNet-Version", "X-Generator", "$wsep"],
)
def test_revealing_header_of_a_view_is_removed(app: Flask, header: str) -> None:
    app.add_url_rule("/", "index", lambda: ("hello", [(header, "Shop/1.0"), (header, "again"), ("X-Own", "kept")]))
    Guard(app, policies=[secure_headers])

    response = app.test_client().get("/", base_url=HTTPS)

    assert header not in response.headers
    assert response.headers["X-Own"] == "kept"
    assert response.headers["X-Frame-Options"] == "deny"


@pytest.mark.parametrize("header", ["SourceMap", "X-SourceMap", "X-B3-TraceId", "X-Datadog-Trace-Id", "X-Tyk-Trace-Id"])
def test_tracing_headers_and_source_maps_that_a_view_set_stay(app: Flask, header: str) -> None:
    app.add_url_rule("/", "index", lambda: ("hello", {header: "set on purpose"}))
    Guard(app, policies=[secure_headers])

    assert app.test_client().get("/").headers[header] == "set on purpose"


def test_headers_to_remove_can_be_chosen(app: Flask) -> None:
    app.add_url_rule("/", "index", lambda: ("hello", {"X-Powered-By": "Shop", "X-Internal": "7"}))
    app.add_url_rule("/all", "all", secure_headers(remove=())(lambda: ("hello", {"X-Powered-By": "Shop"})))
    Guard(app, policies=[secure_headers(remove="X-Internal")])
    client = app.test_client()

    assert client.get("/").headers.get("X-Powered-By") == "Shop"
    assert "X-Internal" not in client.get("/").headers
    assert client.get("/all").headers.get("X-Powered-By") == "Shop"


def test_docstring_says_that_a_server_may_add_its_own_name() -> None:
    assert "Server" in str(SecureHeaders.__doc__)
