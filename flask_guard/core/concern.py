"""The declarations of a concern: its config keys, its kinds of policy and its checks at start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..typing import ViewFunction
from .app_state import AppState
from .config import Setting


def _nothing(_state: AppState) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Concern:
    """One concern in the list of :mod:`flask_guard.concerns`, made in ``concern.py`` of its room without heavy imports.

    :param settings: the config keys of the concern.
    :param denying: the kinds of policies with a mode, for ``GUARD_MODES``.
    :param others: the kinds of policies without a mode.
    :param policies: its policies, each as ``module:name`` below the package, such as ``rate_limits.limit:limit``.
    :param audit: the module with its audit rules (:data:`~flask_guard.core.facts.Checks`), such as
        ``rate_limits.audit``. Imported when an app is audited.
    :param clocks: the clocks of its counts and caches, each as ``module:name`` below the package, for tests that stop
        them.
    :param reset: forgets the counts and caches of the app's clients, for tests.
    :param check: raises ConfigError for an invalid configuration of the app. Called when a Guard is installed.
    :param start: prepares the app before its first request, after all registrations.
    :param answers_options: returns whether a decorator answers OPTIONS in place of the view inside.
    """

    settings: tuple[Setting[Any], ...] = ()
    denying: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    audit: str = ""
    clocks: tuple[str, ...] = ()
    check: Callable[[AppState], None] = _nothing
    start: Callable[[AppState], None] = _nothing
    reset: Callable[[AppState], None] = _nothing
    answers_options: Callable[[AppState, ViewFunction], bool] | None = None
