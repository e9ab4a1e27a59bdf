"""A log record with a secret in it fails the test that makes it: this is how one is found."""

from __future__ import annotations

import logging

import pytest
from flask import Flask

from flask_guard import Guard, log_timing
from tests.run_log import SecretFinder


def test_a_secret_in_a_record_would_have_been_found(
    app: Flask, run_log: SecretFinder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_guard.access")
    seen = run_log.seen
    Guard(app, policies=[log_timing])

    app.test_client().get("/a%20long%20random%20secret")

    assert run_log.seen == seen + 1
    assert "a long random secret" in run_log.found.pop()


@pytest.mark.parametrize(
    "text",
    [
        "fg_live_" + "a1B2" * 11,
        "Authorization: Bearer x",
        "Authorization: Bearer KEYS",
        f"{'eyJ' + 'a' * 20}.{'b' * 20}.{'c' * 20}",
        "Cookie: a=b",
    ],
)
def test_what_looks_like_a_secret_would_have_been_found(run_log: SecretFinder, text: str) -> None:
    logging.getLogger("flask_guard").warning("so it was: %s", text)

    assert text in run_log.found.pop()
