"""`ban`: what is refused where it is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Blueprint, Flask

from flask_guard import Ban, ConfigError, Guard, ban, protect
from tests.cases import together


@pytest.mark.parametrize("policy", [ban, ban(), ban(on=401)], ids=["bare", "called", "with options"])
def test_one_that_does_not_say_after_what_is_refused_wherever_it_is_applied(app: Flask, policy: Ban) -> None:
    targets: list[Callable[[], object]] = [
        lambda: policy(lambda: ""),
        lambda: protect(Blueprint("api", __name__), policy),
        lambda: Guard(app, policies=[policy]),
    ]
    for apply in targets:
        with pytest.raises(ConfigError, match=r"ban needs to know after what: @ban\(after='5/minute'"):
            apply()


@together(
    ("option", "value", "error"),
    [
        ("after", "often", ConfigError),
        ("after", "0/minute", ConfigError),
        ("after", 5, ConfigError),
        ("on", [], ConfigError),
        ("on", 200, ConfigError),
        ("on", [429, 600], ConfigError),
        ("on", "429", ConfigError),
        ("on", [429.5], ConfigError),
        ("on", None, ConfigError),
        ("lasting", 0, ConfigError),
        ("lasting", -1, ConfigError),
        ("lasting", True, ConfigError),
        ("lasting", 1.5, ConfigError),
        ("lasting", None, ConfigError),
        ("lasting", timedelta(milliseconds=1), ConfigError),
        ("lasting", 10**12, ConfigError),
        ("allow", "everybody", ConfigError),
        ("allow", [None], ConfigError),
        ("allow", "203.0.113.1/24", ConfigError),
        ("allow", lambda one, two: True, ConfigError),
        ("by", "adress", ConfigError),
        ("shared", "two words", ConfigError),
        ("methods", [], ConfigError),
        ("methods", ["PSOT"], ConfigError),
        ("when", 1, ConfigError),
        ("on_store_error", "open", ConfigError),
        ("mode", "shadow", ConfigError),
        ("cost", 2, TypeError),
        ("lsating", "1h", TypeError),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_by_name(option: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"ban\({option}=…\)|ban\(\) has no option '{option}'"):
        ban(**{"after": "5/minute", option: value})


def test_a_span_that_cannot_be_read_is_refused_with_an_example() -> None:
    with pytest.raises(ConfigError, match=r"ban\(lasting=…\): 'soon' is not a duration; write one such as 24h"):
        ban(after="5/minute", lasting="soon")


def test_it_takes_its_options_by_keyword() -> None:
    refine: Callable[..., object] = ban

    with pytest.raises(TypeError, match=r"ban\(\) takes options by keyword"):
        refine("5/minute")
