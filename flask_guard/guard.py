"""The Flask extension: it reads the configuration, sets the hooks, and runs each request's plan."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Flask, current_app

from .cli import guard_group
from .core.app_state import AppState, installed_state
from .core.attach import attach, check_mark
from .core.config import read_config
from .core.hooks import install_hooks
from .core.marks import Mark, calling_site, scaffold_marks
from .core.plan import Place, Plan, collect
from .core.plan_lookup import endpoint_plan
from .core.policy import DenyingPolicy, Policy, kinds_of_policy
from .core.protect import Composition, flatten
from .errors import ConfigError
from .keys import ApiKey, KeySource, KeyStore, key_store

log: logging.Logger = logging.getLogger("flask_guard")


class Guard:
    """Runs the policies of an app.

    ::

        Guard(app, policies=[log_timing, secure_headers])

    Its hooks take their place among the app's own where this is called: a ``before_request`` hook that was registered
    earlier runs before every policy, one registered later after them.

    :param app: the app, or None to call :meth:`init_app` later.
    :param policies: policies for every endpoint of the app.
    :param keys: where API keys are looked up, in place of ``GUARD_API_KEYS``: a store, a mapping of the same form, or
        a callable that takes the presented key and returns an :class:`~flask_guard.ApiKey` or None.
    :raises ConfigError: if the configuration or a policy cannot be meant.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        policies: Iterable[Policy | Composition] = (),
        keys: KeyStore | KeySource | Mapping[str, Any] | Callable[[str], ApiKey | None] | None = None,
    ) -> None:
        self._policies = [Mark(policy, calling_site()) for policy in flatten(policies)]
        self._keys = keys
        self._app: Flask | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Guard `app`. Blueprints and views may be registered before or after.

        :raises ConfigError: if the app has a Guard already, or its configuration cannot be meant.
        """
        state = AppState.of(app)
        if state.guard is not None:
            raise ConfigError(f"{app.name!r} has a Guard already; give all app-wide policies to that one")
        kinds = kinds_of_policy()
        denying = frozenset(kind for kind, policy in kinds.items() if issubclass(policy, DenyingPolicy))
        state.config = read_config(app.config, denying)
        for policy in kinds.values():
            policy.check_config(state)
        state.key_store = key_store(self._keys if self._keys is not None else state.config.api_keys, app)
        state.guard = self
        self._app = app if self._app is None else self._app
        install_hooks(app, state)
        app.cli.add_command(guard_group)
        for mark in self._policies:
            mark.what.check_target(app)
            attach(mark, app)
        _check_what_is_there(state)
        if not state.config.enabled:
            log.warning("GUARD_ENABLED is False: nothing on %r is guarded", app.name)

    def plan_for(self, endpoint: str, method: str = "GET") -> Plan:
        """Return the plan that requests to `endpoint` with `method` run.

        From the first request on it is the very object; before that, more may yet be registered that changes it.

        :raises KeyError: if the app has no such endpoint.
        :raises ValueError: if the endpoint does not take the method.
        """
        state = self._state()
        rules = list(state.app.url_map.iter_rules(endpoint)) if endpoint in state.app.view_functions else []
        if not rules:
            raise KeyError(f"{state.app.name!r} has no endpoint {endpoint!r}")
        method = method.upper()
        rule = next((rule for rule in rules if method in (rule.methods or (method,))), None)
        if rule is None:
            raise ValueError(f"endpoint {endpoint!r} does not take {method}")
        return endpoint_plan(state, rule, method)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Switch every policy of the app off for a ``with`` block. For tests of what lies behind them."""
        state = self._state()
        with state.lock:
            state.disabled += 1
        try:
            yield
        finally:
            with state.lock:
                state.disabled -= 1

    def _state(self) -> AppState:
        app = current_app._get_current_object() if current_app else self._app  # type: ignore[attr-defined]
        state = installed_state(app) if app is not None else None
        if state is None or state.guard is not self:
            state = installed_state(self._app) if self._app is not None else None
        if state is None:
            raise RuntimeError("this Guard is not installed on an app: call guard.init_app(app)")
        return state


def _check_what_is_there(state: AppState) -> None:
    """Let every policy that the app has so far say whether it can work with the app's configuration."""
    app = state.app
    marks = [mark for target in (app, *app.blueprints.values()) for mark in scaffold_marks(target)]
    marks += [mark for endpoint in app.view_functions for mark in _marks(state, endpoint)]
    for mark in dict.fromkeys(marks):
        check_mark(mark, state)


def _marks(state: AppState, endpoint: str) -> Iterator[Mark]:
    methods = {method for rule in state.app.url_map.iter_rules(endpoint) for method in rule.methods or ()}
    for method in methods:
        for scope in collect(Place(state, endpoint, method)):
            yield from scope.marks
