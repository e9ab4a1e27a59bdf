"""Declarations of compression."""

from __future__ import annotations

from ..core.concern import Concern

CONCERN: Concern = Concern(others=("compress",), policies=("compression.compress:compress",), audit="compression.audit")
