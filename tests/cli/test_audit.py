"""``flask guard audit``: its formats, its exit codes, baselines, and silences."""

from __future__ import annotations

import html.parser
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import Result
from flask import Flask

from tests.audit.faults import FAULTS, GUARD, load, view

OPEN = FAULTS["FG001"].faulty
WEAK = FAULTS["FG051"].faulty.replace("def view", "def weak").replace('"/a"', '"/weak"')
BROKEN = """
class Broken(Policy):
    kind = "broken"

    def compile(self, target):
        raise ConfigError("this endpoint cannot have it")

broken = Broken()
"""
ETERNAL = FAULTS["FG062"].faulty
SARIF = Path(__file__).parent.parent / "data" / "sarif-schema-2.1.0.json"
"""The schema of the standard (OASIS, SARIF Version 2.1.0, errata 01)."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own, where the app's source lies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    return tmp_path


def faulty(folder: Path, source: str = OPEN + WEAK + ETERNAL) -> Flask:
    """Return an app with an error, a warning and a note, or with other faults."""
    app: Flask = load(folder, source + GUARD).app
    return app


def audit(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["guard", "audit", *arguments])


def document(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(
    ("source", "codes"),
    [(OPEN, (1, 1, 1)), (WEAK, (0, 1, 1)), (ETERNAL, (0, 0, 1)), ("", (0, 0, 0))],
    ids=["error", "warning", "info", "nothing"],
)
def test_audit_fails_from_a_severity_on(folder: Path, source: str, codes: tuple[int, int, int]) -> None:
    app = faulty(folder, source)

    results = [audit(app, "--fail-level", level).exit_code for level in ("error", "warning", "info")]

    assert tuple(results) == codes
    assert audit(app).exit_code == codes[0]


def test_text_has_rule_place_and_cure_of_each_finding(folder: Path) -> None:
    app = faulty(folder)

    text = audit(app).stdout

    assert "FG001 error: A write without authentication\n" in text
    assert "  shop_" in text
    assert "POST /a changes state and asks for no authentication or CSRF protection\n" in text
    assert "  Fix: Write @require_api_key, @require_auth(…) or @same_origin" in text
    assert "1 error, 1 warning, 1 info on 6 endpoints of" in text
    assert str(folder) not in text
    assert "\x1b" not in text


def test_text_of_a_sound_app_says_so(folder: Path) -> None:
    assert "No findings on 4 endpoints" in audit(faulty(folder, "")).stdout


def test_many_findings_of_one_rule_are_cut(folder: Path) -> None:
    views = "".join(view("", f'post("/a{n}")').replace("def view", f"def view{n}") for n in range(25))

    text = audit(faulty(folder, views)).stdout

    assert text.count("changes state and asks for") == 20
    assert "… and 5 more, which --format json lists" in text


FINDING = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "rule": {"type": "string", "pattern": r"^FG\d{3}$"},
        "severity": {"enum": ["error", "warning", "info"]},
        "title": {"type": "string"},
        "message": {"type": "string"},
        "where": {"type": "string"},
        "endpoints": {"type": "array", "items": {"type": "string"}},
        "file": {"type": ["string", "null"]},
        "line": {"type": ["integer", "null"]},
        "fix": {"type": "string"},
        "references": {"type": "array", "items": {"type": "string"}},
        "fingerprint": {"type": "string"},
        "because": {"type": "string"},
        "until": {"type": ["string", "null"]},
    },
    "required": ["rule", "severity", "title", "message", "where", "endpoints", "file", "line", "fix", "fingerprint"],
}
DOCUMENT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["schema", "app", "endpoints", "counts", "findings", "silenced"],
    "properties": {
        "schema": {"const": "flask_guard.audit/1"},
        "app": {"type": "string"},
        "endpoints": {"type": "integer"},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "findings": {"type": "array", "items": FINDING},
        "silenced": {"type": "array", "items": {**FINDING, "required": ["because", "until"]}},
    },
}
"""The document ``flask_guard.audit/1``."""


@pytest.mark.parametrize("arguments", [["--json"], ["--format", "json"]], ids=["--json", "--format json"])
def test_json_is_the_documented_document(folder: Path, arguments: list[str]) -> None:
    allowed = view("@allow('FG001', because='a test')", 'post("/allowed")').replace("def view", "def allowed")
    app = faulty(folder, OPEN + WEAK + allowed)

    found = document(audit(app, *arguments))

    jsonschema.validate(found, DOCUMENT)
    assert found["counts"] == {"error": 1, "warning": 1, "info": 0}
    first = found["findings"][0]
    assert (first["rule"], first["where"], first["endpoints"]) == ("FG001", "POST /a", ["POST /a"])
    source = (folder / first["file"]).read_text(encoding="utf-8").splitlines()
    assert 'app.post("/a")' in source[first["line"] - 1]
    assert [(each["where"], each["because"]) for each in found["silenced"]] == [("POST /allowed", "a test")]


def test_sarif_is_valid_and_points_at_the_line(folder: Path) -> None:
    allowed = view("@allow('FG001', because='a test')", 'post("/allowed")').replace("def view", "def allowed")
    app = faulty(folder, OPEN + ETERNAL + allowed)

    log = document(audit(app, "--format", "sarif"))

    jsonschema.validate(log, json.loads(SARIF.read_text(encoding="utf-8")))
    run = log["runs"][0]
    rules, results = run["tool"]["driver"]["rules"], run["results"]
    assert [rules[each["ruleIndex"]]["id"] for each in results] == [each["ruleId"] for each in results]
    first = results[0]["locations"][0]["physicalLocation"]
    assert (folder / first["artifactLocation"]["uri"]).is_file()
    assert first["artifactLocation"]["uriBaseId"] == "%SRCROOT%"
    assert "physicalLocation" not in results[1]["locations"][0]  # a key of the configuration has no line
    assert results[2]["suppressions"] == [{"kind": "inSource", "justification": "a test"}]


def test_sarif_of_a_file_elsewhere_has_its_whole_uri(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = faulty(folder, OPEN)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    result = document(audit(app, "--format", "sarif"))["runs"][0]["results"][0]

    artifact = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert artifact["uri"].startswith("file:///")
    assert "uriBaseId" not in artifact


def test_github_gets_one_annotation_for_each_finding(folder: Path) -> None:
    odd = view("", 'post("/50%,a:b")').replace("def view", "def odd")

    lines = audit(faulty(folder, OPEN + WEAK + ETERNAL + odd), "--format", "github").stdout.splitlines()

    assert len(lines) == 4
    assert lines[0].startswith("::error file=shop_")
    assert ",line=" in lines[0]
    assert ",title=FG001 A write without authentication::POST /50%25,a:b changes state" in lines[0]
    assert lines[2].startswith("::warning file=")
    assert lines[3].startswith("::notice title=FG062 An API key that never expires::")


class Page(html.parser.HTMLParser):
    """Collects the tags of a page, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]


def test_html_is_one_page_that_loads_nothing_and_escapes(folder: Path) -> None:
    odd = view("", 'post("/a&b\'")').replace("def view", "def odd")

    text = audit(faulty(folder, OPEN + odd), "--format", "html").stdout

    page = Page()
    page.feed(text)
    assert text.startswith("<!doctype html>")
    assert page.loads == ["#routes"]
    assert text.count(" changes state and") == 4  # two findings, in the page and in the data of its script
    assert "<li>POST /a&amp;b&#x27; changes state" in text
    assert "default-src &#x27;none&#x27;; style-src &#x27;sha256-" in text
    assert "script-src &#x27;sha256-" in text


def test_baseline_leaves_out_what_it_knows(folder: Path) -> None:
    known = audit(faulty(folder, OPEN), "--json").stdout
    (folder / "known.json").write_text(known, encoding="utf-8")
    other = view("", 'post("/other")').replace("def view", "def other")
    app = faulty(folder, "\n\n\n" + OPEN + other)  # it stands on another line now

    both, new = (document(audit(app, "--json", *more)) for more in ([], ["--baseline", "known.json"]))

    assert [each["where"] for each in both["findings"]] == ["POST /a", "POST /other"]
    assert [each["where"] for each in new["findings"]] == ["POST /other"]
    assert audit(faulty(folder, OPEN), "--baseline", "known.json").exit_code == 0


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "flask_guard.lock/1"}'], ids=["empty", "list", "dict", "lock"]
)
def test_a_baseline_that_is_something_else_is_refused(folder: Path, text: str) -> None:
    (folder / "known.json").write_text(text, encoding="utf-8")

    result = audit(faulty(folder), "--baseline", "known.json")

    assert result.exit_code == 2
    assert "known.json" in result.stderr


def test_explain_says_why_a_rule_matters(folder: Path) -> None:
    app = faulty(folder)

    text = audit(app, "--explain", "fg030").stdout

    assert text.startswith("FG030 error: A log-in without a strict limit\nWhy: Attackers can guess passwords")
    assert "Fix: Write @limit(" in text
    assert "ASVS 6.3.1" in text
    assert document(audit(app, "--explain", "FG030", "--json"))["id"] == "FG030"
    assert audit(app, "--explain", "FG999").exit_code == 2


def test_an_app_that_is_misconfigured_is_named_with_its_mistake(folder: Path) -> None:
    app = faulty(folder, BROKEN + view("@broken"))

    result = audit(app)

    assert result.exit_code == 6
    assert "this endpoint cannot have it" in result.stderr


@pytest.mark.slow
def test_an_app_without_a_guard_is_audited_as_it_stands(folder: Path) -> None:
    (folder / "plain.py").write_text(
        "from flask import Flask\napp = Flask('plain')\n@app.post('/things')\ndef add():\n    return 'added'\n",
        encoding="utf-8",
    )

    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "flask", "--app", "plain", "guard", "audit", "--json"],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert result.returncode == 1, result.stderr
    assert [(each["rule"], each["file"], each["line"]) for each in json.loads(result.stdout)["findings"]] == [
        ("FG001", "plain.py", 3),
        ("FG013", None, None),
    ]


def test_no_format_shows_a_secret(folder: Path) -> None:
    secret = "sesame-open-9"
    app = faulty(folder, f"\napp.config['GUARD_API_KEYS']['a'] = {secret!r}\n" + OPEN)

    for form in ("text", "json", "sarif", "html", "github"):
        text = audit(app, "--format", form).output
        assert secret not in text
        assert app.config["SECRET_KEY"] not in text
