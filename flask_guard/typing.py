"""Aliases and protocols that the package shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from flask import Flask
from flask.sansio.scaffold import Scaffold
from flask.typing import ResponseReturnValue
from flask.views import View
from flask.wrappers import Response

if TYPE_CHECKING:
    from .core.request_run import Run

HeaderPairs: TypeAlias = Iterable[tuple[str, str]]
"""Header fields as (name, value)."""

Mode: TypeAlias = Literal["enforce", "report"]
"""Whether a denying policy denies, or only says what it would have denied."""

OnStoreError: TypeAlias = Literal["local", "allow", "deny"]
"""What becomes of a request when the store cannot be asked: counted in this process, let through, or denied."""

ViewFunction: TypeAlias = Callable[..., Any]

TargetT = TypeVar("TargetT", bound="ViewFunction | type[View] | Scaffold")
"""What a policy can be applied to: a view function, a class-based view, a blueprint or an app."""

Enter: TypeAlias = "Callable[[Run], ResponseReturnValue | None]"
"""Runs before the view. Returns a response to answer at once, raises ``Denied`` to refuse, or returns None."""

Leave: TypeAlias = "Callable[[Run, Response], Response | None]"
"""Runs on the response. Changes it in place, or returns another."""

Teardown: TypeAlias = "Callable[[Run, BaseException | None], None]"
"""Runs when the request context goes, whatever happened. Gets the exception that nobody handled, if there was one."""

__all__ = [
    "Enter",
    "Flask",
    "HeaderPairs",
    "Leave",
    "Mode",
    "OnStoreError",
    "Response",
    "Scaffold",
    "TargetT",
    "Teardown",
    "View",
    "ViewFunction",
]
