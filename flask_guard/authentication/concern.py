"""Declarations of authentication: the config key of the realm, which API keys use too."""

from __future__ import annotations

from ..core.concern import Concern
from ..core.config import Setting
from ..support.options import realm

REALM: Setting[str] = Setting("GUARD_REALM", "api", realm)
"""The realm of the challenges of policies without a realm of their own."""

CONCERN: Concern = Concern(
    settings=(REALM,),
    denying=("require_auth",),
    policies=("authentication.require_auth:require_auth",),
    audit="authentication.audit",
    clocks=("authentication.jwt_decoder:time",),
)
