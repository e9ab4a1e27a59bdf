"""Facts about the protection of an app, for audits and reports: plain values, made from the plans that requests run.

:mod:`flask_guard.audit` makes them. Concerns read them in the audit rules that they bring along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from flask import Flask

from .plan import Plan
from .policy import Placed

Severity: TypeAlias = Literal["error", "warning", "info"]
Purpose: TypeAlias = Literal["authentication", "limit", "cors", "headers", "csrf", "unknown"]

WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""Methods that change state (RFC 9110, section 9.2.1: those that are not safe)."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Protection by another package or by the app itself.

    :ivar by: its name, such as ``Flask-Limiter``, or a hook's.
    :ivar purpose: its purpose; ``unknown`` where it may refuse or not.
    :ivar detail: what can be known of it.
    """

    by: str
    purpose: Purpose
    detail: str = ""

    def describe(self) -> dict[str, Any]:
        """Return the fact as values that JSON can hold."""
        return {"by": self.by, "purpose": self.purpose, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Entry:
    """One URL rule and method, and what protects it.

    :ivar path: the rule, such as ``/orders/<int:id>``.
    :ivar plan: the plan that its requests run; None if the app has no Guard.
    :ivar below: the scopes by path that hold for some of the paths of the rule only, where this is about those.
    :ivar site: the ``file:line`` of the view.
    """

    path: str
    method: str
    endpoint: str
    plan: Plan | None
    foreign: tuple[Foreign, ...] = ()
    below: tuple[str, ...] = ()
    site: str | None = None
    view: Callable[..., Any] | None = field(default=None, repr=False, compare=False)

    @property
    def where(self) -> str:
        """Return its name in findings, such as ``POST /orders``."""
        return f"{self.method} {self.path}{f' (below {self.below[-1]})' if self.below else ''}"

    @property
    def is_writing(self) -> bool:
        """Return whether its requests change state."""
        return self.method in WRITING

    def policy(self, name: str) -> Placed | None:
        """Return the policy called `name` in force, the nearest of several, or None."""
        found = [each for each in self.plan or () if each.policy.name == name]
        return found[-1] if found else None

    def has(self, purpose: Purpose) -> bool:
        """Return whether another package is known to serve a purpose."""
        return any(each.purpose == purpose for each in self.foreign)


@dataclass(frozen=True, slots=True)
class Inventory:
    """All entries of an app, and what is said of the app as a whole.

    :ivar hooks: the ``before_request`` hooks that may answer, by name, in the order in which they run.
    :ivar has_guard: whether a Guard is installed.
    """

    app: Flask
    entries: tuple[Entry, ...]
    foreign: tuple[Foreign, ...] = ()
    hooks: tuple[str, ...] = ()
    has_guard: bool = True


@dataclass(frozen=True, slots=True)
class AuditRule:
    """One rule of the audit.

    :ivar id: stable, such as ``FG001``.
    :ivar title: the fault, in a few words.
    :ivar why: why it matters.
    :ivar fix: what to write.
    :ivar references: OWASP ASVS 5.0 (``ASVS 4.1.2``) and API Security Top 10 2023 (``API4:2023``).
    """

    id: str
    severity: Severity
    title: str
    why: str
    fix: str
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault that a rule found.

    :ivar where: the entry or the app that it is about.
    :ivar site: the ``file:line`` to change, if one is known.
    """

    rule: AuditRule
    message: str
    where: str
    site: str | None = None


Check: TypeAlias = Callable[[Inventory], Iterable[Finding]]
"""Looks for the faults of one rule."""

Checks: TypeAlias = tuple[tuple[AuditRule, Check], ...]
"""The rules that a concern brings, in the ``audit`` module of its room."""
