"""Declarations of the rules for requests."""

from __future__ import annotations

from ..core.concern import Concern

CONCERN: Concern = Concern(
    denying=("require_request", "same_origin"),
    policies=("request_rules.require_request:require_request", "request_rules.same_origin:same_origin"),
)
