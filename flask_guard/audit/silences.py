"""Silences: findings of the audit that the code accepts, with a reason; and the rules about silences themselves."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import ClassVar

from ..core.facts import AuditRule, Entry, Finding, Inventory
from ..core.marks import Applicable, Mark, calling_site, scaffold_marks
from ..core.path_scopes import path_scopes
from ..core.policy import apply
from ..errors import ConfigError
from ..typing import TargetT
from .scopes import marks_on_functions, scopes_of

_ID = re.compile(r"[A-Z]{2,}[0-9]{3,}")


@dataclass(frozen=True, slots=True)
class Silence(Applicable):
    """Accepts findings of the audit on its target; see :func:`allow`. Requests ignore silences."""

    is_guarding: ClassVar[bool] = False
    needs_guard: ClassVar[bool] = False

    ids: tuple[str, ...]
    because: str
    until: date | None = None

    @property
    def name(self) -> str:
        return "allow"

    @property
    def key(self) -> Hashable:
        return (self.name, *self.ids)

    def __call__(self, target: TargetT) -> TargetT:
        return apply((self,), target, calling_site())

    def conflict_with(self, other: Applicable) -> str:
        both = set(self.ids) & set(other.ids) if isinstance(other, Silence) else set()
        return f"one target allows {min(both)} twice. Write it once" if both else ""

    def has_ended(self, today: date) -> bool:
        """Return whether the last day of the silence is over."""
        return self.until is not None and self.until < today

    def __repr__(self) -> str:
        until = f", until={self.until.isoformat()!r}" if self.until else ""
        return f"allow({', '.join(map(repr, self.ids))}, because={self.because!r}{until})"


def allow(*ids: str, because: str, until: str | date | None = None) -> Silence:
    """Accept findings of ``flask guard audit`` at a target, with a reason.

    ::

        @app.post("/webhooks/github")
        @allow("FG001", because="GitHub signs its calls; verify_signature checks that", until="2027-01-31")
        def github(): ...

    ``allow`` works on a view, a View class, a blueprint or an app, and on a path with
    ``protect(app, …, under="/webhooks")``. Requests are not changed. The audit reports silences that are unused or have
    ended.

    :param ids: the rules, such as ``"FG001"``.
    :param because: the reason, for the next reader.
    :param until: the last day of the silence, such as ``"2027-01-31"``; None for no end.
    :raises ConfigError: for a malformed id or date, and for a missing reason.
    """
    for each in ids:
        if not isinstance(each, str) or not _ID.fullmatch(each):
            raise ConfigError(f"allow({each!r}) is not the id of an audit rule: write an id such as 'FG001'")
    if not ids:
        raise ConfigError("allow() names no rule: write allow('FG001', because='…')")
    if not isinstance(because, str) or not because.strip():
        raise ConfigError("allow(because=…) has no reason: write one for the next reader")
    return Silence(ids, because, _last_day(until))


def _last_day(until: object) -> date | None:
    if until is None or type(until) is date:
        return until
    try:
        return date.fromisoformat(until)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(f"allow(until={until!r}) is not a day: write one such as '2027-01-31'") from None


# In an audit ------------------------------------------------------------------------------------------------------

UNUSED = AuditRule(
    "FG090",
    "info",
    "A silence accepts nothing",
    "The silence would hide the next finding of its rule there, which nobody has reviewed.",
    "Remove the rule from allow(…), or put allow(…) where the finding is: below the route, like a policy.",
)
ENDED = AuditRule(
    "FG091",
    "warning",
    "A silence has ended",
    "The fault was accepted until a day that is over, and is reported again.",
    "Fix the fault, or review it and write a later day.",
)
UNKNOWN = AuditRule(
    "FG092",
    "warning",
    "A silence names a rule that does not exist",
    "No finding is accepted under this id.",
    "Write the id as 'flask guard audit' prints it.",
)
RULES_ABOUT_SILENCES = (UNUSED, ENDED, UNKNOWN)


@dataclass(slots=True)
class Silences:
    """The silences of an app.

    :ivar used: the marks and rule ids that have silenced a finding.
    """

    inventory: Inventory
    today: date
    used: set[tuple[Mark, str]] = field(default_factory=set)
    _by_entry: dict[int, list[Mark]] = field(default_factory=dict)
    _of_app: list[Mark] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._of_app = _silences(scaffold_marks(self.inventory.app))
        for entry, scopes in scopes_of(self.inventory):
            marks = _silences(mark for scope in scopes for mark in scope.marks)
            if marks:
                self._by_entry[id(entry)] = marks

    def split(self, finding: Finding) -> tuple[tuple[Entry, ...], Silence | None]:
        """Return the entries of a finding that no silence accepts, and a silence that accepts the others."""
        if not finding.entries:
            return (), self._accepting(finding, self._of_app)
        found: Silence | None = None
        left = []
        for entry in finding.entries:
            silence = self._accepting(finding, self._by_entry.get(id(entry), ()))
            found = silence or found
            left += [] if silence else [entry]
        return tuple(left), found

    def _accepting(self, finding: Finding, marks: Iterable[Mark]) -> Silence | None:
        for mark in marks:
            silence = mark.what
            if isinstance(silence, Silence) and finding.rule.id in silence.ids and not silence.has_ended(self.today):
                self.used.add((mark, finding.rule.id))
                if silence.until or not finding.rule.dated:
                    return silence
        return None

    def marks(self) -> list[Mark]:
        """Return the marks of all silences, also of silences that reach no entry."""
        app = self.inventory.app
        found = [mark for marks in self._by_entry.values() for mark in marks] + self._of_app
        for scope in path_scopes(app):
            found += _silences(scope.marks)
        for blueprint in app.blueprints.values():
            found += _silences(scaffold_marks(blueprint))
        return list(dict.fromkeys([*found, *_silences(marks_on_functions(app))]))

    def faults(self, rules: tuple[AuditRule, ...]) -> Iterator[Finding]:
        """Look for the faults of all silences, after the other rules have run."""
        dated = {rule.id: rule.dated for rule in rules}
        for mark in self.marks():
            assert isinstance(mark.what, Silence)  # noqa: S101
            for rule in mark.what.ids:
                where, site = f"allow({rule!r})", str(mark.site)
                if rule not in dated:
                    yield UNKNOWN.about(where, f"{mark.what!r} names the unknown rule {rule}", site)
                elif mark.what.has_ended(self.today):
                    yield ENDED.about(where, f"{mark.what!r} has ended", site)
                elif (mark, rule) not in self.used:
                    yield UNUSED.about(where, f"{mark.what!r} accepts nothing: {rule} finds nothing there", site)
                elif dated[rule] and mark.what.until is None:
                    yield ENDED.about(where, f"{mark.what!r} has no last day: write until=…", site)


def _silences(marks: Iterable[Mark]) -> list[Mark]:
    return [mark for mark in marks if isinstance(mark.what, Silence)]
