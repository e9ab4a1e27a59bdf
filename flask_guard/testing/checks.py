"""The tests that ``--guard-audit`` and ``--guard-lock`` add to a run of pytest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.cli import ScriptInfo

from ..audit.changes import changes_since
from ..audit.documents import line_of
from ..audit.findings import Audit, all_rules, examine
from ..audit.inventory import take_inventory
from ..audit.lock import parse
from ..core.facts import AuditRule, Inventory


class Subject:
    """The app under test and its audit, loaded when the first check asks for them."""

    def __init__(self, config: pytest.Config) -> None:
        self._path = config.getoption("--guard-app") or config.getini("guard_app") or os.environ.get("FLASK_APP")

    @cached_property
    def app(self) -> Flask:
        return ScriptInfo(app_import_path=self._path or None).load_app()

    @cached_property
    def inventory(self) -> Inventory:
        return take_inventory(self.app)

    @cached_property
    def audit(self) -> Audit:
        return examine(self.inventory)


class GuardCheck(pytest.Item):
    """A check of the app, as a test."""

    def __init__(self, *, subject: Subject, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.subject = subject

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.nodeid


class RuleCheck(GuardCheck):
    """Fails if a rule of the audit has a finding."""

    def __init__(self, *, rule: AuditRule, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rule = rule

    def runtest(self) -> None:
        found = [each for each in self.subject.audit.findings if each.rule.id == self.rule.id]
        if found:
            lines = [f"  {line_of(each)}" for each in found]
            head = f"{self.rule.id} {self.rule.severity}: {self.rule.title}"
            report = "\n".join((head, *lines, f"Fix: {self.rule.fix}", f"Why: {self.rule.why}"))
            pytest.fail(report, pytrace=False)


class LockCheck(GuardCheck):
    """Fails if the protection of an endpoint differs from the lock file."""

    def __init__(self, *, file: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.file = file

    def runtest(self) -> None:
        found = changes_since(parse(self.file.read_text(encoding="utf-8")), self.subject.inventory)
        if found:
            lines = [f"  {each.kind}: {each.message}" for each in found]
            report = "\n".join((f"differs from {self.file}:", *lines, "If the changes are intended: flask guard lock"))
            pytest.fail(report, pytrace=False)


def guard_items(session: pytest.Session) -> Iterator[pytest.Item]:
    """Yield the tests that the options ask for."""
    config = session.config
    subject = Subject(config)
    level, file = config.getoption("--guard-audit"), config.getoption("--guard-lock")
    for rule in all_rules() if level else ():
        if rule.is_at_least(level):
            yield RuleCheck.from_parent(
                session, name=rule.id, nodeid=f"guard-audit::{rule.id}", subject=subject, rule=rule
            )
    if file:
        path = config.invocation_params.dir / file
        yield LockCheck.from_parent(session, name=file, nodeid=f"guard-lock::{file}", subject=subject, file=path)
