"""Marks for tests of what old versions of Flask cannot do."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest

FLASK: tuple[int, ...] = tuple(int(number) for number in re.findall(r"\d+", version("flask"))[:3])

needs_trusted_hosts = pytest.mark.skipif(FLASK < (3, 1), reason="Flask 3.0 has no TRUSTED_HOSTS")
needs_streams_that_end = pytest.mark.skipif(
    FLASK < (3, 1, 2) or version("flask") == "3.2.0.dev0",
    reason="before Flask 3.1.2, and in 3.2.0.dev0, stream_with_context leaves the context of a failed response open",
)
