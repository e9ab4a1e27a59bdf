"""Fixtures of the tests of layers."""

from tests.clock import clock

__all__ = ["clock"]
