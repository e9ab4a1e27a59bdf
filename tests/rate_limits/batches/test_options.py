"""The option `batch`: what is refused where it is written, and what says so."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_guard import ConfigError, Guard, limit
from tests.conftest import MakeApp
from tests.ids import shown
from tests.rate_limits.unlistable import Unlistable


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, r"limit\(batch=…\) must be a whole number of at least 1, not 0"),
        ({"batch": True}, "whole number"),
        ({"batch": 1.5}, "whole number"),
        ({"batch": "50"}, "whole number"),
        ({"batch": 50, "algorithm": "moving-window"}, "too much.*write algorithm='fixed-window', or leave batch out"),
        ({"batch": 50, "algorithm": "sliding-window-counter"}, "write algorithm='fixed-window'"),
        ({"batch": 50, "algorithm": "token-bucket"}, "write algorithm='fixed-window'"),
        ({"batch": 101}, r"limit\(batch=101\) is more than a limit of 100 has: write a smaller batch"),
        ({"batch": 5, "cost": 5}, r"limit\(batch=5, cost=5\).*such as 50"),
        ({"bach": 5}, "batch"),
    ],
    ids=shown,
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, TypeError), match=message):
        limit("100/minute", **options)


def serve(app: Flask) -> None:
    """Serve one request with a limit in batches."""
    Guard(app, policies=[limit("100/minute", batch=50)])
    app.test_client().get("/")


@pytest.mark.parametrize("strategy", ["moving-window", "sliding-window-counter"])
def test_a_strategy_of_the_app_that_is_not_exact_is_refused(app: Flask, strategy: str) -> None:
    app.config["RATELIMIT_STRATEGY"] = strategy

    with pytest.raises(ConfigError, match=rf"RATELIMIT_STRATEGY='{strategy}' could.*write algorithm='fixed-window'"):
        serve(app)


def test_an_algorithm_that_is_exact_replaces_the_strategy(make_app: MakeApp) -> None:
    app = make_app(RATELIMIT_STRATEGY="moving-window")
    Guard(app, policies=[limit("100/minute", batch=50, algorithm="fixed-window")])

    assert app.test_client().get("/").headers["RateLimit"] == '"100-per-minute";r=99;t=60'


def test_a_storage_that_cannot_lend_is_refused(make_app: MakeApp) -> None:
    (scheme,) = Unlistable.STORAGE_SCHEME

    with pytest.raises(ConfigError, match=r"limit\(batch=50\) counts in Redis, SQLite or memory"):
        serve(make_app(RATELIMIT_STORAGE_URI=f"{scheme}://"))


def test_the_largest_batch_and_the_smallest_are_fine() -> None:
    assert limit("100/minute", batch=100).batch == 100
    assert limit("100/minute", batch=1, cost=5).batch == 1
    assert limit("10/second; 1000/day", batch=50).batch == 50


def test_a_limit_shows_its_batch() -> None:
    assert repr(limit("100/minute", batch=50)) == "limit(rates=('100/minute',), batch=50)"
