"""The general rules of the audit. Each concern has its own rules in its ``audit`` module."""

from __future__ import annotations

from ...core.facts import Checks
from . import endpoints, hooks, marks, settings

GENERAL: Checks = (*endpoints.CHECKS, *settings.CHECKS, *hooks.CHECKS, *marks.CHECKS)
