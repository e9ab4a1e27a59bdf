"""The rules of the audit: each finds its fault, and nothing where the fault is mended."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from flask_guard.audit.findings import all_rules
from tests.audit.faults import FAULTS, GUARD, Fault, audited, view

RULES = {rule.id: rule for rule in all_rules()}
every_fault = pytest.mark.parametrize(("rule", "fault"), FAULTS.items(), ids=list(FAULTS))


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing in the environment start several workers."""
    for name in ("WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"):
        monkeypatch.delenv(name, raising=False)


@every_fault
def test_rule_finds_its_fault(rule: str, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fault.environ.items():
        monkeypatch.setenv(name, value)

    audit = audited(tmp_path, fault.faulty + fault.ending, fault.facts)

    assert {finding.rule.id for finding in audit.findings} - fault.also == {rule}


@every_fault
def test_rule_is_silent_where_its_fault_is_mended(rule: str, fault: Fault, tmp_path: Path) -> None:
    audit = audited(tmp_path, fault.sound + (GUARD if fault.ending else ""))

    assert audit.findings == ()


def test_sound_app_has_no_finding(tmp_path: Path) -> None:
    assert audited(tmp_path, GUARD).findings == ()


def test_app_with_every_fault_is_found_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    apart = {"FG020", "FG027", "FG032"}  # a hook that may refuse; an app without a Guard; one worker
    sources = [renamed(fault.faulty, number) for number, fault in enumerate(FAULTS.values())]
    together = [source for rule, source in zip(FAULTS, sources, strict=True) if rule not in apart]

    audit = audited(tmp_path, "\n".join(together) + GUARD, FAULTS["FG025"].facts)

    assert {finding.rule.id for finding in audit.findings} == set(RULES) - apart


def renamed(source: str, number: int) -> str:
    """Return the source of a fault with names and paths of its own."""
    source = re.sub(r"def (view|hook|helper|tenant)\b", rf"def \1_{number}", source)
    source = re.sub(r"@tenant\b", f"@tenant_{number}", source)
    source = re.sub(r"\['GUARD_API_KEYS'\]\['a'\]", f"['GUARD_API_KEYS']['a{number}']", source)
    return source.replace('"/a"', f'"/a{number}"')


def test_every_rule_has_a_fault_that_fires_it() -> None:
    assert set(FAULTS) == set(RULES)


def test_ids_are_unique_and_stable_in_form() -> None:
    ids = [rule.id for rule in all_rules()]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"FG\d{3}", each) for each in ids)


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_rule_says_why_and_what_to_write(rule: object) -> None:
    for text in (rule.title, rule.why, rule.fix):  # type: ignore[attr-defined]
        assert text[0].isupper()
        assert "  " not in text
    assert rule.why.endswith(".")  # type: ignore[attr-defined]
    assert rule.fix.endswith(".")  # type: ignore[attr-defined]
    assert all(re.fullmatch(r"ASVS \d+\.\d+\.\d+|API\d+:2023", each) for each in rule.references)  # type: ignore[attr-defined]


def test_findings_name_the_line_to_change(tmp_path: Path) -> None:
    audit = audited(tmp_path, FAULTS["FG051"].faulty + GUARD)
    file, _, line = (audit.findings[0].site or "").rpartition(":")

    found = Path(file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert "@secure_headers(csp=" in found or (sys.version_info < (3, 11) and found == "def view():")


@pytest.mark.parametrize(
    "path",
    ["/catalog-index", "/design_uploads", "/backlog-inputs/<id>", "/comfast", "/redesign-update", "/assign-interns"],
)
def test_a_path_that_has_the_letters_of_a_log_in_is_none(path: str, tmp_path: Path) -> None:
    audit = audited(tmp_path, view("@limit('5/minute')", f'post("{path}")', "return str(request.view_args)") + GUARD)

    assert {finding.rule.id for finding in audit.findings} == {"FG001"}


@pytest.mark.parametrize(
    "path", ["/login", "/user-login", "/userLogin", "/log_in", "/api/sign-in/step2", "/mfa", "/verify-2fa", "/sign-up"]
)
def test_a_path_that_has_the_words_of_a_log_in_is_one(path: str, tmp_path: Path) -> None:
    audit = audited(tmp_path, view("", f'post("/elsewhere{path}")') + GUARD)

    assert {finding.rule.id for finding in audit.findings} == {"FG030"}


RESOURCES = pytest.mark.parametrize("path", ["/api/tokens", "/token", "/sessions", "/register"])


@RESOURCES
def test_open_write_whose_path_alone_may_be_a_log_in_is_an_open_write_too(path: str, tmp_path: Path) -> None:
    body = "return {'token': request.get_json()['name']}"
    audit = audited(tmp_path, view("", f'post("{path}")', body) + GUARD)

    assert {finding.rule.id for finding in audit.findings} == {"FG001", "FG030"}


@RESOURCES
@pytest.mark.parametrize(
    "body",
    ["return login(request.form['password'])", "return str(request.authorization)", "return verify_code(request.json)"],
)
def test_write_of_such_a_path_that_reads_a_credential_is_a_log_in(path: str, body: str, tmp_path: Path) -> None:
    audit = audited(tmp_path, view("", f'post("{path}")', body) + GUARD)

    assert {finding.rule.id for finding in audit.findings} == {"FG030"}
