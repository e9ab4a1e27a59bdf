"""The presets of `secure_headers`, and the headers that it removes.

Both go by OWASP's Secure Headers Project (its data of 2026-07-19) and ASVS 5.0. Why each header is there:

- ``Content-Security-Policy``: what a page may load and run. A script that an attacker gets into a page does not run
  (ASVS 3.4.3), the page cannot be framed (3.4.6), and forms cannot be sent elsewhere.
- ``Strict-Transport-Security``: browsers use https only from the first visit on (3.4.1).
- ``X-Content-Type-Options``: browsers do not guess types, so an upload cannot turn into a script (3.4.4).
- ``Referrer-Policy``: other sites do not learn the paths and queries of this one (3.4.5).
- ``X-Frame-Options``: the same as ``frame-ancestors``, for old browsers.
- ``Cross-Origin-Opener-Policy``: pages that open this one, or are opened by it, get no hold of it (3.4.8).
- ``Cross-Origin-Embedder-Policy``: a page loads nothing from others that does not agree to it (``strict`` alone).
- ``Cross-Origin-Resource-Policy``: pages of other origins cannot embed the response. ``cross-origin`` where a `cors`
  opens the endpoint to everybody.
- ``Permissions-Policy``: camera, location and so on are off, for the page and for what it embeds.
- ``Cache-Control``: nothing is kept on disk or by a proxy. ``relaxed`` leaves caching to the app, but for answers to
  callers that have authenticated.
- ``X-DNS-Prefetch-Control``, ``X-Permitted-Cross-Domain-Policies``: for old browsers and plugins.

Chromium does not know one word of OWASP's Permissions-Policy on every system, ``web-share``. ``strict`` follows OWASP,
so Chromium may say so on the console. The other presets have only words that Chromium knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .csp import parse_csp

NAMES: Mapping[str, str] = {
    "csp": "Content-Security-Policy",
    "csp_report_only": "Content-Security-Policy-Report-Only",
    "hsts": "Strict-Transport-Security",
    "frame_options": "X-Frame-Options",
    "content_type_options": "X-Content-Type-Options",
    "referrer_policy": "Referrer-Policy",
    "permissions_policy": "Permissions-Policy",
    "document_policy": "Document-Policy",
    "opener_policy": "Cross-Origin-Opener-Policy",
    "opener_policy_report_only": "Cross-Origin-Opener-Policy-Report-Only",
    "embedder_policy": "Cross-Origin-Embedder-Policy",
    "embedder_policy_report_only": "Cross-Origin-Embedder-Policy-Report-Only",
    "resource_policy": "Cross-Origin-Resource-Policy",
    "origin_agent_cluster": "Origin-Agent-Cluster",
    "cache_control": "Cache-Control",
    "clear_site_data": "Clear-Site-Data",
    "reporting_endpoints": "Reporting-Endpoints",
    "dns_prefetch_control": "X-DNS-Prefetch-Control",
    "cross_domain_policies": "X-Permitted-Cross-Domain-Policies",
    "download_options": "X-Download-Options",
    "xss_protection": "X-XSS-Protection",
}
"""The header that each keyword of `secure_headers` sets."""

_OWASP_FEATURES = (
    "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), display-capture=(), encrypted-media=(),"
    " fullscreen=(), geolocation=(), gyroscope=(), keyboard-map=(), magnetometer=(), microphone=(), midi=(),"
    " payment=(), picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), sync-xhr=(self), usb=(),"
    " web-share=(), xr-spatial-tracking=(), clipboard-read=(), clipboard-write=(), gamepad=(), hid=(),"
    " idle-detection=(), interest-cohort=(), serial=(), unload=()"
)
_SENSITIVE_FEATURES = (
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(),"
    " local-fonts=(), magnetometer=(), microphone=(), midi=(), serial=(), usb=(), xr-spatial-tracking=()"
)
_TWO_YEARS = "max-age=63072000; includeSubDomains"


def _policy(text: str) -> Any:
    return parse_csp(text, "a preset")


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "strict": {
        "csp": _policy(
            "default-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none';"
            " upgrade-insecure-requests"
        ),
        "hsts": _TWO_YEARS,
        "frame_options": "deny",
        "content_type_options": "nosniff",
        "referrer_policy": "no-referrer",
        "permissions_policy": _OWASP_FEATURES,
        "opener_policy": "same-origin",
        "embedder_policy": "require-corp",
        "resource_policy": "same-origin",
        "cache_control": "no-store, max-age=0",
        "dns_prefetch_control": "off",
        "cross_domain_policies": "none",
    },
    "api": {
        "csp": _policy("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        "hsts": _TWO_YEARS,
        "frame_options": "deny",
        "content_type_options": "nosniff",
        "referrer_policy": "no-referrer",
        "permissions_policy": _SENSITIVE_FEATURES,
        "resource_policy": "same-origin",
        "cache_control": "no-store",
        "cross_domain_policies": "none",
    },
    "relaxed": {
        "csp": _policy(
            "default-src 'self'; script-src 'self' 'nonce'; style-src 'self' 'unsafe-inline' https:;"
            " img-src 'self' data: https:; font-src 'self' data: https:; media-src 'self' https:;"
            " connect-src 'self' https:; frame-src 'self' https:; base-uri 'self'; form-action 'self';"
            " object-src 'none'; frame-ancestors 'self'; upgrade-insecure-requests"
        ),
        "hsts": "max-age=31536000",
        "frame_options": "sameorigin",
        "content_type_options": "nosniff",
        "referrer_policy": "strict-origin-when-cross-origin",
        "permissions_policy": _SENSITIVE_FEATURES,
        "opener_policy": "same-origin-allow-popups",
        "resource_policy": "same-origin",
        "cross_domain_policies": "none",
    },
}
"""``strict`` is OWASP's recommended set, with the ``base-uri 'none'`` of ASVS 5.0 and without Clear-Site-Data.

``relaxed`` promises https for a year and for this host alone: subdomains that others run may not have it.
"""

REVEALING = frozenset({
    "$wsep", "host-header", "k-proxy-request", "liferay-portal", "oraclecommercecloud-version", "pega-host",
    "powered-by", "product", "server", "x-aspnet-version", "x-aspnetmvc-version", "x-atmosphere-error",
    "x-atmosphere-first-request", "x-atmosphere-tracking-id", "x-beserver", "x-backside-transport",
    "x-cf-powered-by", "x-cms", "x-calculatedbetarget", "x-cocoon-version", "x-content-encoded-by", "x-diaginfo",
    "x-envoy-attempt-count", "x-envoy-external-address", "x-envoy-internal", "x-envoy-original-dst-host",
    "x-envoy-upstream-service-time", "x-feserver", "x-framework", "x-generated-by", "x-generator", "x-gitlab-meta",
    "x-jitsi-release", "x-joomla-version", "x-kong-admin-latency", "x-kong-client-latency", "x-kong-proxy-latency",
    "x-kong-response-latency", "x-kong-third-party-latency", "x-kong-total-latency", "x-kong-upstream-latency",
    "x-kong-upstream-status", "x-kubernetes-pf-flowschema-ui", "x-kubernetes-pf-prioritylevel-uid",
    "x-litespeed-cache", "x-litespeed-purge", "x-litespeed-tag", "x-litespeed-vary", "x-litespeed-cache-control",
    "x-mod-pagespeed", "x-nextjs-cache", "x-nextjs-matched-path", "x-nextjs-page", "x-nextjs-redirect",
    "x-owa-version", "x-old-content-length", "x-oneagent-js-injection", "x-page-speed", "x-php-version",
    "x-powered-by", "x-powered-by-plesk", "x-powered-cms", "x-redirect-by", "x-server-powered-by", "x-sourcefiles",
    "x-turbo-charged-by", "x-umbraco-version", "x-varnish-backend", "x-varnish-server", "x-woodpecker-version",
    "x-dtagentid", "x-dthealthcheck", "x-dtinjectedservlet", "x-ruxit-js-agent",
})  # fmt: skip
"""Names of headers (lower case) that tell an attacker what serves the request: OWASP's list.

Tracing headers and source maps are on that list too. They are left alone, as an app sets them on purpose.
"""
