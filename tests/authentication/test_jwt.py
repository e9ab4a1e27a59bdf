"""`JWT`: which tokens hold, and whose they are."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
import warnings
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from flask_guard import JWT, ConfigError, Guard, Principal, current_principal, require_auth
from tests.cases import together
from tests.ids import shown

SECRET = "a secret of at least 32 bytes, and some more"
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
P256 = ECKey.generate_key("P-256", {"kid": "p256"})
P384 = ECKey.generate_key("P-384", {"kid": "p384"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
OCT = OctKey.import_key(SECRET)
JWKS: dict[str, Any] = {"keys": [key.as_dict(private=False) for key in (RSA, P256, ED)]}
PEM = RSA.as_pem(private=False)
DER = RSA.as_der(private=False)


def token(claims: dict[str, Any] | None = None, key: Any = OCT, alg: str = "HS256", **header: Any) -> str:
    """Return a signed token that has a subject and an hour, unless `claims` says otherwise; None leaves one out."""
    given = {"sub": "ada", "exp": time.time() + 3600, **(claims or {})}
    given = {name: value for name, value in given.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joserfc warns of EdDSA, whose name RFC 9864 has replaced
        return jwt.encode({"alg": alg, **header}, given, key, algorithms=[alg])


def forged(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
    """Return a token that no library would make; signed by HMAC with `secret`, or not at all."""
    parts = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{parts}.{encoded(hmac.digest(secret, parts.encode(), hashlib.sha256)) if secret is not None else ''}"


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


HS = JWT(SECRET)
ASYMMETRIC = JWT(JWKS)


# Tokens that hold ------------------------------------------------------------------------------------------------


@together(
    ("keys", "signed"),
    [
        (SECRET, token()),
        (SECRET.encode(), token()),
        (OCT.as_dict(), token()),
        (JWKS, token(key=RSA, alg="RS256", kid="rsa")),
        (JWKS, token(key=P256, alg="ES256", kid="p256")),
        (JWKS, token(key=ED, alg="EdDSA", kid="ed")),
        (RSA.as_dict(private=False), token(key=RSA, alg="RS256", kid="rsa")),
        (PEM, token(key=RSA, alg="RS256")),
        (PEM.decode(), token(key=RSA, alg="RS256", kid="whatever the issuer calls it")),
        (P256.as_pem(private=False), token(key=P256, alg="ES256")),
        (ED.as_pem(private=False), token(key=ED, alg="EdDSA")),
        (lambda: JWKS, token(key=RSA, alg="RS256", kid="rsa")),
        (lambda: SECRET, token()),
    ],
)
def test_a_token_signed_with_one_of_the_keys_holds(keys: Any, signed: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        principal = JWT(keys)(signed)

    assert principal.id == "ada"


def test_a_key_is_found_without_a_kid_by_its_kind() -> None:
    for key, alg in ((RSA, "RS256"), (P256, "ES256"), (ED, "EdDSA")):
        assert ASYMMETRIC(token(key=key, alg=alg)).id == "ada"


def test_other_algorithms_must_be_asked_for() -> None:
    signed = token(key=P384, alg="ES384", kid="p384")
    jwks = {"keys": [*JWKS["keys"], P384.as_dict(private=False)]}

    assert JWT(jwks)(signed) is None
    assert JWT(jwks, algorithms=["ES384", "RS256"])(signed).id == "ada"
    assert JWT(jwks, algorithms="ES384")(token(key=RSA, alg="RS256", kid="rsa")) is None


def test_a_token_without_a_kid_is_tried_with_every_key_of_its_kind() -> None:
    others = [RSAKey.generate_key(2048, {"kid": str(number)}).as_dict(private=False) for number in range(2)]

    for keys in ([RSA.as_dict(private=False), *others], [*others, RSA.as_dict(private=False)]):
        check = JWT({"keys": keys})
        assert check(token(key=RSA, alg="RS256")).id == "ada"
        assert check(token(key=P256, alg="ES256")) is None


def test_the_principal_is_the_subject_with_the_roles_and_the_claims_and_no_scopes() -> None:
    principal = HS(token({"roles": ["editor", 7], "scope": "admin", "email": "ada@example.com"}))

    assert (principal.id, principal.roles, principal.claims["email"]) == ("ada", {"editor"}, "ada@example.com")
    assert HS(token({"roles": {"admin": True}})).roles == frozenset()


def test_a_callable_may_make_the_principal_of_the_claims_or_refuse_them() -> None:
    check = JWT(SECRET, principal=lambda claims: {"id": claims["client"]} if claims["client"] != "x" else None)

    assert check(token({"client": "shop", "sub": None})) == {"id": "shop"}
    assert check(token({"client": "x"})) is None


def test_headers_that_nobody_knows_are_ignored() -> None:
    claims = {"sub": "ada", "exp": time.time() + 60}

    assert HS(forged({"alg": "HS256", "nonce": "n", "x5c": ["A" * 2000]}, claims, SECRET.encode())).id == "ada"


# Claims ----------------------------------------------------------------------------------------------------------


@together(
    ("claims", "options", "holds"),
    [
        ({"exp": time.time() - 3600}, {}, False),
        ({"exp": None}, {}, False),
        ({"exp": None}, {"required": ()}, True),
        ({"exp": time.time() - 3600}, {"required": ()}, False),
        ({"exp": "never"}, {}, False),
        ({"exp": True}, {}, False),
        ({"exp": float("nan")}, {}, False),
        ({"exp": float("inf")}, {}, False),
        ({"exp": 10**400}, {}, False),
        ({"nbf": time.time() - 5}, {}, True),
        ({"nbf": time.time() + 3600}, {}, False),
        ({"nbf": "2020"}, {}, False),
        ({"iat": time.time() - 5}, {}, True),
        ({"iat": time.time() + 3600}, {}, False),
        ({"iat": []}, {}, False),
        ({"sub": None}, {}, False),
        ({"sub": ""}, {}, False),
        ({"sub": 7}, {}, False),
        ({"iss": "us"}, {"issuer": "us"}, True),
        ({"iss": "us"}, {}, True),
        ({"iss": "us"}, {"issuer": ["them", "us"]}, True),
        ({"iss": "us/"}, {"issuer": "us"}, False),
        ({"iss": ["us"]}, {"issuer": "us"}, False),
        ({}, {"issuer": "us"}, False),
        ({"aud": "us"}, {"audience": "us"}, True),
        ({"aud": ["them", "us"]}, {"audience": "us"}, True),
        ({"aud": ["us"]}, {"audience": ["me", "us"]}, True),
        ({"aud": "use"}, {"audience": "us"}, False),
        ({"aud": "them"}, {"audience": ["me", "us"]}, False),
        ({"aud": {"us": 1}}, {"audience": "us"}, False),
        ({"aud": [["us"]]}, {"audience": "us"}, False),
        ({"aud": []}, {"audience": "us"}, False),
        ({}, {"audience": "us"}, False),
        ({"aud": "us"}, {}, False),
        ({}, {"required": ["exp", "jti"]}, False),
        ({"jti": "1"}, {"required": ["exp", "jti"]}, True),
    ],
)
def test_claims_are_checked(claims: dict[str, Any], options: dict[str, Any], holds: bool) -> None:
    assert (JWT(SECRET, **options)(token(claims)) is not None) is holds


@pytest.mark.parametrize(("claim", "sign"), [("exp", -1), ("nbf", 1), ("iat", 1)])
def test_clocks_may_differ_by_the_leeway_and_no_more(claim: str, sign: int) -> None:
    within, beyond = (token({claim: time.time() + sign * seconds}) for seconds in (50, 70))

    assert JWT(SECRET, leeway=60)(within) is not None
    assert JWT(SECRET, leeway=60)(beyond) is None
    assert JWT(SECRET, leeway=0)(within) is None


@pytest.mark.parametrize(
    ("typ", "header", "holds"),
    [
        ("at+jwt", {"typ": "at+jwt"}, True),
        ("at+jwt", {"typ": "application/AT+JWT"}, True),
        ("at+jwt", {"typ": "JWT"}, False),
        ("at+jwt", {"typ": 7}, False),
        ("at+jwt", {}, False),
        (None, {}, True),
    ],
    ids=shown,
)
def test_a_typ_that_is_asked_for_must_be_there(typ: str | None, header: dict[str, Any], holds: bool) -> None:
    claims = {"sub": "ada", "exp": time.time() + 60}

    assert (JWT(SECRET, typ=typ)(forged({"alg": "HS256", **header}, claims, SECRET.encode())) is not None) is holds


# In an app -------------------------------------------------------------------------------------------------------


def test_in_an_app_a_token_opens_by_role_and_the_log_alone_says_why_another_does_not(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Guard(app, policies=[require_auth(bearer=JWT(JWKS, issuer="us"), roles="admin")])
    app.add_url_rule("/", "view", lambda: current_principal.id)

    def get(**claims: Any) -> Any:
        signed = token(claims, RSA, "RS256", kid="rsa")
        return app.test_client().get("/", headers={"Authorization": f"Bearer {signed}"})

    answers = [get(iss="us", roles=["admin"]), get(iss="us"), get(iss="them"), get(iss="us", exp=1)]

    assert [each.status_code for each in answers] == [200, 403, 401, 401]
    assert answers[2].text == answers[3].text
    reasons = [each.message.removeprefix("a JWT was refused: ") for each in caplog.records if "JWT" in each.message]
    assert [each.partition(" (")[0] for each in reasons] == ["invalid_claim", "expired_token"]


def test_principal_is_what_the_default_makes() -> None:
    assert isinstance(HS(token()), Principal)


def test_key_set_of_joserfc_can_be_given_as_its_mapping() -> None:
    assert JWT(dict(KeySet([RSA]).as_dict()))(token(key=RSA, alg="RS256", kid="rsa")).id == "ada"


def test_the_repr_shows_no_key() -> None:
    assert [repr(JWT(keys, issuer="us")) for keys in (SECRET, JWKS)] == ["JWT(issuer='us')"] * 2
    with pytest.raises(ConfigError) as caught:
        JWT("a short secret")
    assert "a short secret" not in str(caught.value)
