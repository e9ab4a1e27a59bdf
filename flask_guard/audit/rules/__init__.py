"""The general rules of the audit. Each concern brings its own in the ``audit`` module of its room."""

from __future__ import annotations

from ...core.facts import Checks
from . import endpoints, hooks, marks, settings

GENERAL: Checks = (*endpoints.CHECKS, *settings.CHECKS, *hooks.CHECKS, *marks.CHECKS)
