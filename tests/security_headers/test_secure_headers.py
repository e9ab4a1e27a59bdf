"""`secure_headers`: which headers go out, who has the last word on each, and what is taken out."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort, send_file

from flask_guard import ConfigError, Guard, SecureHeaders, exempt, secure_headers

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

KEYWORDS = {
    "csp": "Content-Security-Policy",
    "csp_report_only": "Content-Security-Policy-Report-Only",
    "hsts": "Strict-Transport-Security",
    "frame_options": "X-Frame-Options",
    "content_type_options": "X-Content-Type-Options",
    "referrer_policy": "Referrer-Policy",
    "permissions_policy": "Permissions-Policy",
    "opener_policy": "Cross-Origin-Opener-Policy",
    "embedder_policy": "Cross-Origin-Embedder-Policy",
    "resource_policy": "Cross-Origin-Resource-Policy",
    "cache_control": "Cache-Control",
    "clear_site_data": "Clear-Site-Data",
    "reporting_endpoints": "Reporting-Endpoints",
    "dns_prefetch_control": "X-DNS-Prefetch-Control",
    "cross_domain_policies": "X-Permitted-Cross-Domain-Policies",
}
every_keyword = pytest.mark.parametrize(("keyword", "header"), KEYWORDS.items())

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
    assert "Permissions-Policy" not in headers


def test_relaxed_lets_pages_load_their_own_scripts_and_styles(app: Flask) -> None:
    headers = security_headers(serve(app, secure_headers("relaxed")))

    policy = dict(each.split(" ", 1) for each in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["style-src"] == "'self' 'unsafe-inline'"
    assert "'unsafe-inline'" not in policy.get("script-src", "")
    assert policy["object-src"] == "'none'"
    assert headers["X-Frame-Options"] == "sameorigin"
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
def test_keyword_sets_its_header_and_touches_no_other(app: Flask, keyword: str, header: str) -> None:
    headers = security_headers(serve(app, secure_headers(**{keyword: "chosen"})))

    assert headers == {**OWASP_STRICT, header: "chosen"}


@every_keyword
def test_none_leaves_the_header_out(app: Flask, keyword: str, header: str) -> None:
    headers = security_headers(serve(app, secure_headers(**{keyword: None})))

    assert headers == {name: value for name, value in OWASP_STRICT.items() if name != header}


def test_refined_policy_keeps_what_it_was_refined_from(app: Flask) -> None:
    strict = secure_headers("strict", csp="default-src 'none'")

    headers = security_headers(serve(app, strict(frame_options=None)))

    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert "X-Frame-Options" not in headers
    assert strict == secure_headers("strict", csp="default-src 'none'")


@every_keyword
@pytest.mark.parametrize(
    "value",
    ["", " ", "a\nb", "a\r\nSet-Cookie: b", "a\x00b", "a\x7fb", "a\x85b", "a\u2028b", "€", 5, True, b"bytes", ["list"]],
)
def test_value_that_a_header_cannot_carry_is_refused(keyword: str, header: str, value: Any) -> None:
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
    "frame_options_allow_from": "browsers ignore it: write csp='frame-ancestors",
}


@pytest.mark.parametrize(("option", "hint"), TALISMAN.items())
def test_option_of_talisman_is_a_type_error_that_says_what_to_write(option: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"has no option '{option}'; {hint}"):
        secure_headers(**{option: "x"})


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


def test_nearer_preset_starts_afresh_from_that_preset(app: Flask) -> None:
    app.add_url_rule("/", "index", secure_headers("api")(lambda: "hello"))
    app.add_url_rule("/bare", "bare", secure_headers(lambda: "hello"))
    Guard(app, policies=[secure_headers("relaxed", referrer_policy="origin")])

    assert security_headers(app)["Referrer-Policy"] == "no-referrer"
    assert security_headers(app, "/bare")["Referrer-Policy"] == "origin"
    assert security_headers(app, "/bare")["X-Frame-Options"] == "sameorigin"


def test_exempt_view_has_none(app: Flask) -> None:
    app.add_url_rule("/", "index", exempt(secure_headers)(lambda: "hello"))
    Guard(app, policies=[secure_headers])

    assert security_headers(app) == {}


@every_keyword
def test_header_that_the_view_set_itself_wins(app: Flask, keyword: str, header: str) -> None:
    app.add_url_rule("/", "index", lambda: ("hello", {header.lower(): "the view's"}))
    Guard(app, policies=[secure_headers(**{keyword: "ours"})])

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


# Https -----------------------------------------------------------------------------------------------------------


def test_hsts_goes_out_over_https_only(app: Flask) -> None:
    serve(app, secure_headers)

    plain = security_headers(app, base="http://localhost")

    expected = {name: value for name, value in OWASP_STRICT.items() if name != "Strict-Transport-Security"}
    assert plain == expected


def test_forwarded_scheme_is_not_believed(app: Flask) -> None:
    serve(app, secure_headers)

    response = app.test_client().get("/", headers={"X-Forwarded-Proto": "https", "Forwarded": "proto=https"})

    assert "Strict-Transport-Security" not in response.headers


# What is taken out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["Server", "X-Powered-By", "x-powered-by", "X-AspNet-Version", "X-Generator", "SourceMap", "X-B3-TraceId", "$wsep"],
)
def test_revealing_header_of_a_view_is_removed(app: Flask, header: str) -> None:
    app.add_url_rule("/", "index", lambda: ("hello", [(header, "Shop/1.0"), (header, "again"), ("X-Own", "kept")]))
    Guard(app, policies=[secure_headers])

    response = app.test_client().get("/", base_url=HTTPS)

    assert header not in response.headers
    assert response.headers["X-Own"] == "kept"
    assert response.headers["X-Frame-Options"] == "deny"


def test_docstring_says_that_a_server_may_add_its_own_name() -> None:
    assert "Server" in str(SecureHeaders.__doc__)
