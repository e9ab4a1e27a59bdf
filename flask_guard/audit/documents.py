"""Audits as documents for machines: JSON, SARIF 2.1.0 and GitHub's annotations. Baselines are JSON documents.

The JSON document has the schema ``flask_guard.audit/1``: ``app``, ``endpoints`` (their number), ``counts`` by severity,
``findings`` and ``silenced``. A finding has ``rule``, ``severity``, ``title``, ``message``, ``where``, ``endpoints``,
``file`` and ``line`` (null if unknown), ``fix``, ``references`` and ``fingerprint``. The fingerprint is the same on
every machine for the same rule and place. A silenced finding has ``because`` and ``until``, too. A schema of the same
number may gain fields. A field that is removed or changes its meaning gets the schema another number.

The document of a whole report has the schema ``flask_guard.report/1``. Its member ``routes`` is a document of
``flask_guard.routes/1``, and its member ``audit`` a document of ``flask_guard.audit/1``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.facts import SEVERITIES, AuditRule, Finding, Inventory, Severity
from ..errors import ConfigError
from ..support.text import printable
from .findings import Audit, all_rules
from .routes import describe_routes

SCHEMA = "flask_guard.audit/1"
REPORT_SCHEMA = "flask_guard.report/1"
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: Mapping[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
_COMMANDS: Mapping[Severity, str] = {"error": "error", "warning": "warning", "info": "notice"}


def describe(inventory: Inventory, audit: Audit) -> dict[str, Any]:
    """Return an audit as the document ``flask_guard.audit/1``."""
    counts = Counter(each.rule.severity for each in audit.findings)
    return {
        "schema": SCHEMA,
        "app": inventory.app.name,
        "endpoints": len(inventory.entries),
        "counts": {severity: counts[severity] for severity in SEVERITIES},
        "findings": [_described(each) for each in audit.findings],
        "silenced": [
            _described(each) | {"because": silence.because, "until": silence.until and silence.until.isoformat()}
            for each, silence in audit.silenced
        ],
    }


def _described(finding: Finding) -> dict[str, Any]:
    file, line = place_of(finding)
    return {
        "rule": finding.rule.id,
        "severity": finding.rule.severity,
        "title": finding.rule.title,
        "message": finding.message,
        "where": finding.where,
        "endpoints": [each.where for each in finding.entries],
        "file": file,
        "line": line,
        "fix": finding.rule.fix,
        "references": list(finding.rule.references),
        "fingerprint": fingerprint(finding),
    }


def place_of(finding: Finding) -> tuple[str | None, int | None]:
    """Return the file and the line of a finding. A file below the working directory has a relative path."""
    if finding.site is None:
        return None, None
    name, _, line = finding.site.rpartition(":")
    file, here = Path(name), Path.cwd()
    return (file.relative_to(here) if file.is_relative_to(here) else file).as_posix(), int(line)


def line_of(finding: Finding) -> str:
    """Return a finding as one line of text, for people."""
    file, line = place_of(finding)
    place = f"{file}:{line}: " if file is not None else ""
    return f"{printable(place, 400)}{printable(finding.message, 400)}"


def fingerprint(finding: Finding) -> str:
    """Return an identifier of a finding that stays the same when its line moves."""
    return hashlib.sha256(f"{finding.rule.id}\n{finding.where}".encode()).hexdigest()[:16]


def describe_report(inventory: Inventory, audit: Audit) -> dict[str, Any]:
    """Return the routes and the findings as the document ``flask_guard.report/1``."""
    return {"schema": REPORT_SCHEMA, "routes": describe_routes(inventory), "audit": describe(inventory, audit)}


# Baselines ------------------------------------------------------------------------------------------------------------


def without_known(audit: Audit, baseline: object) -> Audit:
    """Return an audit without the findings of a baseline, which is an earlier document of :func:`describe`.

    :raises ConfigError: if the baseline is another document.
    """
    if not isinstance(baseline, dict) or baseline.get("schema") != SCHEMA:
        raise ConfigError(
            f"the baseline is not an audit in JSON of the schema {SCHEMA!r}: write one with --format json"
        )
    known = Counter(each.get("fingerprint") for each in baseline.get("findings", ()))
    left = []
    for each in audit.findings:
        name = fingerprint(each)
        if known[name]:
            known[name] -= 1
        else:
            left.append(each)
    return Audit(tuple(left), audit.silenced)


# SARIF ----------------------------------------------------------------------------------------------------------------


def sarif(audit: Audit, version: str) -> dict[str, Any]:
    """Return an audit as a SARIF 2.1.0 log, for code scanning."""
    rules = all_rules()
    index = {rule.id: number for number, rule in enumerate(rules)}
    results = [_result(each, index) for each in audit.findings]
    for finding, silence in audit.silenced:
        suppression = {"kind": "inSource", "justification": silence.because}
        results.append({**_result(finding, index), "suppressions": [suppression]})
    driver = {
        "name": "flask_guard",
        "semanticVersion": version,
        "rules": [_sarif_rule(rule) for rule in rules],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_rule(rule: AuditRule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.fix}\n{', '.join(rule.references)}".strip()},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": ["security", *rule.references]},
    }


def _result(finding: Finding, index: Mapping[str, int]) -> dict[str, Any]:
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": finding.where}]}
    file, line = place_of(finding)
    if file is not None:
        artifact = {"uri": Path(file).as_uri()} if Path(file).is_absolute() else {"uri": file, "uriBaseId": "%SRCROOT%"}
        location["physicalLocation"] = {"artifactLocation": artifact, "region": {"startLine": line}}
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": index[finding.rule.id],
        "level": _LEVELS[finding.rule.severity],
        "message": {"text": f"{finding.message}. {finding.rule.fix}"},
        "locations": [location],
        "partialFingerprints": {"flaskGuard/v1": fingerprint(finding)},
    }


# GitHub ---------------------------------------------------------------------------------------------------------------


def github(audit: Audit) -> Iterator[str]:
    """Yield the findings as GitHub's workflow commands, which appear beside the lines of a pull request."""
    for each in audit.findings:
        file, line = place_of(each)
        place = {"file": file, "line": str(line)} if file is not None else {}
        properties = {**place, "title": f"{each.rule.id} {each.rule.title}"}
        listed = ",".join(f"{name}={_escaped(value or '', ':,')}" for name, value in properties.items())
        yield f"::{_COMMANDS[each.rule.severity]} {listed}::{_escaped(f'{each.message}. {each.rule.fix}')}"


def _escaped(text: str, also: str = "") -> str:
    return text.translate({ord(each): f"%{ord(each):02X}" for each in f"%\r\n{also}"})
