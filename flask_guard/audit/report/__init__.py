"""The report: one HTML page that loads nothing, with every route, its policies, and the findings of the audit.

The same facts in JSON have the schema ``flask_guard.report/1``. Its member ``routes`` is a document of the schema
``flask_guard.routes/1``, and its member ``audit`` a document of ``flask_guard.audit/1``.
"""

from __future__ import annotations

from typing import Any

from ...core.facts import Inventory
from ..documents import describe
from ..findings import Audit
from ..routes import describe_routes

SCHEMA = "flask_guard.report/1"


def describe_report(inventory: Inventory, audit: Audit) -> dict[str, Any]:
    """Return the report as one document."""
    return {"schema": SCHEMA, "routes": describe_routes(inventory), "audit": describe(inventory, audit)}
