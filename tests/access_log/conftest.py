"""What the tests of policies share."""

from __future__ import annotations

import logging

import pytest

from tests.access_log.logged import LOGGER, Records


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    """Return a function that returns the access records so far."""
    caplog.set_level(logging.INFO, logger=LOGGER)
    return lambda: [record for record in caplog.records if record.name == LOGGER]
