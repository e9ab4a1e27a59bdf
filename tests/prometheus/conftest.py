"""Fixtures of the tests of metrics."""

from tests.clock import clock

__all__ = ["clock"]
