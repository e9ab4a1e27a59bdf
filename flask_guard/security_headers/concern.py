"""What the security headers declare."""

from __future__ import annotations

from ..core.concern import Concern

CONCERN: Concern = Concern(others=("secure_headers",))
