"""The declarations of security headers."""

from __future__ import annotations

from ..core.concern import Concern

CONCERN: Concern = Concern(
    denying=("secure_headers",),
    policies=("security_headers.secure_headers:secure_headers",),
    audit="security_headers.audit",
)
