"""What is used of Flask without being promised is still there, and its absence harms nothing."""

from __future__ import annotations

import subprocess
import sys
from contextvars import ContextVar

import pytest
from flask import globals as flask_globals

from flask_guard.core.flask_versions import VARIABLE

SERVE = """
import flask.globals
del vars(flask.globals)[{name!r}]
from flask import Flask
from flask_guard import Guard, secure_headers
app = Flask("tests")
Guard(app, policies=[secure_headers])
app.add_url_rule("/", "index", lambda: "served")
print(app.test_client().get("/").headers["X-Content-Type-Options"])
"""


def test_the_variable_of_the_context_is_where_it_is_looked_for() -> None:
    assert isinstance(vars(flask_globals).get(VARIABLE), ContextVar), (
        f"Flask has no flask.globals.{VARIABLE} any more. Find the new name, or requests are slower"
    )


@pytest.mark.slow
def test_without_it_requests_are_served_as_well() -> None:
    program = [sys.executable, "-c", SERVE.format(name=VARIABLE)]

    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == "nosniff\n"
