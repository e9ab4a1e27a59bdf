"""Aliases that the whole package shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias, TypeVar

from flask import Flask
from flask.sansio.scaffold import Scaffold
from flask.views import View
from flask.wrappers import Response

HeaderPairs: TypeAlias = Iterable[tuple[str, str]]
"""Header fields as (name, value)."""

Mode: TypeAlias = Literal["enforce", "report"]
"""Whether a denying policy denies, or only reports what it would have denied."""

Purpose: TypeAlias = Literal["authentication", "limit", "cors", "headers", "csrf", "body", "unknown"]
"""The end that a policy serves, or another package's protection: ``unknown`` where it may refuse, or not."""

ViewFunction: TypeAlias = Callable[..., Any]

TargetT = TypeVar("TargetT", bound="ViewFunction | type[View] | Scaffold")
"""What a policy can be applied to: a view function, a class-based view, a blueprint or an app."""

__all__ = ["Flask", "HeaderPairs", "Mode", "Purpose", "Response", "Scaffold", "TargetT", "View", "ViewFunction"]
