"""The state of flask_guard for one app, in ``app.extensions["guard"]``. Two apps never share state."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from flask import Flask

from ..errors import ConfigError
from ..typing import ViewFunction
from .config import GuardConfig
from .url_patterns import Mount

T = TypeVar("T")
EXTENSION = "guard"


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """Policies that are switched off in a context, for tests.

    :ivar keys: the keys of the kinds of policy; None for every policy.
    """

    keys: frozenset[Hashable] | None


@dataclass(slots=True, repr=False, eq=False)
class AppState:
    """The state of one app.

    It is made by the first policy or Guard on the app. ``guard`` is None until a Guard is installed.

    :ivar at_start: called once before the first request, before the plans are made.
    :ivar unknown_kinds: the names in ``GUARD_MODES`` other than built-in kinds of policy.
    :ivar credentials: the header fields (in lower case) and query parameters from which the policies of any plan read
        credentials. Complete once the app serves.
    :ivar once_planned: called once before the first request, after the plans have been made.
    :ivar answer_options: each returns whether a decorator answers OPTIONS in place of the view inside.
    :ivar has_last_word: whether no ``after_request`` hook of the app sees a response after the policies.
    :ivar error: the mistake, found before the first request, because of which the app serves nothing.
    :ivar traces: whether plans note the effect of each policy on a request: :mod:`flask_guard.core.tracing`.
    :ivar rehearses: the original of this state, which is a copy for rehearsed requests; else None.
    """

    app: Flask
    guard: object | None = None
    config: GuardConfig = field(default_factory=GuardConfig)
    at_start: tuple[Callable[[AppState], None], ...] = ()
    unknown_kinds: frozenset[str] = frozenset()
    once_planned: list[Callable[[], None]] = field(default_factory=list)
    answer_options: tuple[Callable[[AppState, ViewFunction], bool], ...] = ()
    serving: bool = False
    has_last_word: bool = False
    error: ConfigError | None = None
    mounts: list[Mount] = field(default_factory=list)
    plans: dict[Hashable, Any] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    blocks: int = 0
    credentials: set[tuple[str, str]] = field(default_factory=set)
    services: dict[Hashable, Any] = field(default_factory=dict)
    resources: dict[Hashable, Any] = field(default_factory=dict)
    traces: bool = False
    rehearses: AppState | None = None
    _said: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, app: Flask) -> AppState:
        """Return the state of `app`, made at the first call."""
        found: AppState | None = app.extensions.get(EXTENSION)
        return found if found is not None else cast(AppState, app.extensions.setdefault(EXTENSION, cls(app)))

    def __repr__(self) -> str:
        return f"<state of {self.app.name!r}>"

    def service(self, make: Callable[[AppState], T]) -> T:
        """Return the app's only `make(state)`, such as the storage of all limits.

        It is made again when the app starts to serve, because registrations may change it until then.
        """
        return self._made(self.services, make)

    def resource(self, make: Callable[[AppState], T]) -> T:
        """Return the app's only `make(state)`, kept for the life of the app, such as connections or listeners."""
        return self._made(self.resources, make)

    def _made(self, kept: dict[Hashable, Any], make: Callable[[AppState], T]) -> T:
        with self.lock:
            if make not in kept:
                kept[make] = make(self)
            return cast(T, kept[make])

    def once(self, what: str) -> bool:
        """Return True at the first call with `what`, for messages that are logged once. Rehearsals log nothing."""
        with self.lock:
            if self.rehearses is not None:
                return False
            first = what not in self._said
            self._said.add(what)
            return first

    def forget_compiled(self) -> None:
        """Forget plans and services, because a registration may change them."""
        with self.lock:
            self.plans.clear()
            self.services.clear()

    # Switching policies off ------------------------------------------------------------------------------------------

    def switched_off(self, keys: frozenset[Hashable] | None) -> AbstractContextManager[None]:
        """Switch policies off for a ``with`` block, only in this context, and not in other threads.

        :param keys: the keys of the kinds of policy; None for every policy.
        """
        return self._adding(_SWITCHED_OFF, (self, SwitchedOff(keys)))

    def off_here(self) -> SwitchedOff | None:
        """Return the policies that are switched off in this context, or None."""
        owner = self.rehearses or self
        mine = [off.keys for state, off in _SWITCHED_OFF.get() if state is owner] if owner.blocks else []
        if not mine:
            return None
        return SwitchedOff(None if None in mine else frozenset().union(*filter(None, mine)))

    @contextmanager
    def _adding(self, variable: ContextVar[tuple[T, ...]], value: T) -> Iterator[None]:
        """Add `value` to a context variable, and send requests the slow way, which looks at their context."""
        token = variable.set((*variable.get(), value))
        with self.lock:
            self.blocks += 1
        try:
            yield
        finally:
            with self.lock:
                self.blocks -= 1
            variable.reset(token)

    # Rehearsals ------------------------------------------------------------------------------------------------------

    def rehearsal(self) -> AbstractContextManager[None]:
        """Rehearse the requests of a ``with`` block, only in this context: they change no state.

        The requests run with a copy of this state, which has its own plans and services, and the same resources. Code
        that counts, notes, sends or logs checks :attr:`rehearses` when it is compiled, or ``run.rehearsal``.
        """
        return self._adding(_REHEARSED, dataclasses.replace(self, plans={}, services={}, traces=True, rehearses=self))

    def here(self) -> AppState:
        """Return the state for a request in this context: in a rehearsal, the copy."""
        copies = [each for each in _REHEARSED.get() if each.rehearses is self] if self.blocks else []
        return copies[-1] if copies else self


_SWITCHED_OFF: ContextVar[tuple[tuple[AppState, SwitchedOff], ...]] = ContextVar("flask_guard.switched_off", default=())

_REHEARSED: ContextVar[tuple[AppState, ...]] = ContextVar("flask_guard.rehearsed", default=())
