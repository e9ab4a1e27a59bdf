"""All that flask_guard keeps for one app, in ``app.extensions["guard"]``. Two apps never share anything."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import Flask

from .config import GuardConfig

if TYPE_CHECKING:
    from flask.sansio.blueprints import BlueprintSetupState

    from ..guard import Guard
    from ..keys import KeyStore
    from .plan import Plan

T = TypeVar("T")
EXTENSION = "guard"
_VARIABLE = re.compile(r"<[^>]+>")


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a guarded blueprint was registered, for the requests below it that no rule matches.

    :ivar rank: orders mounts by how closely they say where they are: by depth, then by how little of it is variable.
    """

    blueprint: str
    subdomain: re.Pattern[str] | None
    prefix: re.Pattern[str]
    rank: tuple[int, int]

    @classmethod
    def of(cls, setup: BlueprintSetupState) -> Mount | None:
        """Return where `setup` puts its blueprint; None if nothing tells its paths from the app's."""
        prefix = (setup.url_prefix or "").rstrip("/")
        if not prefix and not setup.subdomain:
            return None
        where = f"{setup.subdomain or ''}{prefix}"
        return cls(
            f"{setup.name_prefix}.{setup.name}".lstrip("."),
            re.compile(_pattern(setup.subdomain, "[^.]+") + r"\Z") if setup.subdomain else None,
            re.compile(_pattern(prefix, "[^/]+") + r"(?:/|\Z)"),
            (prefix.count("/"), -len(_VARIABLE.findall(where))),
        )

    def covers(self, path: str, subdomain: str) -> bool:
        """Return whether `path` at `subdomain` lies below it."""
        return (self.subdomain is None or bool(self.subdomain.match(subdomain))) and bool(self.prefix.match(path))


def _pattern(text: str, variable: str) -> str:
    """Return `text` as a regular expression in which each variable part matches `variable`."""
    return variable.join(re.escape(part) for part in _VARIABLE.split(text))


@dataclass(slots=True, repr=False, eq=False)
class AppState:
    """The state of one app.

    It exists from the first policy or Guard that meets the app; ``guard`` is None until a Guard is installed.
    """

    app: Flask
    guard: Guard | None = None
    config: GuardConfig = field(default_factory=GuardConfig)
    key_store: KeyStore | None = None
    disabled: int = 0
    serving: bool = False
    mounts: list[Mount] = field(default_factory=list)
    plans: dict[tuple[str | None, str], Plan] = field(default_factory=dict)
    unusual_plans: dict[Hashable, Plan] = field(default_factory=dict)
    services: dict[Hashable, Any] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def of(cls, app: Flask) -> AppState:
        """Return the state of `app`, made at the first call."""
        return cast(AppState, app.extensions.setdefault(EXTENSION, cls(app)))

    def __repr__(self) -> str:
        return f"<state of {self.app.name!r}>"

    def service(self, make: Callable[[AppState], T]) -> T:
        """Return this app's one `make(state)`, such as the storage that every limit counts in."""
        with self.lock:
            if make not in self.services:
                self.services[make] = make(self)
            return cast(T, self.services[make])

    def once(self, what: str) -> bool:
        """Return True at the first call with `what`, for what is worth saying once."""
        with self.lock:
            first = what not in self.said
            self.said.add(what)
            return first

    def start_serving(self) -> None:
        """Forget what was compiled while the app was still being put together: more may have been registered since."""
        with self.lock:
            if not self.serving:
                self.plans.clear()
                self.unusual_plans.clear()
                self.services.clear()
                self.serving = True


def installed_state(app: Flask) -> AppState | None:
    """Return the state of `app` if a Guard is installed on it."""
    state = cast("AppState | None", app.extensions.get(EXTENSION))
    return state if state is not None and state.guard is not None else None
