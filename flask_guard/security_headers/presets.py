"""The presets of `secure_headers`, and what OWASP's Secure Headers Project says to remove (its data of 2026-07-19)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NAMES: Mapping[str, str] = MappingProxyType(
    {
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
)
"""The header that each keyword of `secure_headers` sets."""

_NO_FEATURES = (
    "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), display-capture=(), encrypted-media=(),"
    " fullscreen=(), geolocation=(), gyroscope=(), keyboard-map=(), magnetometer=(), microphone=(), midi=(),"
    " payment=(), picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), sync-xhr=(self), usb=(),"
    " web-share=(), xr-spatial-tracking=(), clipboard-read=(), clipboard-write=(), gamepad=(), hid=(),"
    " idle-detection=(), interest-cohort=(), serial=(), unload=()"
)
_TWO_YEARS = "max-age=63072000; includeSubDomains"

PRESETS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "strict": {
            "csp": "default-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none';"
            " upgrade-insecure-requests",
            "hsts": _TWO_YEARS,
            "frame_options": "deny",
            "content_type_options": "nosniff",
            "referrer_policy": "no-referrer",
            "permissions_policy": _NO_FEATURES,
            "opener_policy": "same-origin",
            "embedder_policy": "require-corp",
            "resource_policy": "same-origin",
            "cache_control": "no-store, max-age=0",
            "dns_prefetch_control": "off",
            "cross_domain_policies": "none",
        },
        "api": {
            "csp": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "hsts": _TWO_YEARS,
            "frame_options": "deny",
            "content_type_options": "nosniff",
            "referrer_policy": "no-referrer",
            "resource_policy": "same-origin",
            "cache_control": "no-store",
            "cross_domain_policies": "none",
        },
        "relaxed": {
            "csp": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'self';"
            " form-action 'self'; object-src 'none'; frame-ancestors 'self'",
            "hsts": _TWO_YEARS,
            "frame_options": "sameorigin",
            "content_type_options": "nosniff",
            "referrer_policy": "strict-origin-when-cross-origin",
            "opener_policy": "same-origin-allow-popups",
            "resource_policy": "same-origin",
            "cross_domain_policies": "none",
        },
    }
)
"""``strict`` is OWASP's recommended set with the ``base-uri 'none'`` of ASVS 5.0 (3.4.3), but for Clear-Site-Data."""

REVEALING = frozenset(
    {
        "$wsep",
        "host-header",
        "k-proxy-request",
        "liferay-portal",
        "oraclecommercecloud-version",
        "pega-host",
        "powered-by",
        "product",
        "server",
        "sourcemap",
        "x-aspnet-version",
        "x-aspnetmvc-version",
        "x-atmosphere-error",
        "x-atmosphere-first-request",
        "x-atmosphere-tracking-id",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-spanid",
        "x-b3-traceid",
        "x-beserver",
        "x-backside-transport",
        "x-cf-powered-by",
        "x-cms",
        "x-calculatedbetarget",
        "x-cocoon-version",
        "x-content-encoded-by",
        "x-datadog-origin",
        "x-datadog-parent-id",
        "x-datadog-sampling-priority",
        "x-datadog-tags",
        "x-datadog-trace-id",
        "x-diaginfo",
        "x-envoy-attempt-count",
        "x-envoy-external-address",
        "x-envoy-internal",
        "x-envoy-original-dst-host",
        "x-envoy-upstream-service-time",
        "x-feserver",
        "x-framework",
        "x-generated-by",
        "x-generator",
        "x-gitlab-meta",
        "x-jitsi-release",
        "x-joomla-version",
        "x-kong-admin-latency",
        "x-kong-client-latency",
        "x-kong-proxy-latency",
        "x-kong-request-id",
        "x-kong-response-latency",
        "x-kong-third-party-latency",
        "x-kong-total-latency",
        "x-kong-upstream-latency",
        "x-kong-upstream-status",
        "x-kubernetes-pf-flowschema-ui",
        "x-kubernetes-pf-prioritylevel-uid",
        "x-litespeed-cache",
        "x-litespeed-purge",
        "x-litespeed-tag",
        "x-litespeed-vary",
        "x-litespeed-cache-control",
        "x-mod-pagespeed",
        "x-nextjs-cache",
        "x-nextjs-matched-path",
        "x-nextjs-page",
        "x-nextjs-redirect",
        "x-owa-version",
        "x-old-content-length",
        "x-oneagent-js-injection",
        "x-page-speed",
        "x-php-version",
        "x-powered-by",
        "x-powered-by-plesk",
        "x-powered-cms",
        "x-redirect-by",
        "x-server-powered-by",
        "x-sourcefiles",
        "x-sourcemap",
        "x-turbo-charged-by",
        "x-tyk-trace-id",
        "x-umbraco-version",
        "x-varnish-backend",
        "x-varnish-server",
        "x-woodpecker-version",
        "x-dtagentid",
        "x-dthealthcheck",
        "x-dtinjectedservlet",
        "x-ruxit-js-agent",
    }
)
"""Names (lower case) of headers that tell an attacker what serves the request."""
