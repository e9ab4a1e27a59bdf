"""What a stored key looks like, and that nothing but such a key gets as far as a look-up."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_guard import ConfigError, Guard, require_api_key
from flask_guard.keys import KeyFormat, KeyStoreUnavailable, SQLKeys
from flask_guard.keys.format import BASE62, _checksum, new_id
from tests.cases import together

FORMAT = KeyFormat(prefix="acme", env="test")
KEY = FORMAT.new("0123456789")
HEAD = "acme_test_"
BASE62_TEXT = st.text(st.sampled_from(BASE62), min_size=38, max_size=38)
ANY_TEXT = st.text(st.characters(codec=None), max_size=80) | st.binary(max_size=80).map(
    lambda raw: raw.decode("latin-1")
)


def with_checksum(body: str) -> str:
    return body + _checksum(body)


def changed_at(place: int, character: str) -> str:
    return KEY[:place] + character + KEY[place + 1 :]


@pytest.fixture(scope="module")
def unreachable(tmp_path_factory: pytest.TempPathFactory) -> SQLKeys:
    """Return a store that raises at every look-up, as its file is a folder."""
    folder: Path = tmp_path_factory.mktemp("keys.sqlite")
    return SQLKeys(f"sqlite:///{folder}", format=FORMAT)


def test_a_key_is_a_prefix_an_environment_and_44_base62_digits() -> None:
    assert re.fullmatch(r"acme_test_0123456789[0-9A-Za-z]{28}[0-9A-Za-z]{6}", KEY)
    assert sorted(BASE62) == sorted(string.digits + string.ascii_letters)


def test_secrets_have_at_least_160_bits_and_never_repeat() -> None:
    assert 62**28 > 2**160
    made = {FORMAT.new("0123456789") for _ in range(1000)} | {new_id() for _ in range(1000)}
    assert len(made) == 2000
    assert {each for key in made for each in key[-38:-6]} >= set(BASE62)


def test_the_checksum_is_the_crc_32_of_what_precedes_it_in_base62() -> None:
    # 0xCBF43926 is the check value of CRC-32 (ISO-HDLC) for 123456789
    digits = _checksum("123456789")
    value = 0
    for digit in digits:
        value = value * 62 + BASE62.index(digit)
    assert (value, len(digits)) == (0xCBF43926, 6)
    assert (_checksum(""), 62**6 > 2**32) == ("000000", True)


def test_support_can_tell_the_id_from_the_key() -> None:
    assert FORMAT.id_of(KEY) == "0123456789"


@pytest.mark.parametrize("text", [KEY, f"key={KEY};", f'"{KEY}"', f"https://x/?k={KEY}&a", f"a {KEY}\n", f"={KEY}."])
def test_the_pattern_finds_keys_in_text(text: str) -> None:
    assert re.findall(FORMAT.pattern, text) == [KEY]


@pytest.mark.parametrize("text", [KEY[:-1], f"{KEY}x", f"x{KEY}", KEY.upper(), KEY.replace("test", "live"), f"_{KEY}"])
def test_the_pattern_finds_nothing_else(text: str) -> None:
    assert re.findall(FORMAT.pattern, text) == []


@given(BASE62_TEXT.map(lambda body: with_checksum(HEAD + body)))
def test_every_well_formed_key_has_an_id_and_matches_the_pattern(key: str) -> None:
    assert FORMAT.id_of(key) == key[10:20]
    assert re.fullmatch(FORMAT.pattern, key)


@given(st.integers(0, len(KEY) - 1), st.characters(codec=None))
def test_no_key_is_well_formed_after_one_character_was_changed(place: int, character: str) -> None:
    key = changed_at(place, character)

    assert FORMAT.id_of(key) == ("0123456789" if key == KEY else None)


@given(st.text(st.characters(max_codepoint=127), min_size=38, max_size=38).filter(lambda text: not text.isalnum()))
def test_a_right_checksum_does_not_make_a_key_of_nonsense(body: str) -> None:
    assert FORMAT.id_of(with_checksum(HEAD + body)) is None


@given(ANY_TEXT | st.builds(changed_at, st.integers(0, len(KEY) - 1), ANY_TEXT) | st.builds(KEY.__add__, ANY_TEXT))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_is_malformed_raises_or_is_looked_up(unreachable: SQLKeys, presented: str) -> None:
    if presented != KEY:
        assert FORMAT.id_of(presented) is None
        assert unreachable.lookup(presented) is None


@pytest.mark.slow
@given(st.binary(max_size=200))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_in_a_header_get_anything_but_a_denial(unreachable: SQLKeys, raw: bytes) -> None:
    app = Flask("tests")
    Guard(app, keys=unreachable, policies=[require_api_key(failures=None)])
    app.add_url_rule("/", "view", lambda: "served")
    environ = {"HTTP_X_API_KEY": raw.decode("latin-1")}

    assert app.test_client().get("/", environ_overrides=environ).status_code in (400, 401)


def test_what_is_well_formed_is_looked_up(unreachable: SQLKeys) -> None:
    with pytest.raises(KeyStoreUnavailable):
        unreachable.lookup(KEY)


@together("name", ["", "Acme", "a_b", "a-b", "1a", "a" * 17, "ä", "a\n", None, 7])
def test_a_name_that_scanners_could_not_match_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="prefix"):
        KeyFormat(prefix=name)
    with pytest.raises(ConfigError, match="env"):
        KeyFormat(env=name)
