"""Declarations of the metrics."""

from __future__ import annotations

from ..core.concern import Concern

CONCERN: Concern = Concern(others=("metrics",), policies=("prometheus.metrics:metrics",))
