"""One fault for each rule of the audit, in an app that is sound but for that; and the same without the fault."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from textwrap import dedent
from types import ModuleType

from flask_guard.audit.findings import Audit, examine
from flask_guard.audit.inventory import take_inventory
from flask_guard.core.facts import Foreign, Inventory, Purpose

SOUND = """
import re
from flask import Blueprint, Flask, abort, redirect, render_template_string, request
from flask.views import MethodView
from flask_guard import *

app = Flask("shop")
app.config.update(
    SECRET_KEY="4f1d0c0a7b5e6f2d8c9b3a1e7d6f5c4b",
    SESSION_COOKIE_SECURE=True,
    SESSION_COOKIE_SAMESITE="Lax",
    MAX_CONTENT_LENGTH=1_000_000,
    RATELIMIT_STORAGE_URI="sqlite:///FOLDER/limits.db",
    GUARD_API_KEYS={"shop": {"hash": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                             "scopes": ["orders"], "expires": "2031-01-31"}},
)
HASH = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a"
protect(app, secure_headers, limit("600/minute"))

@app.get("/")
def index():
    return "<!doctype html><h1>Orders</h1>"

@app.post("/orders")
@require_api_key(scopes="orders")
def create():
    return "created"

@app.post("/login")
@limit("5/minute")
def login():
    return "welcome"

def find_user():
    return "ada"
"""
"""The source of an app, without a Guard yet, of which the audit finds nothing."""

GUARD = "\nGuard(app)\n"


@dataclass(frozen=True)
class Fault:
    """A fault, and what to write in its place: lines of an app that has no Guard yet.

    :ivar ending: the lines after these.
    :ivar facts: changes the inventory of the faulty one: what other packages do.
    :ivar also: other rules that find something in the faulty one, too.
    :ivar environ: environment variables of the faulty one.
    """

    faulty: str
    sound: str
    ending: str = GUARD
    facts: Callable[[Inventory], Inventory] = lambda inventory: inventory
    also: frozenset[str] = frozenset()
    environ: Mapping[str, str] = field(default_factory=dict)


def other_package(by: str, purpose: Purpose) -> Callable[[Inventory], Inventory]:
    """Return what adds protection by another package to the page ``/``."""

    def add(inventory: Inventory) -> Inventory:
        entries = [
            dataclasses.replace(each, foreign=(Foreign(by, purpose),)) if each.path == "/" else each
            for each in inventory.entries
        ]
        return dataclasses.replace(inventory, entries=tuple(entries))

    return add


_numbers = count()


def load(folder: Path, source: str) -> ModuleType:
    """Return the module that has `source` below that of the sound app."""
    name = f"shop_{next(_numbers)}"
    file = folder / f"{name}.py"
    file.write_text(SOUND.replace("FOLDER", str(folder)) + dedent(source), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def audited(folder: Path, source: str, facts: Callable[[Inventory], Inventory] = lambda inventory: inventory) -> Audit:
    """Return the audit of the app of a module."""
    return examine(facts(take_inventory(load(folder, source).app)))


def view(decorators: str, route: str = 'get("/a")', body: str = 'return "answer"') -> str:
    """Return the lines of a view."""
    lines = "".join(f"{each.strip()}\n" for each in decorators.splitlines() if each.strip())
    return f"\n@app.{route}\n{lines}def view():\n    {body}\n"


def config(line: str) -> str:
    return f"\napp.config.update({line})\n"


TENANT = """
@middleware
def tenant(request):
    return None if request.headers.get("X-Tenant") else ("no tenant", 400)
"""
PAGE = 'return render_template_string("hello")'
REASON = "because='the tests say so'"
CSP = "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
EXPORTS = """
exports = Blueprint("exports", __name__)
protect(exports, limit("{}", shared="exports"))

@exports.get("/exports/orders")
@limit("20/minute")
def orders():
    return "orders"

@exports.get("/exports/customers")
@limit("20/minute")
def customers():
    return "customers"

app.register_blueprint(exports)
"""
HELPER = "@limit('7/minute')\ndef helper():\n    return 'answer'\n"
HOOK = "\n@app.before_request\ndef hook():\n    {}\n"

FAULTS: dict[str, Fault] = {
    "FG001": Fault(view("", 'post("/a")'), view("@require_api_key", 'post("/a")')),
    "FG002": Fault(
        TENANT + view("@tenant", 'post("/a")'), TENANT + view("@tenant\n@require_api_key", 'post("/a")'),
    ),
    "FG003": Fault(view("@exempt(limit, secure_headers)"), view("@exempt(limit)")),
    "FG004": Fault(view("@require_api_key\n@exempt(limit)"), view("@require_api_key")),
    "FG010": Fault(config("DEBUG=True"), config("DEBUG=False")),
    "FG011": Fault(config("SECRET_KEY='change-me-please'"), config("SECRET_KEY='c3f8b1de0974a65f2b'")),
    "FG012": Fault(config("SESSION_COOKIE_SECURE=False"), config("SESSION_COOKIE_SAMESITE='Strict'")),
    "FG013": Fault(config("MAX_CONTENT_LENGTH=None"), config("MAX_CONTENT_LENGTH=1000")),
    "FG014": Fault(config("GUARD_ENABLED=False"), config("GUARD_ENABLED=True")),
    "FG020": Fault(
        HOOK.format("if 'bot' in request.user_agent.string: abort(403)"), HOOK.format("request.environ['noted'] = 1")
    ),
    "FG021": Fault(view("", body="return 'a'").replace("\n@app", "\n@exempt(limit)\n@app"), view("@exempt(limit)")),
    "FG022": Fault(view("@exempt(cors)"), view("@exempt(limit)")),
    "FG023": Fault(HELPER, view("@limit('7/minute')")),
    "FG024": Fault(
        view("@limit('9/minute', mode='report')"),
        view(f"@limit('9/minute', mode='report')\n@allow('FG024', {REASON}, until='2999-01-31')"),
    ),
    "FG025": Fault("", "", facts=other_package("Flask-Limiter", "limit")),
    "FG026": Fault(
        view("", body="return request.headers.get('X-Forwarded-For', '')"), view("", body="return request.remote_addr")
    ),
    "FG027": Fault("", GUARD, ending="", also=frozenset({"FG001", "FG003", "FG030", "FG050"})),
    "FG030": Fault(view("@limit('100/minute')", 'post("/sign-in")'), view("@limit('9/minute')", 'post("/sign-in")')),
    "FG031": Fault(config("RATELIMIT_STORAGE_URI='memory://'"), "", environ={"WEB_CONCURRENCY": "4"}),
    "FG032": Fault(config("RATELIMIT_STORAGE_URI='memory://'"), ""),
    "FG033": Fault(EXPORTS.format("3000/hour"), EXPORTS.format("1000/hour")),
    "FG034": Fault(
        "\nprotect(app, limit('500/minute', shared='all'))\n" + view("@limit('900/minute')"),
        view("@limit('9/minute')"),
    ),
    "FG040": Fault(
        view("@cors(origins='*')\n@require_api_key"), view("@cors(origins='*')"),
    ),
    "FG041": Fault(
        view(r"@cors(origins=re.compile(r'https://.*example\.com'), credentials=True)"),
        view(r"@cors(origins=re.compile(r'https://[a-z0-9-]+\.example\.com'), credentials=True)"),
    ),
    "FG042": Fault(
        view("@cors(origins='https://app.example.com', methods=['GET', 'DELETE'])"),
        view("@cors(origins='https://app.example.com')"),
    ),
    "FG050": Fault(view("@exempt(secure_headers)", body=PAGE), view("", body=PAGE)),
    "FG051": Fault(
        view(f'@secure_headers(csp="script-src \'unsafe-inline\'; {CSP}")'),
        view(f'@secure_headers(csp="default-src \'self\'; {CSP}")'),
    ),
    "FG052": Fault(view("@secure_headers(hsts='max-age=3600')"), view("@secure_headers(hsts='max-age=31536000')")),
    "FG060": Fault(
        "\napp.config['GUARD_API_KEYS']['a'] = 'sesame'\n",
        "\napp.config['GUARD_API_KEYS']['a'] = {'hash': HASH + '10', 'expires': '2031-01-31'}\n",
        also=frozenset({"FG061", "FG062"}),
    ),
    "FG061": Fault(
        "\napp.config['GUARD_API_KEYS']['a'] = 'Zk3vQ8rT1xYb6nLm0pWs'\n",
        "\napp.config['GUARD_API_KEYS']['a'] = {'hash': HASH + '11', 'expires': '2031-01-31'}\n",
        also=frozenset({"FG062"}),
    ),
    "FG062": Fault(
        "\napp.config['GUARD_API_KEYS']['a'] = HASH + '12'\n",
        "\napp.config['GUARD_API_KEYS']['a'] = {'hash': HASH + '12', 'expires': '2031-01-31'}\n",
    ),
    "FG063": Fault(view("@require_api_key(in_='query:key')"), view("@require_api_key(in_='x-api-key')")),
    "FG070": Fault(
        view("@require_auth(session=find_user)", 'post("/a")'), view("@require_auth(session=find_user)", 'get("/a")')
    ),
    "FG080": Fault(
        view("@cache('public', for_everyone=True)\n@require_api_key"), view("@cache('public')\n@require_api_key")
    ),
    "FG081": Fault(view("@compress(force=True)\n@require_api_key"), view("@compress\n@require_api_key")),
    "FG090": Fault(view(f"@allow('FG001', {REASON})"), view(f"@allow('FG001', {REASON})", 'post("/a")')),
    "FG091": Fault(
        view(f"@allow('FG001', {REASON}, until='2020-01-31')"),
        view(f"@allow('FG001', {REASON}, until='2999-01-31')", 'post("/a")'),
    ),
    "FG092": Fault(view(f"@allow('FG999', {REASON})"), view(f"@allow('FG001', {REASON})", 'post("/a")')),
}  # fmt: skip
"""By the id of the rule that finds it."""
