"""Security headers: `secure_headers`, the words of content security policies, and the collector of their reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..support.lazy import importing

if TYPE_CHECKING:
    from .csp import nonce, strict_dynamic
    from .report_collector import csp_reports
    from .response_nonce import csp_nonce

__all__ = ["csp_nonce", "csp_reports", "nonce", "strict_dynamic"]

__getattr__: Callable[[str], Any] = importing(
    __name__,
    {"csp": ("nonce", "strict_dynamic"), "response_nonce": ("csp_nonce",), "report_collector": ("csp_reports",)},
)
