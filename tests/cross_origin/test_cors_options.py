"""Invalid options of `cors` are refused where they are written, and the message says the fix."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask

from flask_guard import ConfigError, Guard, cors
from tests.cases import together
from tests.conftest import MakeApp

APP = "https://app.example.com"


MALFORMED: dict[str, tuple[Any, str]] = {
    "path": ("https://app.example.com/shop", "has a path"),
    "trailing slash": ("https://app.example.com/", "drop the trailing slash"),
    "no scheme": ("app.example.com", "has no scheme"),
    "no scheme but a port": ("localhost:5173", "has no scheme"),
    "wildcard subdomain": ("https://*.example.com", r"re\.compile"),
    "default https port": ("https://app.example.com:443", "drop :443"),
    "default http port": ("http://app.example.com:80", "drop :80"),
    "non-ASCII": ("https://bücher.example", "xn--"),
    "query": ("https://app.example.com?x", "scheme://host"),
    "credentials": ("https://user:pw@app.example.com", "scheme://host"),
    "empty": ("", "scheme://host"),
    "space": (" https://app.example.com", "scheme://host"),
    "line end": ("https://app.example.com\n", "scheme://host"),
    "several in one string": ("https://a.example, https://b.example", "scheme://host"),
    "regular expression as a string": (r"https://.*\.example\.com", r"re\.compile"),
    "empty list": ([], "is empty.*scheme://host"),
    "star with others": (["*", APP], r"'\*' alone"),
    "number": (5173, "scheme://host"),
    "number in a list": ([5173], "scheme://host"),
    "bytes": (b"https://app.example.com", "scheme://host"),
    "true": (True, "scheme://host"),
    "none in a list": ([None], "scheme://host"),
    "pattern of bytes": (re.compile(rb"https://.*"), "text"),
}
every_malformed = pytest.mark.parametrize(("origins", "fix"), MALFORMED.values(), ids=MALFORMED)


@every_malformed
def test_malformed_origin_is_refused_where_it_is_written(origins: Any, fix: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s)origins.*{fix}"):
        cors(origins=origins)


@every_malformed
def test_malformed_origin_in_the_configuration_is_refused_by_guard(make_app: MakeApp, origins: Any, fix: str) -> None:
    app = make_app(GUARD_CORS_ORIGINS=origins)

    with pytest.raises(ConfigError, match=rf"(?s)GUARD_CORS_ORIGINS.*{fix}"):
        Guard(app, policies=[cors])


def test_malformed_configuration_is_refused_before_any_policy_reads_it(make_app: MakeApp) -> None:
    app = make_app(GUARD_CORS_ORIGINS="https://app.example.com/")

    with pytest.raises(ConfigError, match=r"GUARD_CORS_ORIGINS.*drop the trailing slash"):
        Guard(app)


def test_refused_origin_is_shown_fit_for_one_line() -> None:
    with pytest.raises(ConfigError) as refused:
        cors(origins="https://app.example.com\r\n\x1b[31m" + "a" * 100_000)

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("origins", ["null", [APP, "null"]])
def test_null_with_credentials_is_refused(make_app: MakeApp, origins: Any) -> None:
    with pytest.raises(ConfigError, match=r"any page can make a frame whose origin is null. List the origins"):
        cors(origins=origins, credentials=True)
    with pytest.raises(ConfigError, match=r"whose origin is null"):
        Guard(make_app(GUARD_CORS_ORIGINS=origins), policies=[cors(credentials=True)])


async def _asynchronous(origin: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("predicate", "fix"),
    [
        (_asynchronous, "is async.*write a plain function"),
        (lambda: True, "must take the origin and return True or False"),
        (lambda origin, request: True, "must take the origin"),
    ],
    ids=["async", "no argument", "two arguments"],
)
@pytest.mark.parametrize("listed", [True, False])
def test_callable_that_does_not_take_the_origin_is_refused(predicate: Any, fix: str, listed: bool) -> None:
    with pytest.raises(ConfigError, match=rf"cors\(origins=…\): .*{fix}"):
        cors(origins=[APP, predicate] if listed else predicate)


def test_rejecting_the_unlisted_where_every_origin_is_listed_is_refused() -> None:
    with pytest.raises(ConfigError, match="none is unlisted"):
        cors(origins="*", reject_unlisted=True)


@pytest.mark.parametrize("origins", ["*", ["*"]])
def test_star_with_credentials_is_refused(origins: Any) -> None:
    with pytest.raises(ConfigError, match=r"credentials.*List the origins"):
        cors(origins=origins, credentials=True)


def test_star_in_the_configuration_with_credentials_is_refused(make_app: MakeApp) -> None:
    app = make_app(GUARD_CORS_ORIGINS="*")

    with pytest.raises(ConfigError, match=r"credentials.*List the origins"):
        Guard(app, policies=[cors(credentials=True)])


def test_credentials_refined_onto_star_are_refused() -> None:
    public = cors(origins="*")

    with pytest.raises(ConfigError, match="credentials"):
        public(credentials=True)


BAD_OPTIONS: dict[str, dict[str, Any]] = {
    "method with a space": {"methods": ["GET POST"]},
    "methods in one string": {"methods": "GET, POST"},
    "number for methods": {"methods": 1},
    "star among the exposed headers, with credentials": {"expose_headers": "*", "credentials": True},
    "header that is not a token": {"allow_headers": ["X Tenant"]},
    "header with a line end": {"allow_headers": ["X-Tenant\r\nSet-Cookie"]},
    "pattern of bytes among the headers": {"allow_headers": [re.compile(rb"X-.*")]},
    "pattern among the exposed headers": {"expose_headers": [re.compile(r"X-.*")]},
    "what looks like a pattern among the exposed headers": {"expose_headers": ["X-.*"]},
    "what looks like a pattern among the methods": {"methods": ["P.*"]},
    "non-ASCII header": {"expose_headers": ["X-Tenänt"]},
    "empty header": {"expose_headers": [""]},
    "none for allow_headers": {"allow_headers": 5},
    "credentials in words": {"credentials": "true"},
    "reject_unlisted in words": {"reject_unlisted": "yes"},
    "unknown mode": {"mode": "warn"},
    "negative max_age": {"max_age": -1},
    "max_age in words": {"max_age": "600"},
    "true for max_age": {"max_age": True},
}


@together("name", ["X-COMPANY-.*", "X-.+", "^X-Tenant", "X-Tenant$", "X-A|X-B", "X-*"])
@together("listed", [True, False])
def test_header_name_that_looks_like_a_pattern_is_refused(name: str, listed: bool) -> None:
    with pytest.raises(ConfigError, match=rf"allow_headers=…\): '{re.escape(name)}' .* write re\.compile\('"):
        cors(origins=APP, allow_headers=["Content-Type", name] if listed else name)


@together("options", BAD_OPTIONS.values())
def test_invalid_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"cors\("):
        cors(origins=APP, **options)


PEERS = {
    "supports_credentials": "write credentials=…",
    "resources": r"apply cors to the blueprint or the views: protect\(blueprint, cors",
    "send_wildcard": r"leave it out: origins='\*' always sends the wildcard",
    "vary_header": "leave it out: Vary",
    "automatic_options": "leave it out: preflights are always answered",
    "intercept_exceptions": "leave it out: error responses always have the headers",
    "allow_private_network": "leave it out: browsers ask the user instead",
    "allow_origins": "write origins=…",
    "headers": "write allow_headers=…",
}


@pytest.mark.parametrize(("option", "hint"), PEERS.items())
def test_option_of_another_package_is_a_type_error_that_says_what_to_write(option: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"has no option '{option}'; {hint}"):
        cors(**{option: True})  # type: ignore[call-overload]


@pytest.mark.parametrize("methods", ["*", ["*"], ["GET", "*"]])
def test_every_method_is_what_leaving_methods_out_allows(methods: Any) -> None:
    with pytest.raises(ConfigError, match=r"methods=…\) takes names of methods.*Leave it out"):
        cors(methods=methods)


@pytest.mark.parametrize(("option", "hint"), [("orgins", "origins"), ("allowed_headers", "allow_headers")])
def test_unknown_option_is_a_type_error_with_a_hint(option: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"'{option}'; did you mean '{hint}'"):
        cors(**{option: APP})  # type: ignore[call-overload]


def test_origins_as_a_positional_argument_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="keyword"):
        cors(APP)  # type: ignore[call-overload]


def test_cors_twice_on_one_target_is_refused(app: Flask) -> None:
    with pytest.raises(ConfigError, match="one target takes one cors"):
        cors(origins=APP)(cors(origins="*")(lambda: "hello"))


def test_equal_policies_are_equal_and_a_refined_one_leaves_its_origin_alone() -> None:
    first = cors(origins=[APP, "https://b.example"])

    second = first(max_age=5)

    assert first == cors(origins=["https://b.example", APP])
    assert (first(max_age=600).max_age, second.max_age) == (600, 5)
    assert second.origins == first.origins
    assert APP in repr(first)
