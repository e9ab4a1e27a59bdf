"""`JWT`: every known way to forge a token fails, and no token is an error."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from flask_guard import JWT
from tests.cases import together
from tests.ids import shown

from .test_jwt import ASYMMETRIC, DER, HS, JWKS, OCT, P256, PEM, RSA, SECRET, encoded, forged, token

CLAIMS = {"sub": "admin", "exp": 4_000_000_000, "roles": ["admin"]}
ATTACKER = RSAKey.generate_key(2048, {"kid": "rsa"})


@together("secret", [PEM, PEM.strip(), DER, json.dumps(JWKS).encode(), b""])
@together("kid", ["rsa", "p256", None])
@together("keys", [JWKS, PEM, lambda: JWKS])
def test_a_public_key_is_never_the_secret_of_an_hmac(keys: Any, kid: str | None, secret: bytes) -> None:
    header = {"alg": "HS256", "kid": kid} if kid else {"alg": "HS256"}

    assert JWT(keys)(forged(header, CLAIMS, secret)) is None


@together("alg", ["none", "None", "NONE", "nOnE", "", None, "HS256", "RS256", "dir", "RSA-OAEP"])
@together("check", [HS, ASYMMETRIC])
def test_a_token_without_a_signature_does_not_hold_whatever_its_alg(check: JWT, alg: Any) -> None:
    assert check(forged({"alg": alg}, CLAIMS)) is None
    assert check(forged({}, CLAIMS)) is None


@together(
    "header",
    [
        {"jwk": ATTACKER.as_dict(private=False)},
        {"jwk": ATTACKER.as_dict(private=False), "kid": "rsa"},
        {"jku": "https://attacker.example/jwks.json", "kid": "rsa"},
        {"kid": "attacker"},
        {"kid": "../../../../dev/null"},
        {"kid": ""},
        {},
    ],
)
@together("keys", [JWKS, PEM, lambda: JWKS])
def test_a_token_cannot_bring_or_choose_a_key_that_is_not_ours(keys: Any, header: dict[str, Any]) -> None:
    assert JWT(keys)(token(CLAIMS, ATTACKER, "RS256", **header)) is None


def test_a_kid_that_points_nowhere_is_refused_although_the_signature_would_hold() -> None:
    assert ASYMMETRIC(token(key=RSA, alg="RS256", kid="nowhere")) is None
    assert ASYMMETRIC(token(key=RSA, alg="RS256", kid="p256")) is None


@pytest.mark.parametrize(
    "header", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False, "crit": ["b64"]}], ids=shown
)
def test_extensions_that_must_be_understood_are_not_so_the_token_is_refused(header: dict[str, Any]) -> None:
    assert HS(forged({"alg": "HS256", **header}, CLAIMS, SECRET.encode())) is None


def test_a_change_anywhere_breaks_the_signature() -> None:
    for signed, check in ((token(), HS), (token(key=P256, alg="ES256", kid="p256"), ASYMMETRIC)):
        head, body, signature = signed.split(".")
        changed = encoded(base64.urlsafe_b64decode(body + "==").replace(b"ada", b"eve"))

        assert check(signed) is not None
        assert check(f"{head}.{changed}.{signature}") is None
        assert check(f"{head}.{body}.{encoded(bytes(64))}") is None
        assert check(f"{head}.{body}.") is None


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_no_other_spelling_of_the_same_signature_holds() -> None:
    for signed, check in ((token(), HS), (token(key=RSA, alg="RS256", kid="rsa"), ASYMMETRIC)):
        last = ALPHABET.index(signed[-1])
        spare = 2 if len(signed.rpartition(".")[2]) % 4 == 3 else 4
        same_bytes = [f"{signed[:-1]}{ALPHABET[last ^ bits]}" for bits in range(1, 2**spare)]

        assert check(signed) is not None
        assert [check(each) for each in same_bytes] == [None] * len(same_bytes)
        assert [check(signed + each) for each in ("=", "==", "é", "\u0661", " ", "\n", "!")] == [None] * 7


def test_a_symmetric_key_in_a_set_is_used_only_if_hmac_is_asked_for() -> None:
    jwks = {"keys": [{**OCT.as_dict(), "kid": "oct"}, *JWKS["keys"]]}

    assert JWT(jwks)(token(kid="oct")) is None
    assert JWT(jwks, algorithms="HS256")(token(kid="oct")).id == "ada"


@pytest.mark.parametrize("members", [{"use": "enc"}, {"alg": "RS512"}, {"key_ops": ["wrapKey"]}], ids=shown)
def test_a_key_that_is_for_something_else_is_not_used(members: dict[str, Any]) -> None:
    jwks = {"keys": [{**RSA.as_dict(private=False), **members}, P256.as_dict(private=False)]}

    assert JWT(jwks)(token(key=RSA, alg="RS256", kid="rsa")) is None


segment = st.binary(max_size=40).map(encoded) | st.text(max_size=20) | st.just(encoded(b'{"alg":"HS256"}'))
json_value = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["alg", "kid", "typ"]), inner),
    max_leaves=6,
)


@pytest.mark.slow
@given(st.text(max_size=80) | st.lists(segment, max_size=4).map(".".join))
def test_no_text_is_an_error(text: str) -> None:
    assert HS(text) is None
    assert ASYMMETRIC(text) is None


@pytest.mark.slow
@given(json_value, json_value)
def test_no_json_is_an_error(header: Any, claims: Any) -> None:
    made = header if not isinstance(header, dict) else {**header, "alg": "HS256"}

    assert HS(forged(made, claims, SECRET.encode())) is None


@pytest.mark.parametrize(
    "value", ["[" * 5000, '{"a":' * 2000, "9" * 5000, '"alg"', '["alg"]', "\ud800"], ids=lambda v: v[:6]
)
def test_json_that_parsers_stumble_over_is_no_error(value: str) -> None:
    raw = encoded(value.encode("utf-8", "surrogatepass"))
    signed = f"{encoded(b'{}')}.{raw}"

    assert HS(f"{raw}.{raw}.{raw}") is None
    assert HS(f"{signed}.{encoded(hmac.digest(SECRET.encode(), signed.encode(), 'sha256'))}") is None
    head = f"{encoded(json.dumps({'alg': 'HS256'}).encode())}.{raw}"
    assert HS(f"{head}.{encoded(hmac.digest(SECRET.encode(), head.encode(), 'sha256'))}") is None


@together("part", [0, 1, 2])
@together("odd", ["\x80", "\ud800", "\u0661", " ", "\n", "=", "+"])
def test_a_character_that_has_no_place_in_a_token_is_no_error(part: int, odd: str) -> None:
    parts = token().split(".")
    parts[part] += odd

    assert HS(".".join(parts)) is None


def test_an_overlong_token_is_refused_unread() -> None:
    assert HS(token({"groups": ["x" * 20_000]})) is None
