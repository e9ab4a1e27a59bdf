"""What the metrics declare."""

from __future__ import annotations

from ..core.concern import Concern

CONCERN: Concern = Concern(others=("metrics",))
