"""The pytest plugin, as pytest runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

SHOP = """
from flask import Flask
from flask_guard import Guard, allow, limit, require_api_key

app = Flask("shop", static_folder=None)
app.config.update(MAX_CONTENT_LENGTH=1000, RATELIMIT_STORAGE_URI="sqlite:///limits.db")
Guard(app, policies=[limit("600/minute")])

@app.post("/orders")
DECORATOR
def create():
    return "created"
"""
TESTS = """
import pytest
from flask import Flask
from flask_guard import Guard, limit

@pytest.fixture(scope="module")
def app():
    app = Flask("search")
    Guard(app)
    app.add_url_rule("/", "search", limit("1/minute")(lambda: "found"))
    return app

@pytest.mark.parametrize("time", [1, 2])
def test_limits_begin_anew(app, guard_reset, time):
    client = app.test_client()
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]
    guard_reset(app)
    assert client.get("/").status_code == 200

def test_clock(app, guard_reset, guard_clock):
    client = app.test_client()
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]
    guard_clock.advance(61)
    assert client.get("/").status_code == 200
"""


@pytest.fixture
def shop(pytester: pytest.Pytester) -> pytest.Pytester:
    write(pytester, "@require_api_key")
    return pytester


def write(pytester: pytest.Pytester, decorator: str) -> None:
    pytester.makepyfile(shop=SHOP.replace("DECORATOR", decorator))


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep pytest from importing all plugins that are installed, which takes long."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run pytest in a process of its own: each run imports the app anew."""
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "flask_guard.testing.plugin", *options)


def test_pytest_finds_the_plugin_whose_fixtures_reset_and_stop_the_clock(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    pytester.makepyfile(TESTS)

    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist").assert_outcomes(passed=3)


def test_findings_are_failures_from_the_level_on(shop: pytest.Pytester) -> None:
    write(shop, "")

    result = run(shop, "--guard-audit", "--guard-app=shop:app")

    assert result.ret == 1
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(
        [
            "FG001 error: A write without authentication",
            "*shop.py:8: POST /orders changes state and asks for no authentication*",
            "Fix: Write @require_api_key*",
            "FAILED guard-audit::FG001*",
        ]
    )


def test_sound_app_passes_at_every_level(shop: pytest.Pytester) -> None:
    result = run(shop, "--guard-audit=info", "--guard-app=shop:app")

    assert result.ret == 0
    assert "failed" not in result.parseoutcomes()


def test_app_may_stand_in_the_ini_file(shop: pytest.Pytester) -> None:
    shop.makeini("[pytest]\nguard_app = shop:app\n")

    assert run(shop, "--guard-audit=warning").ret == 0


def test_lock_fails_where_the_app_became_weaker(shop: pytest.Pytester) -> None:
    lock = [sys.executable, "-m", "flask", "--app", "shop", "guard", "lock"]
    subprocess.run(lock, cwd=shop.path, check=True, capture_output=True)

    same = run(shop, "--guard-lock", "--guard-app=shop:app")
    write(shop, "@require_api_key(optional=True)")
    weaker = run(shop, "--guard-lock=guard.lock", "--guard-app=shop:app")

    assert same.ret == 0
    assert weaker.ret == 1
    weaker.stdout.fnmatch_lines(["*weaker: POST /orders: require_api_key has optional=true instead of false"])


def test_nothing_is_imported_until_it_is_asked_for() -> None:
    program = (
        "import sys, flask_guard.testing.plugin;"
        "print([name for name in ('flask', 'werkzeug', 'limits', 'flask_guard.guard') if name in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
