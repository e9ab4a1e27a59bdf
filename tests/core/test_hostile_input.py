"""Parsers and key stores: whatever they are given is taken, refused as the app's mistake, or denied. Nothing else."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from flask_guard import ApiKey, ConfigError, cors, limit, log_timing, require_api_key, secure_headers
from flask_guard.keys import SignedKeys, StaticKeys
from flask_guard.keys.signed import SALT
from flask_guard.security_headers.presets import NAMES

pytestmark = pytest.mark.slow

text = st.one_of(st.text(max_size=60), st.text("0123456789 /;,.-:pereinutdayhoursc\n٣", max_size=40))
anything = st.one_of(
    text, st.binary(max_size=20), st.none(), st.booleans(), st.integers(), st.floats(), st.lists(text, max_size=3)
)
origin_text = st.one_of(
    text,
    st.builds(lambda rest: f"https://{rest}", text),
    st.text("htps:/.[]*-a0@?# \n", max_size=30),
)
thorough = settings(deadline=None, max_examples=150)
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


# What an app's author writes -------------------------------------------------------------------------------------


@thorough
@given(st.one_of(text, anything))
@example("10/minute; nonsense")
@example("10 per")
@example("٣/minute")
@example("9" * 5000 + "/minute")
@example("10/" + "9" * 5000 + " minutes")
def test_rate_is_taken_or_a_config_error(rate: Any) -> None:
    with suppress(ConfigError):
        policy = limit(rate)
        assert isinstance(rate, str)
        assert policy.rates == (rate,)


@thorough
@given(st.one_of(origin_text, anything, st.lists(origin_text, max_size=4)))
@example("https://[")
@example("https://[]")
@example("https://a:99999")
@example("//a")
def test_origin_is_taken_or_a_config_error(origins: Any) -> None:
    assume(origins is not None)  # which stands for those of the configuration

    with suppress(ConfigError):
        policy = cors(origins=origins)
        listed = [origins] if isinstance(origins, str) else list(origins)
        assert policy.origins is not None
        assert all(each in ("*", "null") or ORIGIN.fullmatch(each.lower()) for each in listed)


@thorough
@given(st.sampled_from([*NAMES]), anything)
def test_header_value_is_taken_or_a_config_error(keyword: str, value: Any) -> None:
    with suppress(ConfigError):
        sent = getattr(secure_headers(**{keyword: value}), keyword)
        assert (sent is None) == (value is None)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", str(sent))
        assert getattr(secure_headers(**{keyword: sent}), keyword) == sent


@thorough
@given(st.sampled_from(["logger", "level", "slow_ms", "sample"]), anything)
def test_log_option_is_taken_or_a_config_error(option: str, value: Any) -> None:
    with suppress(ConfigError):
        assert getattr(log_timing(**{option: value}), option) == value


@thorough
@given(st.sampled_from(["scopes", "any_scope", "in_"]), st.one_of(text, st.lists(text, max_size=4)))
@example("in_", "header:")
@example("in_", "header:²")
@example("in_", "query:")
def test_key_option_is_taken_or_a_config_error(option: str, value: Any) -> None:
    with suppress(ConfigError):
        require_api_key(**{option: value})


entries = st.one_of(
    anything,
    text.map(lambda rest: f"sha256:{rest}"),
    st.fixed_dictionaries({}, optional=dict.fromkeys(("hash", "scopes", "expires", "name", "key"), anything)),
    st.fixed_dictionaries({"hash": st.just(f"sha256:{'a' * 64}"), "expires": anything, "scopes": anything}),
)


@thorough
@given(st.dictionaries(text, entries, max_size=3))
@example({"ci": {"hash": f"sha256:{'a' * 64}", "scopes": None}})
@example({"ci": {"hash": f"sha256:{'a' * 64}", "scopes": 5}})
@example({"ci": {"hash": f"sha256:{'a' * 64}", "scopes": b"orders"}})
@example({"ci": {"hash": f"sha256:{'a' * 64}", "expires": "9999-12-31T23:59:59-23:59"}})
@example({"ci": {"hash": f"sha256:{'a' * 64}", "expires": "0001-01-01T00:00:00+23:59"}})
@example({"ci": {"hash": f"sha256:{'a' * 64}", "name": 5}})
@example({"ci": "\ud800"})
def test_keys_are_taken_or_a_config_error(keys: Any) -> None:
    with suppress(ConfigError):
        store = StaticKeys(keys)
        assert len(store) == len(keys)


# What a client sends ---------------------------------------------------------------------------------------------

SECRET = "a secret key for tests"
SIGNED = SignedKeys(SECRET)
GENUINE = SIGNED.issue("ci", name="CI", scopes=["orders:read"], expires=4102444800.0)
presented = st.one_of(
    st.text(max_size=200),
    st.text("abcdefgh.-_=ABCZ019 \x00\r\n\xff\ud800", max_size=80),
    st.builds(
        lambda at, new: GENUINE[:at] + new + GENUINE[at + 1 :], st.integers(0, len(GENUINE)), st.text(max_size=2)
    ),
    st.builds(lambda cut: GENUINE[:cut], st.integers(0, len(GENUINE) - 1)),
)


@thorough
@given(presented)
@example("")
@example(".")
@example("." * 100)
@example("\x00")
@example("\ud800")
@example("." + "A" * 8000)
def test_key_that_nobody_signed_is_nobodys(key: str) -> None:
    assume(key != GENUINE)

    assert SIGNED.lookup(key) is None


@thorough
@given(presented)
@example("\ud800")
@example("")
def test_key_that_nobody_configured_is_nobodys(key: str) -> None:
    assert StaticKeys({"ci": "a secret that is not among the examples"}).lookup(key) is None


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


@thorough
@given(st.one_of(json_values, st.fixed_dictionaries({"id": json_values}, optional=dict.fromkeys("nse", json_values))))
@example([])
@example("text")
@example({"id": "ci", "e": "tomorrow"})
@example({"id": "ci", "e": 1e300})
@example({"id": "ci", "s": 5})
@example({"id": "ci", "s": "orders"})
@example({"id": "ci", "n": 5})
@example({"id": ""})
def test_payload_that_was_signed_but_is_no_key_is_nobodys(payload: Any) -> None:
    """Whoever signs with the same secret and salt, such as an older version, may have written anything."""
    serializer = URLSafeSerializer(SECRET, salt=SALT, signer_kwargs={"digest_method": hashlib.sha256})
    assert SIGNED.lookup(str(serializer.dumps({"id": "ci"}))) == ApiKey("ci")

    key = SIGNED.lookup(str(serializer.dumps(payload)))

    assert key is None or (isinstance(key, ApiKey) and key.id == payload["id"])
    assert key is None or key.expires is None or isinstance(key.expires, datetime)
