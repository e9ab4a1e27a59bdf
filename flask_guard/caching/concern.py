"""Declarations of caching."""

from __future__ import annotations

from ..core.concern import Concern

CONCERN: Concern = Concern(others=("cache",), policies=("caching.cache:cache",), audit="caching.audit")
