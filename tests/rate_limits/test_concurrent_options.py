"""`limit.concurrent`: what the fields say, and what is refused where it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask

from flask_guard import ConfigError, Guard, limit
from tests.cases import together
from tests.ids import shown

from .structured_fields import fields
from .test_concurrent_scopes import endless, serve

# Fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shared", "name"), [(None, "3-at-once"), ("reports", "reports-3-at-once")])
def test_the_fields_say_that_the_unit_is_requests_at_once(app: Flask, shared: str | None, name: str) -> None:
    client = serve(app, {"/": [limit.concurrent(3, shared=shared)]})

    with client.get("/") as first, client.get("/") as second:
        assert [fields(each) for each in (first, second)] == [
            ([(name, {"q": 3, "qu": "concurrent-requests"})], [(name, {"r": left})]) for left in (2, 1)
        ]


def test_two_of_one_number_have_two_names(app: Flask) -> None:
    client = serve(app, {"/": [limit.concurrent(3), limit.concurrent(3, by=lambda: "me")]})

    with client.get("/") as response:
        policy, now = fields(response)
    assert [name for name, _ in policy] == [name for name, _ in now] == ["3-at-once", "3-at-once-2"]


def test_headers_false_sends_none(app: Flask) -> None:
    with serve(app, {"/": [limit.concurrent(3, headers=False)]}).get("/") as response:
        assert not {"RateLimit", "RateLimit-Policy"} & {*response.headers.keys()}


# What is refused where it is written -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "amount", [0, -1, True, 1.5, "5", "5/minute", None, [5]], ids=shown
)  # fmt: skip
def test_an_amount_that_cannot_be_meant_is_refused(amount: Any) -> None:
    with pytest.raises(ConfigError, match=r"limit\.concurrent(\(amount=…\) must be|.* needs a number)"):
        limit.concurrent(amount)(endless)


@together(
    ("option", "value", "error"),
    [
        ("lease", 0, ConfigError),
        ("lease", None, ConfigError),
        ("lease", "1m", ConfigError),
        ("by", "adress", ConfigError),
        ("shared", "two words", ConfigError),
        ("methods", [], ConfigError),
        ("methods", ["PSOT"], ConfigError),
        ("when", 1, ConfigError),
        ("on_store_error", "open", ConfigError),
        ("headers", "no", ConfigError),
        ("mode", "shadow", ConfigError),
        ("cost", 2, TypeError),
        ("amonut", 2, TypeError),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_by_name(option: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"limit\.concurrent\(.*{option}|limit\.concurrent\(\) has no option '{option}'"):
        limit.concurrent(5, **{option: value})


def test_without_a_number_it_is_refused_wherever_it_is_applied(app: Flask) -> None:
    targets: list[Callable[[], object]] = [
        lambda: limit.concurrent(endless),
        lambda: limit.concurrent()(Blueprint("api", __name__)),
        lambda: Guard(app, policies=[limit.concurrent]),
    ]
    for apply in targets:
        with pytest.raises(ConfigError, match="needs a number"):
            apply()


def test_two_numbers_are_refused() -> None:
    refine: Callable[..., object] = limit.concurrent

    with pytest.raises(TypeError, match="by keyword"):
        refine(5, 6)
