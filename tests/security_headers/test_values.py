"""Values of `secure_headers`: each is checked where it is written, and a mistake is met with the right spelling."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_guard import ConfigError, secure_headers
from tests.cases import together

WRONG: list[tuple[str, Any, str]] = [
    ("hsts", "31536000", "write 31536000 without quotes, or 'max-age=31536000'"),
    ("hsts", "max-age", "needs max-age, in seconds"),
    ("hsts", "includeSubDomains", "needs max-age"),
    ("hsts", "max-age=one year", "needs max-age"),
    ("hsts", "max-age=60, includeSubDomains", "needs max-age"),
    ("hsts", "max-age=60; includeSubdomain", "did you mean 'includeSubDomains'"),
    ("hsts", "max-age=60; preload=1", "not 'preload'"),
    ("hsts", "max-age=60; includeSubDomains; preload", "at least 31536000 and includeSubDomains"),
    ("hsts", "max-age=63072000; preload", "at least 31536000 and includeSubDomains"),
    ("hsts", -1, "must be seconds"),
    ("hsts", True, "must be a header value"),
    ("frame_options", "ALLOWALL", "write frame_options=None to leave the header out"),
    ("frame_options", "ALLOW-FROM https://a.example", "Write csp={'frame-ancestors': ['https://…']}"),
    ("frame_options", "same-origin", "did you mean 'sameorigin'"),
    ("content_type_options", "no-sniff", "did you mean 'nosniff'"),
    ("referrer_policy", "no-referer", "did you mean 'no-referrer'"),
    ("referrer_policy", "sameorigin", "did you mean 'same-origin'"),
    ("referrer_policy", "no-referrer; origin", "must be one of"),
    ("permissions_policy", "camera 'none'", "Write camera=()"),
    ("permissions_policy", "camera=none", "Write camera=()"),
    ("permissions_policy", "camera=(); microphone=()", "with commas between"),
    ("permissions_policy", "camera=(https://a.example)", "with commas between"),
    ("permissions_policy", "camra=()", "did you mean 'camera'"),
    ("permissions_policy", {"geo-location": ()}, "did you mean 'geolocation'"),
    ("permissions_policy", {"camera": "none at all"}, "camera"),
    ("opener_policy", "sameorigin", "did you mean 'same-origin'"),
    ("opener_policy", 'same-origin; report="x"', "must be one of"),
    ("embedder_policy", "require-cors", "did you mean 'require-corp'"),
    ("resource_policy", "cross_origin", "did you mean 'cross-origin'"),
    ("origin_agent_cluster", "1", "must be True or False"),
    ("cache_control", "nostore", "did you mean 'no-store'"),
    ("cache_control", "no-store; max-age=0", "is not a directive"),
    ("cache_control", "max-age", "needs a number of seconds, such as max-age=60"),
    ("cache_control", "max-age=1h", "needs a number of seconds"),
    ("clear_site_data", "cache", "each has double quotes"),
    ("clear_site_data", ["cookie"], "did you mean 'cookies'"),
    ("clear_site_data", '"cache";"cookies"', "takes 'cache'"),
    ("reporting_endpoints", {"csp": "http://reports.example/csp"}, "browsers report over https"),
    ("reporting_endpoints", {"csp": "csp-reports"}, "or to a path such as '/csp-reports'"),
    ("reporting_endpoints", {"CSP": "/csp-reports"}, "is not a name and a URL"),
    ("reporting_endpoints", "csp=/csp-reports", "Write {'csp': '/csp-reports'}"),
    ("dns_prefetch_control", "of", "did you mean 'off'"),
    ("dns_prefetch_control", False, "must be a header value"),
    ("cross_domain_policies", "non", "did you mean 'none'"),
    ("download_options", "no-open", "did you mean 'noopen'"),
    ("xss_protection", "1; mode=block", "must be one of '0'"),
    ("xss_protection", False, "must be a header value"),
    ("remove", ["X Powered By"], "is not a name"),
    ("https_redirect", "yes", "must be True or False"),
    ("session_cookie", "None", "must be one of 'Lax', 'Strict'"),
    ("mode", "report-only", "must be one of"),
]


@together(("keyword", "value", "fix"), WRONG)
def test_value_that_browsers_would_ignore_is_refused_with_the_fix(keyword: str, value: Any, fix: str) -> None:
    with pytest.raises(ConfigError, match=rf"secure_headers\({keyword}=…\)") as refused:
        secure_headers(**{keyword: value})

    assert fix in str(refused.value)


RIGHT: list[tuple[str, Any, str]] = [
    ("hsts", 31_536_000, "max-age=31536000"),
    ("hsts", timedelta(days=1), "max-age=86400"),
    ("hsts", 0, "max-age=0"),
    ("hsts", "max-age=63072000; IncludeSubdomains; preload", "max-age=63072000; IncludeSubdomains; preload"),
    ("hsts", 'max-age="60"', 'max-age="60"'),
    ("frame_options", "DENY", "deny"),
    ("referrer_policy", "no-referrer, strict-origin-when-cross-origin", "no-referrer, strict-origin-when-cross-origin"),
    ("permissions_policy", 'camera=(self "https://a.example"), usb=*', 'camera=(self "https://a.example"), usb=*'),
    ("permissions_policy", {"camera": ["self", "https://a.example"], "usb": (), "midi": "*", "hid": "self"},
     'camera=(self "https://a.example"), usb=(), midi=*, hid=(self)'),
    ("permissions_policy", "some-new-thing=()", "some-new-thing=()"),
    ("opener_policy", 'same-origin; report-to="coop"', 'same-origin; report-to="coop"'),
    ("origin_agent_cluster", True, "?1"),
    ("origin_agent_cluster", False, "?0"),
    ("origin_agent_cluster", "?1", "?1"),
    ("cache_control", "public, max-age=300, immutable", "public, max-age=300, immutable"),
    ("cache_control", "no-store, vendor-extension=1", "no-store, vendor-extension=1"),
    ("clear_site_data", ["cache", "cookies"], '"cache", "cookies"'),
    ("clear_site_data", '"cache","storage"', '"cache","storage"'),
    ("clear_site_data", '"*"', '"*"'),
    ("reporting_endpoints", {"csp": "/csp-reports", "other": "https://reports.example/x?site=7"},
     'csp="/csp-reports", other="https://reports.example/x?site=7"'),
    ("reporting_endpoints", 'csp="http://localhost:5000/csp"', 'csp="http://localhost:5000/csp"'),
    ("xss_protection", 0, "0"),
    ("xss_protection", "0", "0"),
]  # fmt: skip


@together(("keyword", "value", "sent"), RIGHT)
def test_value_is_taken_in_each_form_and_sent_in_one(keyword: str, value: Any, sent: str) -> None:
    assert getattr(secure_headers(**{keyword: value}), keyword) == sent


def test_names_of_headers_to_remove_may_have_any_case() -> None:
    assert secure_headers(remove=["X-Powered-By", "server", "Server"]).remove == ("server", "x-powered-by")
