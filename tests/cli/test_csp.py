"""``flask guard csp``: suggesting a policy from reports, and scanning templates before users meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Flask, render_template
from jinja2 import FunctionLoader

from flask_guard import Guard, secure_headers

from .conftest import guard_command

REPORT = {
    "type": "csp-violation",
    "body": {
        "documentURL": "https://shop.example/orders",
        "effectiveDirective": "script-src-elem",
        "blockedURL": "https://cdn.example/a.js",
        "originalPolicy": "default-src 'self'; script-src 'self' 'nonce-AAAA'",
        "sourceFile": "https://shop.example/orders",
        "lineNumber": 7,
    },
}
EVAL = {"type": "csp-violation", "body": {**REPORT["body"], "effectiveDirective": "script-src", "blockedURL": "eval"}}  # type: ignore[dict-item]


@pytest.fixture
def reports(tmp_path: Path) -> str:
    file = tmp_path / "reports.jsonl"
    file.write_text("\n".join(json.dumps(each) for each in ([REPORT], [REPORT], EVAL)))
    return str(file)


@pytest.fixture
def templated(tmp_path: Path) -> Flask:
    """Return an app with one template, which its view renders."""
    (tmp_path / "page.html").write_text("<h1>Orders</h1>\n<b onclick='drop()'>Drop</b>\n<img src='{{ logo }}'>")
    app = Flask("templated", template_folder=str(tmp_path))
    app.add_url_rule("/", "page", lambda: render_template("page.html"))
    return app


# suggest -------------------------------------------------------------------------------------------------------------


def test_suggest_prints_the_policy_and_what_it_adds(app: Flask, reports: str) -> None:
    result = guard_command(app, "csp", "suggest", reports)

    assert result.exit_code == 0
    assert result.stdout == ("default-src 'self'; script-src 'self' 'nonce' 'unsafe-eval' https://cdn.example\n")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("  script-src 'unsafe-eval': reported once, for example by https://shop.example/orders")
    assert lines[1].startswith("    DANGEROUS: text can become code")
    assert lines[2].startswith("  script-src https://cdn.example: reported 2 times, for example by")


def test_suggest_starts_from_the_policy_that_is_given(app: Flask, reports: str) -> None:
    result = guard_command(app, "csp", "suggest", reports, "--policy", "script-src 'unsafe-eval'")

    assert result.stdout == "script-src 'unsafe-eval' https://cdn.example\n"


def test_suggest_says_what_was_dangerous_before(app: Flask, reports: str) -> None:
    result = guard_command(app, "csp", "suggest", reports, "--policy", "script-src 'unsafe-eval' http:")

    assert result.stderr.splitlines() == [
        "  script-src 'unsafe-eval': was allowed before",
        "    DANGEROUS: text can become code: find what calls eval() or new Function(), and replace it",
        "  script-src http:: was allowed before",
        "    DANGEROUS: whoever is on the way may change what is loaded: load it over https",
    ]


def test_suggest_says_that_inline_scripts_need_the_nonce(app: Flask, tmp_path: Path) -> None:
    inline = {"directive": "script-src-elem", "blocked_url": "inline", "document_url": "https://shop.example/orders"}
    (tmp_path / "reports.json").write_text(json.dumps(inline))

    result = guard_command(app, "csp", "suggest", str(tmp_path / "reports.json"), "--policy", "script-src 'self'")

    assert result.stdout == "script-src 'self' 'nonce'\n"
    assert 'add nonce="{{ csp_nonce() }}" to each inline script' in result.stderr


def test_suggest_prints_json(app: Flask, reports: str) -> None:
    document = json.loads(guard_command(app, "csp", "suggest", reports, "--json").stdout)

    assert document["policy"].startswith("default-src 'self'")
    assert [(each["source"], each["count"], bool(each["danger"])) for each in document["added"]] == [
        ("'unsafe-eval'", 1, True),
        ("https://cdn.example", 2, False),
    ]


def test_suggest_reads_standard_input(app: Flask) -> None:
    result = guard_command(app, "csp", "suggest", "-", input=json.dumps([REPORT]))

    assert "https://cdn.example" in result.stdout


@pytest.mark.parametrize(
    ("text", "arguments", "code", "words"),
    [
        ("[]", (), 3, "contains no report"),
        ("not JSON", (), 3, "contains no report"),
        (json.dumps({"directive": "img-src", "document_url": "a:", "blocked_url": "data"}), (), 2, "--policy"),
        (json.dumps(REPORT), ("--policy", "default-src self"), 2, "with its quotes"),
    ],
)
def test_suggest_says_what_is_wrong(
    app: Flask, tmp_path: Path, text: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    file = tmp_path / "reports.json"
    file.write_text(text)

    result = guard_command(app, "csp", "suggest", str(file), *arguments)

    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


# scan ----------------------------------------------------------------------------------------------------------------


def test_scan_prints_what_would_be_blocked_and_fails(templated: Flask) -> None:
    Guard(templated, policies=[secure_headers])

    result = guard_command(templated, "csp", "scan")

    assert result.exit_code == 1
    first, fix, second, _ = result.stdout.splitlines()
    assert first.endswith("page.html:2: event handler onclick 'drop()' would be blocked by default-src 'self' (page)")
    assert fix == "    call addEventListener() in a script"
    assert "page.html:3: <img src> 'https://this-site.invalid/{{…}}' may be blocked by default-src 'self'" in second
    assert result.stderr == "2 things would be blocked\n"


def test_scan_of_an_app_that_obeys_succeeds(templated: Flask) -> None:
    inline = {"script-src": "'unsafe-inline'", "img-src": None, "default-src": None}
    Guard(templated, policies=[secure_headers(csp=inline)])

    result = guard_command(templated, "csp", "scan")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing would be blocked\n")


def test_scan_prints_json(templated: Flask) -> None:
    Guard(templated, policies=[secure_headers])

    document = json.loads(guard_command(templated, "csp", "scan", "--json").stdout)

    assert [(each["line"], each["directive"], each["certain"], each["endpoints"]) for each in document] == [
        (2, "script-src-attr", True, ["page"]),
        (3, "img-src", False, ["page"]),
    ]


def test_scan_of_templates_that_cannot_be_listed_says_why() -> None:
    app = Flask("unlisted")
    app.jinja_env.loader = FunctionLoader(lambda name: "<h1>Orders</h1>")
    Guard(app, policies=[secure_headers])

    result = guard_command(app, "csp", "scan")

    assert result.exit_code == 2
    assert "the templates of 'unlisted' cannot be listed: this loader cannot iterate" in result.stderr


def test_scan_of_an_app_that_cannot_serve_says_why(app: Flask) -> None:
    policy = secure_headers(csp={"script-src": "'strict-dynamic'"})
    app.add_url_rule("/page", "page", policy(lambda: "hello"))

    result = guard_command(app, "csp", "scan")

    assert result.exit_code == 2
    assert "no script can run" in result.stderr
