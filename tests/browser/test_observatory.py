"""Mozilla's HTTP Observatory gives `strict` its best grade, and csp_evaluator finds nothing bad in any preset."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template_string, session

from flask_guard import Guard, secure_headers
from tests.conftest import required_program

from .conftest import Certificate, page, serving

MODULES = os.environ.get("TESTS_NODE_MODULES", "")
"""Where npm has installed @mdn/mdn-http-observatory and csp_evaluator; .ci/run does."""
SCRIPT = Path(__file__).parent / "observatory.mjs"
HIGH, MEDIUM = 10, 30
"""Severities of csp_evaluator: the lower, the worse."""

pytestmark = pytest.mark.skipif(
    not MODULES, reason="TESTS_NODE_MODULES does not say where @mdn/mdn-http-observatory and csp_evaluator are"
)


def site(preset: Any) -> Flask:
    """Return an app with a page and a session under `preset`."""
    app = Flask("site")
    app.config["SECRET_KEY"] = "a secret key for tests"

    def index() -> str:
        session["user"] = "ada"
        return render_template_string(page("<script nonce='{{ csp_nonce() }}'></script>"))

    app.add_url_rule("/", "index", index)
    redirects: dict[str, Any] = {} if preset == "api" else {"https_redirect": True}
    Guard(app, policies=[secure_headers(preset, session_cookie="Lax", **redirects)])
    return app


@pytest.fixture(scope="module")
def verdict(certificate: Certificate) -> dict[str, Any]:
    """Return what both say."""
    node = required_program("node", "nodejs")
    policies = {}
    for preset in ("strict", "api", "relaxed"):
        response = site(preset).test_client().get("/", base_url="https://shop.test")
        policies[preset] = response.headers["Content-Security-Policy"]
    app = site("strict")
    with serving(app) as plain, serving(app, certificate.context) as secure:
        result = subprocess.run(
            [node, SCRIPT, MODULES, "shop.test", str(plain.port), str(secure.port)],
            input=json.dumps(policies),
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(certificate.file)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert result.returncode == 0, result.stderr
    verdict: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return verdict


def test_observatory_gives_strict_its_best_grade(verdict: dict[str, Any]) -> None:
    assert (verdict["grade"], verdict["failed"]) == ("A+", [])


@pytest.mark.parametrize("preset", ["strict", "api", "relaxed"])
def test_csp_evaluator_finds_nothing_of_high_or_medium_severity(verdict: dict[str, Any], preset: str) -> None:
    assert [each for each in verdict["findings"][preset] if each["severity"] <= MEDIUM] == []
