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
"""The mode of a denying policy: it denies, or only reports the requests that it would deny."""

Purpose: TypeAlias = Literal["authentication", "limit", "cors", "headers", "csrf", "body", "unknown"]
"""The purpose of a policy or of another package's protection; ``unknown`` if it may refuse a request or not."""

ViewFunction: TypeAlias = Callable[..., Any]

TargetT = TypeVar("TargetT", bound="ViewFunction | type[View] | Scaffold")
"""The targets of policies: a view function, a class-based view, a blueprint or an app."""

__all__ = ["Flask", "HeaderPairs", "Mode", "Purpose", "Response", "Scaffold", "TargetT", "View", "ViewFunction"]
