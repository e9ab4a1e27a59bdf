"""Facts about the protection of an app, for audits and reports: plain values, made from the plans that requests run.

:mod:`flask_guard.audit` makes them. Concerns read them in the audit rules that they bring along.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from flask import Flask

from ..support.options import plain_defaults
from ..typing import Purpose as Purpose
from .app_state import AppState
from .plan import Plan
from .policy import SAFE_METHODS, Placed, Policy

Severity: TypeAlias = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The gravest first."""

WRITING: frozenset[str] = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""The methods of RFC 9110 that change state."""
READING: frozenset[str] = SAFE_METHODS | {"PROPFIND", "QUERY", "REPORT", "SEARCH"}
"""Methods that change nothing: the safe ones of RFC 9110, section 9.2.1, and of its registry. All others may."""
EVERY_METHOD = "*"
"""The method of a rule that takes every one."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Protection by another package or by the app itself.

    :ivar by: its name, such as ``Flask-Limiter``, or a hook's.
    :ivar purpose: its purpose; ``unknown`` if it may refuse requests or not.
    :ivar detail: the known facts about it.
    :ivar scope: the place that it covers: ``app``, ``blueprint api``, or ``view``.
    :ivar site: the ``file:line`` of a hook or decorator of the app's own.
    :ivar is_idle: whether it lets everybody in: a decorator that is optional or switched off, or a hook whose code
        neither returns anything nor aborts. A function that the hook calls may still abort.
    """

    by: str
    purpose: Purpose
    detail: str = ""
    scope: str = "view"
    site: str | None = None
    is_idle: bool = False

    def describe(self) -> dict[str, Any]:
        """Return the fact as values that JSON can hold."""
        return {
            "by": self.by,
            "purpose": self.purpose,
            "detail": self.detail,
            "scope": self.scope,
            "site": self.site,
        }


STATED = "_flask_guard_stated"
"""The attribute of a view of the kit with facts about the protection that the view has in itself."""


def stated_by(view: Callable[..., Any] | None) -> tuple[Foreign, ...]:
    """Return the facts about the protection that a view has in itself."""
    facts: tuple[Foreign, ...] = getattr(view, STATED, ())
    return facts


@dataclass(frozen=True, slots=True)
class Entry:
    """One URL rule and method, and its protection.

    :ivar path: the rule, such as ``/orders/<int:id>``.
    :ivar plan: the plan that its requests run; None if the app has no Guard.
    :ivar below: the scopes by path that this entry lies below, where they hold for some paths of the rule only.
    :ivar site: the ``file:line`` of the view.
    :ivar host: the subdomain or host of the rule, if it has one.
    """

    path: str
    method: str
    endpoint: str
    plan: Plan | None
    foreign: tuple[Foreign, ...] = ()
    below: tuple[str, ...] = ()
    site: str | None = None
    host: str = ""
    view: Callable[..., Any] | None = field(default=None, repr=False, compare=False)

    @property
    def where(self) -> str:
        """Return its name in findings, such as ``POST /orders``."""
        host = f"//{self.host}" if self.host else ""
        return f"{self.method} {host}{self.path}{f' (below {self.below[-1]})' if self.below else ''}"

    @property
    def is_writing(self) -> bool:
        """Return whether its requests may change state."""
        return self.method not in READING

    @property
    def sent_method(self) -> str:
        """Return the method of a request to the entry: GET if the rule takes every method."""
        return "GET" if self.method == EVERY_METHOD else self.method

    def policy(self, name: str) -> Placed | None:
        """Return the policy called `name` in force, the nearest of several, or None."""
        found = [each for each in self.plan or () if each.policy.name == name]
        return found[-1] if found else None

    def has(self, purpose: Purpose) -> bool:
        """Return whether another package is known to serve a purpose."""
        return any(each.purpose == purpose for each in self.foreign)


@dataclass(frozen=True, slots=True)
class Application:
    """A policy in the place where it was written, and the entries that it reaches."""

    placed: Placed
    entries: tuple[Entry, ...]

    @property
    def where(self) -> str:
        """Return its name in findings: the entry of a view, or the scope."""
        return self.entries[0].where if self.placed.place.kind in ("view", "method") else self.placed.scope


@dataclass(frozen=True, slots=True)
class Inventory:
    """All entries of an app, and the facts about the app as a whole.

    :ivar foreign: the protection by others that holds at every entry.
    :ivar hooks: the ``before_request`` hooks of the app that may answer, by name, in the order in which they run.
    :ivar has_guard: whether a Guard is installed.
    :ivar is_enabled: whether its policies are in force; not so with ``GUARD_ENABLED = False``.
    :ivar mounts: other WSGI applications that are mounted beside the app: the prefix of their paths, and a name.
    """

    app: Flask
    entries: tuple[Entry, ...]
    foreign: tuple[Foreign, ...] = ()
    hooks: tuple[str, ...] = ()
    has_guard: bool = True
    is_enabled: bool = True
    mounts: tuple[tuple[str, str], ...] = ()

    @property
    def state(self) -> AppState:
        """Return what flask_guard keeps for the app."""
        return AppState.of(self.app)

    def enforced(self, entry: Entry) -> list[Policy]:
        """Return the policies of an entry that are enforced, and do not only report."""
        return [each.policy for each in entry.plan or () if each.policy.mode_in(self.state) == "enforce"]

    def serves(self, entry: Entry, *purposes: Purpose) -> bool:
        """Return whether one of `purposes` is known to be served at `entry`, by a policy or by another package."""
        wanted = set(purposes)
        enforced = {purpose for policy in self.enforced(entry) for purpose in policy.purposes}
        told = {purpose for each in entry.plan or () for purpose in each.policy.purposes} & {"cors", "headers"}
        ours = enforced | told  # in report mode, too, headers go out
        theirs = {each.purpose for each in (*entry.foreign, *self.foreign)}
        return not wanted.isdisjoint(ours | theirs)

    def applications(self, name: str | None = None) -> list[Application]:
        """Return the policies in force, each once for each place where it was written.

        :param name: the name of a policy; None for all.
        """
        found: dict[int, list[tuple[Placed, list[Entry]]]] = {}
        for entry in self.entries:
            for placed in entry.plan or ():
                if name in (None, placed.policy.name):
                    _add(found.setdefault(id(placed.mark), []), placed, entry)
        return [Application(placed, tuple(entries)) for group in found.values() for placed, entries in group]


def _add(group: list[tuple[Placed, list[Entry]]], placed: Placed, entry: Entry) -> None:
    """Add an entry to the entries of an equal policy: a policy that merges with an outer one may differ by entry."""
    for known, entries in group:
        if known.policy == placed.policy:
            entries.append(entry)
            return
    group.append((placed, [entry]))


def shown(entries: Sequence[Entry]) -> str:
    """Return entries in a few words: ``GET /a``, or ``12 endpoints, such as GET /a``."""
    return entries[0].where if len(entries) == 1 else f"{len(entries)} endpoints, such as {entries[0].where}"


def written(policy: Policy) -> str:
    """Return a policy as it may be written, with the options that are not the defaults, the same in every process."""
    plain, defaults = policy.plain_options(), plain_defaults(type(policy))
    options = [f"{name}={json.dumps(value)}" for name, value in plain.items() if value != defaults.get(name)]
    return f"{policy.name}({', '.join(options)})"


@dataclass(frozen=True, slots=True)
class AuditRule:
    """A rule of the audit.

    :ivar id: stable, such as ``FG001``.
    :ivar title: the fault, in a few words.
    :ivar why: why it matters.
    :ivar fix: what to write.
    :ivar references: OWASP ASVS 5.0 (``ASVS 4.1.2``) and API Security Top 10 2023 (``API4:2023``).
    :ivar dated: whether a silence needs a date.
    """

    id: str
    severity: Severity
    title: str
    why: str
    fix: str
    references: tuple[str, ...] = ()
    dated: bool = False

    def is_at_least(self, severity: Severity) -> bool:
        """Return whether its findings are as grave as `severity`, or graver."""
        return SEVERITIES.index(self.severity) <= SEVERITIES.index(severity)

    def at(self, entry: Entry, message: str) -> Finding:
        """Return a finding about one entry."""
        return Finding(self, message, entry.where, entry.site, (entry,))

    def on(self, application: Application, message: str) -> Finding:
        """Return a finding about a policy, at the line where that was written."""
        return Finding(self, message, application.where, application.placed.site, application.entries)

    def about(self, where: str, message: str, site: str | None = None) -> Finding:
        """Return a finding about the app as a whole, or about a part of it other than an entry."""
        return Finding(self, message, where, site)


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault that a rule found.

    :ivar where: the entry, the scope or the setting that it is about. Together with the id of the rule it names the
        finding in baselines, so it is the same on every machine.
    :ivar site: the ``file:line`` to change, if one is known.
    :ivar entries: the entries that it is about; none if it is about the app as a whole.
    """

    rule: AuditRule
    message: str
    where: str
    site: str | None = None
    entries: tuple[Entry, ...] = field(default=(), repr=False, compare=False)


Check: TypeAlias = Callable[[Inventory], Iterable[Finding]]
"""Looks for the faults of one rule."""

Checks: TypeAlias = tuple[tuple[AuditRule, Check], ...]
"""The rules that a concern brings, in the ``audit`` module of its room."""
