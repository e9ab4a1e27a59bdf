"""What a room of the house declares about itself: its config keys, its kinds of policy and its checks at start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..typing import ViewFunction
from .config import Setting

if TYPE_CHECKING:
    from .app_state import AppState


def _nothing(_state: AppState) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Concern:
    """One concern, as :mod:`flask_guard.concerns` lists it. Made in the ``concern.py`` of the room, without heavy
    imports.

    :param settings: the config keys that it reads.
    :param denying: the kinds of its policies that have a mode, for ``GUARD_MODES``.
    :param others: the kinds of its policies that have none.
    :param policies: its policies, each as ``module:name`` below the package, such as ``rate_limits.limit:limit``.
    :param audit: the module with its audit rules (:data:`~flask_guard.core.facts.Checks`), such as
        ``rate_limits.audit``. Imported when an app is audited.
    :param clocks: the clocks by which what it counts or keeps ends, each as ``module:name`` below the package: tests
        stop them.
    :param reset: forgets what was counted or cached for the app's clients, for tests.
    :param check: raises ConfigError if the app's configuration is invalid for it. Called when a Guard is installed.
    :param start: prepares the app before its first request, when everything has been registered.
    :param answers_options: returns whether a decorator around a view answers OPTIONS in place of that view.
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
