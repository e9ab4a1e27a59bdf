"""The pytest plugin: fixtures and options for the tests of guarded apps. pytest finds it by itself.

- ``guard_clock``: a :class:`~flask_guard.testing.FrozenClock` for the test.
- ``guard_reset``: resets counts, bans and verified keys of the fixture ``app``, if there is one, before and after the
  test. ``guard_reset(other_app)`` resets another app.
- ``--guard-audit[=LEVEL]``: a test for each rule of the audit. Findings of the level (``error``) and above fail.
- ``--guard-lock[=FILE]``: a test that fails if ``flask guard check`` would.
- ``--guard-app=MODULE:NAME``, or ``guard_app`` in the ini file: the app of both options. By default, the app of
  ``FLASK_APP``, ``wsgi.py`` or ``app.py``, as for ``flask``.

pytest loads the plugin in every environment with the package, so imports wait until a test needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flask import Flask

    from .clock import FrozenClock

LEVELS = ("error", "warning", "info")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("flask_guard", "flask_guard")
    group.addoption(
        "--guard-audit",
        nargs="?",
        const="error",
        choices=LEVELS,
        metavar="LEVEL",
        help="Fail for findings of 'flask guard audit' of this level (error by default) and above.",
    )
    group.addoption(
        "--guard-lock", nargs="?", const="guard.lock", metavar="FILE", help="Fail if 'flask guard check' would."
    )
    group.addoption("--guard-app", metavar="MODULE:NAME", help="The app of both options, as for 'flask --app'.")
    parser.addini("guard_app", "The app of --guard-audit and --guard-lock, as for 'flask --app'.")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--guard-audit") or config.getoption("--guard-lock"):
        from .checks import guard_items

        items.extend(guard_items(session))


@pytest.fixture
def guard_clock() -> Iterator[FrozenClock]:
    """Stop the clock of limits, bans, keys and tokens. ``guard_clock.advance(60)`` moves it."""
    from .clock import frozen_clock

    with frozen_clock() as clock:
        yield clock


@pytest.fixture
def guard_reset(request: pytest.FixtureRequest) -> Iterator[Callable[[Flask], None]]:
    """Reset counts, bans and verified keys of the fixture ``app``, and return a function that resets any app."""
    try:
        app: Any = request.getfixturevalue("app")
    except pytest.FixtureLookupError:
        app = None
    if app is not None:
        _reset(app)
    yield _reset
    if app is not None:
        _reset(app)


def _reset(app: Flask) -> None:
    from ..core.app_state import AppState
    from ..guard import Guard

    guard = AppState.of(app).guard
    if isinstance(guard, Guard):
        with app.app_context():
            guard.reset()
