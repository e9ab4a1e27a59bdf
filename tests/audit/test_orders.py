"""Each option of each policy says in which direction it is weaker."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from flask_guard import (
    JWT,
    ban,
    cache,
    compress,
    cors,
    limit,
    log_timing,
    metrics,
    require_api_key,
    require_auth,
    require_request,
    same_origin,
    secure_headers,
)
from flask_guard.audit.changes import changes
from flask_guard.concerns import built_in_policies
from flask_guard.support.options import orders_of
from tests.audit.locks import SITE, app_with, compared, kinds
from tests.cases import together

pytestmark = pytest.mark.slow

BUILT_IN: dict[str, Any] = {policy.name: type(policy) for policy in built_in_policies()}
OTHER = "https://admin.example.com"
SECRET = "a secret of at least thirty-two bytes"


def basic(username: str, password: str) -> None: ...
def other_basic(username: str, password: str) -> None: ...
def bearer(token: str) -> None: ...
def session() -> None: ...
def sometimes(request: Any) -> bool:
    return True


# The direction of each option -----------------------------------------------------------------------------------------

auth = require_auth(basic=basic)
token = JWT(SECRET)
once = limit("10/minute")
at_once = limit.concurrent(4)
banned = ban(after="10/minute")
site, page = cors(origins=SITE), secure_headers
form = require_request(https=True)
CSP = "default-src 'self' https://cdn.example; object-src 'none'; base-uri 'none'"

STRONGER: list[tuple[str, Any, Any]] = [
    ("require_api_key.mode", require_api_key(mode="report"), require_api_key),
    ("cache.control", cache("public, max-age=60"), cache("max-age=60")),
    ("cache.control", cache("max-age=60"), cache("private, max-age=60")),
    ("cache.control", cache("private"), cache("no-store")),
    ("compress.force", compress(force=True), compress),
    ("cache.for_everyone", cache("public", for_everyone=True), cache("public")),
    ("require_api_key.scopes", require_api_key(scopes="a"), require_api_key(scopes=["a", "b"])),
    ("require_api_key.any_scope", require_api_key(any_scope=["a", "b"]), require_api_key(any_scope="a")),
    ("require_api_key.any_scope", require_api_key, require_api_key(any_scope=["a", "b"])),
    ("require_api_key.optional", require_api_key(optional=True), require_api_key),
    ("require_api_key.in_", require_api_key(in_=("bearer", "query:key")), require_api_key(in_="bearer")),
    ("require_api_key.failures", require_api_key(failures=None), require_api_key),
    ("require_api_key.failures", require_api_key, require_api_key(failures="20/minute; 100/day")),
    ("require_auth.mode", auth(mode="report"), auth),
    ("require_auth.basic", require_auth(bearer=bearer, basic=basic), require_auth(bearer=bearer)),
    ("require_auth.bearer", auth(bearer=bearer), auth),
    ("require_auth.bearer", auth(bearer=token), auth(bearer=JWT(SECRET, issuer="https://a.example"))),
    ("require_auth.bearer", auth(bearer=JWT(SECRET, issuer=["a", "b"])), auth(bearer=JWT(SECRET, issuer="a"))),
    ("require_auth.bearer", auth(bearer=JWT(SECRET, leeway=60)), auth(bearer=token)),
    ("require_auth.bearer", auth(bearer=token), auth(bearer=JWT(SECRET, required=["exp", "jti"]))),
    ("require_auth.bearer", auth(bearer=token), auth(bearer=JWT(SECRET, typ="at+jwt"))),
    ("require_auth.bearer", auth(bearer=JWT(SECRET, audience=["a", "b"])), auth(bearer=JWT(SECRET, audience="a"))),
    (
        "require_auth.bearer",
        auth(bearer=JWT(SECRET, algorithms=["HS256", "HS384"])),
        auth(bearer=JWT(SECRET, algorithms="HS256")),
    ),
    ("require_auth.session", auth(session=session), auth),
    ("require_auth.roles", auth(roles="a"), auth(roles=["a", "b"])),
    ("require_auth.any_role", auth(any_role=["a", "b"]), auth(any_role="a")),
    ("require_auth.optional", auth(optional=True), auth),
    ("require_auth.failures", auth(failures="30/minute"), auth(failures="20/minute")),
    ("limit.mode", once(mode="report"), once),
    ("limit.rates", limit("60/minute"), limit("10/minute")),
    ("limit.rates", limit("10/minute"), limit("10/minute; 50/day")),
    ("limit.rates", limit("1000/hour"), limit("1/minute", "500/hour")),
    ("limit.shared", once, once(shared="all")),
    ("limit.methods", once(methods=["POST"]), once(methods=["POST", "GET"])),
    ("limit.methods", once(methods=["POST"]), once),
    ("limit.when", once(when=sometimes), once),
    ("limit.cost", once, once(cost=2)),
    ("limit.deduct_when", once(deduct_when=sometimes), once),
    ("limit.algorithm", once(algorithm="fixed-window"), once(algorithm="moving-window")),
    ("limit.algorithm", once, once(algorithm="token-bucket")),
    ("limit.burst", once(algorithm="token-bucket", burst=50), once(algorithm="token-bucket", burst=5)),
    ("limit.on_store_error", once(on_store_error="allow"), once(on_store_error="local")),
    ("limit.on_store_error", once, once(on_store_error="deny")),
    ("limit.concurrent.mode", at_once(mode="report"), at_once),
    ("limit.concurrent.amount", at_once, limit.concurrent(2)),
    ("limit.concurrent.lease", at_once, at_once(lease=120)),
    ("limit.concurrent.shared", at_once, at_once(shared="all")),
    ("limit.concurrent.methods", at_once(methods=["POST"]), at_once),
    ("limit.concurrent.when", at_once(when=sometimes), at_once),
    ("limit.concurrent.on_store_error", at_once, at_once(on_store_error="deny")),
    ("ban.mode", banned(mode="report"), banned),
    ("ban.after", banned, ban(after="5/minute")),
    ("ban.on", banned(on=[401]), banned(on=[401, 403])),
    ("ban.lasting", banned, banned(lasting=7200)),
    ("ban.allow", banned(allow=["10.0.0.0/8"]), banned(allow=["10.1.0.0/16"])),
    ("ban.allow", banned(allow=["10.0.0.0/8"]), banned),
    ("ban.allow", banned(allow=sometimes), banned),
    ("ban.shared", banned, banned(shared="all")),
    ("ban.methods", banned(methods=["POST"]), banned),
    ("ban.when", banned(when=sometimes), banned),
    ("ban.on_store_error", banned, banned(on_store_error="deny")),
    ("cors.mode", site(reject_unlisted=True, mode="report"), site(reject_unlisted=True)),
    ("cors.origins", cors(origins=[SITE, OTHER]), site),
    ("cors.origins", cors(origins="*"), site),
    ("cors.methods", site(methods=["POST", "PUT"]), site(methods="POST")),
    ("cors.allow_headers", site, site(allow_headers="Content-Type")),
    ("cors.allow_headers", site(allow_headers="*"), site(allow_headers="X-Own")),
    ("cors.expose_headers", site(expose_headers=["X-A", "X-B"]), site(expose_headers="X-A")),
    ("cors.credentials", site(credentials=True), site),
    ("cors.reject_unlisted", site, site(reject_unlisted=True)),
    ("secure_headers.mode", page(mode="report"), page),
    ("secure_headers.csp", page(csp=None), page),
    ("secure_headers.csp", page(csp=CSP), page(csp=CSP.replace(" https://cdn.example", ""))),
    ("secure_headers.csp", page(csp=CSP), page(csp=f"{CSP}; frame-ancestors 'none'")),
    (
        "secure_headers.csp",
        page(csp=f"{CSP}; script-src 'unsafe-inline'"),
        page(csp=f"{CSP}; script-src 'none'"),
    ),
    ("secure_headers.csp", page(csp=CSP), page(csp=f"{CSP}; upgrade-insecure-requests")),
    ("secure_headers.hsts", page(hsts="max-age=300"), page),
    (
        "secure_headers.hsts",
        page(hsts="max-age=31536000"),
        page(hsts="max-age=31536000; includeSubDomains"),
    ),
    ("secure_headers.frame_options", page(frame_options="SAMEORIGIN"), page(frame_options="DENY")),
    ("secure_headers.content_type_options", page(content_type_options=None), page),
    (
        "secure_headers.referrer_policy",
        page(referrer_policy="origin"),
        page(referrer_policy="no-referrer"),
    ),
    (
        "secure_headers.permissions_policy",
        page(permissions_policy="camera=(self)"),
        page(permissions_policy="camera=()"),
    ),
    ("secure_headers.opener_policy", page(opener_policy=None), page),
    (
        "secure_headers.embedder_policy",
        page(embedder_policy="credentialless"),
        page(embedder_policy="require-corp"),
    ),
    (
        "secure_headers.resource_policy",
        page(resource_policy="same-site"),
        page(resource_policy="same-origin"),
    ),
    ("secure_headers.origin_agent_cluster", page, page(origin_agent_cluster=True)),
    ("secure_headers.cache_control", page(cache_control="private"), page(cache_control="no-store")),
    ("secure_headers.clear_site_data", page, page(clear_site_data=["cookies"])),
    ("secure_headers.dns_prefetch_control", page(dns_prefetch_control="on"), page),
    ("secure_headers.cross_domain_policies", page(cross_domain_policies=None), page),
    ("secure_headers.download_options", page, page(download_options="noopen")),
    ("secure_headers.remove", page(remove="X-Powered-By"), page),
    ("secure_headers.https_redirect", page, page(https_redirect=True)),
    ("require_request.mode", form(mode="report"), form),
    ("require_request.json", form, form(json=True)),
    ("require_request.content_types", form, form(content_types=["text/csv", "text/plain"])),
    ("require_request.content_types", form(content_types=["text/csv", "text/plain"]), form(content_types="text/csv")),
    ("require_request.max_body", form, form(max_body=1000)),
    ("require_request.max_body", form(max_body=1000), form(max_body=100)),
    ("require_request.https", require_request(json=True), require_request(json=True, https=True)),
    ("require_request.hosts", form, form(hosts="example.com")),
    ("require_request.addresses", form(addresses="10.0.0.0/8"), form(addresses="10.1.0.0/16")),
    ("require_request.addresses", form, form(addresses="10.0.0.0/8")),
    ("require_request.headers", form, form(headers="X-Client")),
    ("same_origin.mode", same_origin(mode="report"), same_origin),
    ("same_origin.allow", same_origin(allow=[SITE, OTHER]), same_origin(allow=SITE)),
    ("same_origin.allow", same_origin(allow=SITE), same_origin),
    ("log_timing.sample", log_timing(sample=0.1), log_timing),
    ("log_timing.server_timing", log_timing(server_timing=True), log_timing(server_timing=sometimes)),
]
"""The option, a weaker policy, and the same with the option changed to be stronger."""

DIFFERENT: list[tuple[str, Any, Any]] = [
    ("cache.control", cache("max-age=1"), cache("max-age=2")),
    ("require_api_key.scopes", require_api_key(scopes="a"), require_api_key(scopes="b")),
    ("require_api_key.failures", require_api_key(failures="60/minute"), require_api_key(failures="1000/hour")),
    ("require_auth.basic", auth, require_auth(basic=other_basic)),
    ("require_auth.bearer", auth(bearer=bearer), auth(bearer=token)),
    ("require_auth.bearer", auth(bearer=token), auth(bearer=JWT(SECRET, audience="a"))),
    ("limit.rates", limit("60/minute"), limit("1000/hour")),
    ("limit.by", once, once(by="principal")),
    ("limit.shared", once(shared="a"), once(shared="b")),
    ("limit.concurrent.by", at_once, at_once(by="principal")),
    ("ban.by", banned, banned(by="api_key")),
    ("cors.origins", site, cors(origins=OTHER)),
    ("cors.allow_headers", site(allow_headers="*"), site(allow_headers="Authorization")),
    ("secure_headers.csp", page(csp="script-src 'self'"), page(csp="img-src 'self'")),
    ("secure_headers.preset", page("relaxed"), page("strict")),  # the headers in force are compared
    ("secure_headers.document_policy", page, page(document_policy="oversized-images=2.0")),
]
"""The option, and two policies of which none is weaker."""

SAME: list[tuple[str, Any, Any]] = [
    ("compress.algorithms", compress, compress(algorithms="gzip")),
    ("compress.content_types", compress, compress(content_types="text/html")),
    ("compress.min_size", compress, compress(min_size=1)),
    ("compress.streams", compress, compress(streams=False)),
    ("cache.etag", cache("private"), cache("private", etag=True)),
    ("require_api_key.realm", require_api_key(realm="a"), require_api_key(realm="b")),
    ("require_api_key.failures", require_api_key, require_api_key(failures="20/minute; 40/2 minutes")),
    ("require_auth.realm", auth(realm="a"), auth(realm="b")),
    ("require_auth.bearer", auth(bearer=token), auth(bearer=JWT(SECRET, max_age=60))),
    ("limit.headers", once, once(headers=False)),
    ("limit.batch", once, once(batch=2)),
    ("limit.partition_key", once, once(partition_key=True)),
    ("limit.concurrent.headers", at_once, at_once(headers=False)),
    ("cors.max_age", site, site(max_age=60)),
    ("cors.methods", site, site(methods=None)),
    ("secure_headers.csp_report_only", page, page(csp_report_only="default-src 'none'")),
    (
        "secure_headers.csp",
        page(csp="default-src 'self'"),
        page(csp="img-src 'self'; default-src 'self'"),
    ),
    (
        "secure_headers.opener_policy_report_only",
        page,
        page(opener_policy_report_only="same-origin"),
    ),
    (
        "secure_headers.embedder_policy_report_only",
        page,
        page(embedder_policy_report_only="require-corp"),
    ),
    ("secure_headers.reporting_endpoints", page, page(reporting_endpoints={"csp": "/reports"})),
    ("secure_headers.xss_protection", page, page(xss_protection=0)),
    ("log_timing.logger", log_timing, log_timing(logger="app.requests")),
    ("log_timing.level", log_timing, log_timing(level=10)),
    ("log_timing.error_level", log_timing, log_timing(error_level=40)),
    ("log_timing.slow_ms", log_timing, log_timing(slow_ms=100)),
    ("log_timing.fields", log_timing, log_timing(fields={"a": sometimes})),
    ("log_timing.costs", log_timing, log_timing(costs=True)),
    ("metrics.prefix", metrics, metrics(prefix="shop")),
    ("metrics.buckets", metrics, metrics(buckets=(0.1, 1))),
    ("metrics.registry", metrics, metrics(registry=CollectorRegistry())),
]
"""The option, and two policies that are equally strong."""

NEEDS_AN_APP = {"secure_headers.session_cookie"}
"""Options of policies that go on an app only; see the test of it."""


def named(cases: list[tuple[str, Any, Any]]) -> list[str]:
    """Return a name for each case: the option, and a number."""
    return [f"{option}-{number}" for number, (option, _, _) in enumerate(cases)]


@together(("option", "weak", "strong"), STRONGER)
def test_option_says_in_which_direction_it_is_weaker(option: str, weak: Any, strong: Any) -> None:
    assert kinds(compared((weak,), (strong,))) == ["stronger"]
    assert kinds(compared((strong,), (weak,))) == ["weaker"]


@together(("option", "one", "other"), DIFFERENT)
def test_values_that_cannot_be_ordered_are_different(option: str, one: Any, other: Any) -> None:
    assert kinds(compared((one,), (other,))) == ["different"]
    assert kinds(compared((other,), (one,))) == ["different"]


@together(("option", "one", "other"), SAME)
def test_options_that_change_no_protection_are_no_change(option: str, one: Any, other: Any) -> None:
    assert compared((one,), (other,)) == []
    assert compared((other,), (one,)) == []


def test_every_option_has_a_direction_or_is_known_to_have_none() -> None:
    declared = {f"{name}.{option}" for name, kind in BUILT_IN.items() for option in orders_of(kind)}
    shown_above = {option for option, _, _ in (*STRONGER, *DIFFERENT, *SAME)}
    assert declared - shown_above == NEEDS_AN_APP


def test_configuration_counts_where_an_option_is_not_given() -> None:
    (every, kinds_), (one, _) = app_with(cors, GUARD_CORS_ORIGINS="*"), app_with(cors, GUARD_CORS_ORIGINS=SITE)
    (allowing, _), (denying, _) = (app_with(once, GUARD_ON_STORE_ERROR=each) for each in ("allow", "deny"))

    assert kinds(changes(every, one, kinds_)) == ["stronger"]
    assert kinds(changes(denying, allowing, kinds_)) == ["weaker"]
