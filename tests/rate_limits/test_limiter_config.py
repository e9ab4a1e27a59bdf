"""`RATELIMIT_*`: a misspelled key is refused, because limits would be counted elsewhere than the app says."""

from __future__ import annotations

import pytest
from flask_limiter.constants import ConfigVars

from flask_guard import ConfigError, Guard, limit
from flask_guard.rate_limits.settings import KEYS, PREFIX

from ..conftest import MakeApp


def test_every_key_of_flask_limiter_is_known() -> None:
    theirs = {value for name, value in vars(ConfigVars).items() if name.isupper()}

    assert {PREFIX + key for key in KEYS} == theirs


@pytest.mark.parametrize(
    ("misspelled", "right"),
    [
        ("RATELIMIT_STORAGE_URL", "RATELIMIT_STORAGE_URI"),
        ("RATELIMIT_STORE_URI", "RATELIMIT_STORAGE_URI"),
        ("RATELIMIT_STORAGE_OPTION", "RATELIMIT_STORAGE_OPTIONS"),
        ("RATELIMIT_STRATERGY", "RATELIMIT_STRATEGY"),
        ("RATELIMIT_PREFIX", "RATELIMIT_KEY_PREFIX"),
        ("RATELIMIT_ENABLE", "RATELIMIT_ENABLED"),
    ],
)
def test_a_misspelled_key_is_refused_with_the_right_one(make_app: MakeApp, misspelled: str, right: str) -> None:
    app = make_app(**{misspelled: "redis://:hunter2@localhost/0"})

    with pytest.raises(ConfigError) as refusal:
        Guard(app)

    assert str(refusal.value) == f"unknown config key {misspelled}; did you mean {right}?"


def test_the_key_of_an_older_version_may_stand_beside_the_right_one(make_app: MakeApp) -> None:
    Guard(make_app(RATELIMIT_STORAGE_URL="memory://", RATELIMIT_STORAGE_URI="memory://"))


def test_a_key_that_resembles_none_is_warned_of_once(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(RATELIMIT_BILLING_PLAN_OF_THE_HOUSE=3, GUARD_RATELIMIT_HEADERS="legacy")

    Guard(app, policies=[limit("5/minute")])

    assert [each for each in caplog.messages if "BILLING" in each] == [
        "the config key RATELIMIT_BILLING_PLAN_OF_THE_HOUSE is ignored: Flask-Limiter has none of that name"
    ]


def test_every_key_may_be_set(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    Guard(make_app(**{PREFIX + key: None for key in KEYS if key != "ENABLED"}))

    assert caplog.messages == []
