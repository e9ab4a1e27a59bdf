"""The orders of options are partial orders: reflexive, antisymmetric and transitive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_guard.audit.changes import compare_all
from flask_guard.concerns import built_in_policies
from flask_guard.support.options import orders_of
from flask_guard.support.orders import REVERSED, irrelevant, unordered
from tests.ids import shown

pytestmark = pytest.mark.slow

BUILT_IN: dict[str, Any] = {policy.name: type(policy) for policy in built_in_policies()}


def one_of(words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words.split())


NAMES = st.lists(st.sampled_from(["a", "b", "c", "*"]), unique=True, max_size=3)
ANYTHING = st.none() | st.booleans() | st.sampled_from(["a", "b", "*", 1, 2, 3.5]) | NAMES
RATE = st.sampled_from(["1/second", "10/minute", "60/minute", "1000/hour", "10/minute; 50/day", "callable app.rate"])
RATES = st.none() | RATE | st.lists(RATE, max_size=3)
NETWORKS = st.lists(one_of("10.0.0.0/8 10.1.0.0/16 10.1.2.3/32 ::/0 2001:db8::/32"), max_size=3)
SOURCE = one_of("'self' 'none' * data: https: https://a.example 'unsafe-inline' 'nonce-x' 'strict-dynamic'")
DIRECTIVE = one_of(
    "default-src script-src script-src-elem child-src frame-src worker-src object-src base-uri "
    "frame-ancestors sandbox report-to upgrade-insecure-requests require-trusted-types-for"
)
CSP = st.none() | st.dictionaries(DIRECTIVE, st.lists(SOURCE, max_size=3), max_size=4).map(
    lambda policy: "; ".join(" ".join((name, *sources)) for name, sources in policy.items())
)
REFERRER = st.none() | one_of(
    "no-referrer origin unsafe-url same-origin,strict-origin strict-origin-when-cross-origin odd "
    "no-referrer-when-downgrade origin-when-cross-origin"
)
HSTS = st.none() | st.builds(
    "max-age={}{}{}".format,
    st.sampled_from([0, 300, 31536000]),
    st.sampled_from(["", "; includeSubDomains"]),
    st.sampled_from(["", "; preload"]),
)
PERMISSIONS = st.none() | st.dictionaries(
    st.sampled_from(["camera", "usb"]), st.sampled_from(["()", "*", "(self)", '(self "https://a.example")'])
).map(lambda features: ", ".join(f"{name}={allowed}" for name, allowed in features.items()))
TOKEN = st.none() | one_of(
    "DENY SAMEORIGIN nosniff same-origin same-site cross-origin unsafe-none require-corp on off none all "
    'no-store public,max-age=60 "cache","cookies" "*"'
)
TOKENS = st.fixed_dictionaries(
    {},
    optional={
        "keys": st.sampled_from(["given", "callable app.keys"]),
        "issuer": st.none() | NAMES,
        "audience": st.none() | NAMES,
        "algorithms": NAMES,
        "leeway": st.sampled_from([0, 30, 60]),
        "required": NAMES,
        "typ": st.sampled_from(["JWT", "at+jwt"]),
    },
)
POOLS: Mapping[str, st.SearchStrategy[Any]] = {
    "rates": RATES,
    "failures": RATES,
    "after": RATES,
    "allow": NETWORKS | st.just("callable app.allow"),
    "bearer": st.none() | st.just("callable app.check") | TOKENS,
    "mode": st.sampled_from([None, "off", "report", "enforce"]),
    "on_store_error": st.sampled_from([None, "local", "allow", "deny"]),
    "algorithm": st.sampled_from([None, "fixed-window", "moving-window", "sliding-window-counter"]),
    "csp": CSP,
    "hsts": HSTS,
    "referrer_policy": REFERRER,
    "permissions_policy": PERMISSIONS,
}
"""Values of options, beside any other."""


def values_of(policy: str, option: str) -> st.SearchStrategy[Any]:
    return POOLS.get(option, st.nothing()) | (TOKEN if policy == "secure_headers" else st.nothing()) | ANYTHING


def options_of(policy: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: values_of(policy, name) for name in orders_of(BUILT_IN[policy])})


ORDERED = [
    (policy, option)
    for policy, kind in BUILT_IN.items()
    for option, order in orders_of(kind).items()
    if order not in (unordered, irrelevant)
]


@pytest.mark.parametrize(("policy", "option"), ORDERED, ids=shown)
@settings(max_examples=20)
@given(data=st.data())
def test_order_of_an_option_is_reflexive_antisymmetric_and_transitive(
    policy: str, option: str, data: st.DataObject
) -> None:
    check_laws(orders_of(BUILT_IN[policy])[option], *(data.draw(values_of(policy, option)) for _ in range(3)))


@pytest.mark.parametrize("policy", BUILT_IN, ids=shown)
@settings(max_examples=30)
@given(data=st.data())
def test_order_of_a_policy_is_reflexive_antisymmetric_and_transitive(policy: str, data: st.DataObject) -> None:
    check_laws(BUILT_IN[policy].compare, *(data.draw(options_of(policy)) for _ in range(3)))


@pytest.mark.parametrize("policy", ["limit", "require_api_key"], ids=shown)
@given(data=st.data())
def test_order_of_several_policies_of_one_kind_is_one_too(policy: str, data: st.DataObject) -> None:
    several = st.lists(options_of(policy), max_size=2)

    check_laws(lambda old, new: compare_all(policy, old, new, BUILT_IN), *(data.draw(several) for _ in range(3)))


def check_laws(compare: Any, first: Any, second: Any, third: Any) -> None:
    """Check that a comparison is a partial order, on three values."""
    assert compare(first, first) == "same"
    assert compare(first, second) == REVERSED[compare(second, first)]
    steps = {compare(first, second), compare(second, third)} - {"same"}
    if "different" not in steps and len(steps) < 2:
        assert compare(first, third) == (steps.pop() if steps else "same")
