"""Fixtures of the tests of log_timing."""

from __future__ import annotations

import logging

import pytest

from tests.access_log.logged import LOGGER, Records
from tests.clock import clock

__all__ = ["clock"]


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    """Return a function that returns the access records so far."""
    caplog.set_level(logging.INFO, logger=LOGGER)
    return lambda: [record for record in caplog.records if record.name == LOGGER]
