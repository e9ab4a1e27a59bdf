"""What caching declares: a kind of policy that refuses nothing."""

from __future__ import annotations

from ..core.concern import Concern

CONCERN: Concern = Concern(others=("cache",), policies=("caching.cache:cache",), audit="caching.audit")
