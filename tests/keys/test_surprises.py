"""Mistakes that leave keys weaker than they look, or unused: each is told at start."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask

from flask_guard import ConfigError, Guard, require_api_key, require_auth

LONG = "a long random secret"


def told(caplog: pytest.LogCaptureFixture, keys: Any = None, **config: Any) -> list[str]:
    """Return what setting up an app logs."""
    app = Flask("shop")
    app.config.update(config)
    with caplog.at_level(logging.WARNING, logger="flask_guard"):
        Guard(app, keys=keys)
    return [record.getMessage() for record in caplog.records]


def test_keys_given_beside_the_configured_ones_are_told(caplog: pytest.LogCaptureFixture) -> None:
    (message,) = told(caplog, {"ci": LONG}, GUARD_API_KEYS={"shop": f"{LONG}!"})

    assert "GUARD_API_KEYS of 'shop' is not used" in message
    assert "keys=chain(" in message


@pytest.mark.parametrize(
    "config", [{}, {"GUARD_API_KEYS": {}}, {"GUARD_API_KEYS": {"ci": LONG}}], ids=["none", "empty", "alone"]
)
def test_one_source_of_keys_is_nothing_to_tell(caplog: pytest.LogCaptureFixture, config: dict[str, Any]) -> None:
    assert told(caplog, **config) == []


def test_a_secret_that_is_soon_guessed_is_told_without_it(caplog: pytest.LogCaptureFixture) -> None:
    (message,) = told(caplog, GUARD_API_KEYS={"ci": "Zq9", "shop": LONG})

    assert "the API keys 'ci' of 'shop' are very short, and can be guessed" in message
    assert "Zq9" not in message


@pytest.mark.parametrize("config", [{"TESTING": True}, {"DEBUG": True}], ids=str)
def test_short_secrets_are_fine_in_tests_and_in_development(
    caplog: pytest.LogCaptureFixture, config: dict[str, bool]
) -> None:
    assert told(caplog, GUARD_API_KEYS={"ci": "Zq9"}, **config) == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: require_api_key(scopes="a,b"),
        lambda: require_api_key(any_scope=["a,b"]),
        lambda: require_auth(session=lambda: None, roles="a,b"),
    ],
    ids=["scopes", "any_scope", "roles"],
)
def test_several_in_one_string_are_refused_with_how_to_list_them(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"'a,b' is not a (scope|role).*write several as a list: \["):
        wrong()
