"""The Flask extension: it reads the configuration, sets the hooks, and runs each request's plan."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, request

from .cli import guard_group
from .concerns import ALL_SETTINGS, CONCERNS
from .core.app_state import AppState
from .core.attach import attach, refuse_other_rules
from .core.config import ENABLED, MODES, check_kinds, read_config
from .core.flask_versions import current_flask
from .core.hooks import install_hooks
from .core.marks import Mark, calling_site
from .core.plan import Plan
from .core.plan_lookup import endpoint_plan
from .core.policy import Policy
from .core.problems import render_errors
from .core.protect import Composition, flatten
from .core.start import check_app, check_view
from .core.views import Views
from .errors import ConfigError
from .keys.concern import API_KEYS
from .support.log import log
from .support.text import did_you_mean
from .typing import Mode, ViewFunction

if TYPE_CHECKING:
    from .keys import ApiKey, KeySource, KeyStore


class Guard:
    """Runs the policies of an app.

    ::

        Guard(app, policies=[log_timing, secure_headers])

    Its hooks stand among the app's own hooks in the order of registration: an earlier ``before_request`` hook runs
    before every policy, a later one after them.

    :param app: the app, or None to call :meth:`init_app` later.
    :param policies: policies for every endpoint of the app.
    :param keys: the source of API keys, in place of ``GUARD_API_KEYS``: a store, a mapping of the same form, or a
        callable that takes the presented key and returns an :class:`~flask_guard.ApiKey` or None.
    :param inspector: True for a live page at ``/_guard`` in debug mode, for browsers on the same machine. A policy,
        such as ``require_auth(basic=log_in)``, opens the page to others. See :mod:`flask_guard.audit.inspector`.
    :raises ConfigError: if the configuration or a policy is invalid.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        policies: Policy | Composition | Iterable[Policy | Composition] = (),
        keys: KeyStore | KeySource | Mapping[str, Any] | Callable[[str], ApiKey | None] | None = None,
        inspector: bool | Policy = False,
    ) -> None:
        several = (policies,) if isinstance(policies, (Policy, Composition)) else policies
        self._policies = [Mark(policy, calling_site()) for policy in flatten(several)]
        self._keys = keys
        self._inspector = inspector
        self._installed = 0
        self._first: weakref.ref[Flask] | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Guard `app`. Blueprints and views may be registered before or after.

        :raises ConfigError: if the app has a Guard already, or its configuration is invalid.
        :raises TypeError: if `app` is no Flask app.
        """
        if not isinstance(app, Flask):
            raise TypeError(f"Guard(app) takes the Flask app to guard, not a {type(app).__name__}")
        state = AppState.of(app)
        if state.guard is not None:
            raise ConfigError(f"{app.name!r} has a Guard already; pass all app-wide policies to the first one")
        self._read_config(state)
        state.guard = self
        self._installed += 1
        self._first = self._first or weakref.ref(app)
        install_hooks(app, state)
        render_errors(app, state)
        app.cli.add_command(guard_group)
        for mark in self._policies:
            mark.what.check_target(app)
            attach(Mark(mark.what, mark.site), app)
        check_app(state)
        app.view_functions = Views(app.view_functions, _watch_views(state), refuse_other_rules(state))
        state.once_planned.append(lambda: _print_start_line(app))
        if self._inspector is not False:
            from .audit.inspector import install_inspector

            install_inspector(state, self._inspector)
        if not state.config[ENABLED]:
            log.warning("GUARD_ENABLED is False: nothing on %r is guarded", app.name)

    def _read_config(self, state: AppState) -> None:
        given = {API_KEYS: self._keys} if self._keys is not None else {}
        state.config = read_config(state.app.config, ALL_SETTINGS, given)
        denying = {kind for concern in CONCERNS for kind in concern.denying}
        modes: Mapping[str, Mode] = state.config[MODES]
        check_kinds(modes, denying, {kind for concern in CONCERNS for kind in concern.others})
        state.unknown_kinds = frozenset(modes) - denying
        state.answer_options = tuple(concern.answers_options for concern in CONCERNS if concern.answers_options)
        for concern in CONCERNS:
            concern.check(state)
        state.at_start = tuple(concern.start for concern in CONCERNS)

    def plan_for(self, endpoint: str, method: str = "GET", *, path: str | None = None) -> Plan:
        """Return the plan that requests to `endpoint` with `method` run.

        After the first request it is the object that requests run. Before, later registrations may change the plan.

        :param path: the path of the requests, for an endpoint that serves paths inside and outside of a scope by path.
        :raises KeyError: if the app has no such endpoint.
        :raises ValueError: if the endpoint does not take the method.
        :raises RuntimeError: if the Guard has several apps, and none of them is the current one.
        """
        state = self._state()
        rules = list(state.app.url_map.iter_rules(endpoint)) if endpoint in state.app.view_functions else []
        if not rules:
            raise KeyError(
                f"{state.app.name!r} has no endpoint {endpoint!r}{did_you_mean(endpoint, state.app.view_functions)}"
            )
        method = method.upper()
        rule = next((rule for rule in rules if method in (rule.methods or (method,))), None)
        if rule is None:
            taken = sorted({each for found in rules for each in found.methods or ()})
            raise ValueError(f"endpoint {endpoint!r} does not take {method}: name one of {', '.join(taken)}")
        return endpoint_plan(state, rule, method, path)

    def openapi(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of an OpenAPI 3 document, completed with the requirements and answers of the policies.

        Each guarded operation gets its security schemes, its denials (such as 401, 403 and 429) as problem documents
        (RFC 9457), and the RateLimit fields. Existing members of the document stay.

        :param spec: a whole document, or its ``paths`` alone. For ``paths``, the result has ``paths`` and
            ``components``.
        :raises ConfigError: for an OpenAPI version other than 3.
        :raises RuntimeError: if the Guard has several apps, and none of them is the current one.
        """
        from .audit.openapi import completed

        return completed(self._state().app, spec)

    def disabled(self, *kinds: Policy) -> AbstractContextManager[None]:
        """Switch policies of the app off for a ``with`` block, for tests of the views behind them.

        Only requests made in the same context are affected, not other threads.

        :param kinds: policies that stand for the kinds to switch off; by default all kinds.
        :raises RuntimeError: if the Guard has several apps, and none of them is the current one.
        """
        keys = frozenset(policy.key for policy in flatten(kinds)) if kinds else None
        return self._state().switched_off(keys)

    def reset(self) -> None:
        """Forget limits, bans, failures and verified keys of the app, for tests.

        :raises RuntimeError: if the Guard has several apps, and none of them is the current one.
        """
        state = self._state()
        for concern in CONCERNS:
            concern.reset(state)

    def _state(self) -> AppState:
        if current_app and (state := AppState.of(current_flask())).guard is self:
            return state
        app = self._first() if self._first is not None else None
        if app is None:
            raise RuntimeError("this Guard is not installed on an app: call guard.init_app(app)")
        if self._installed > 1:
            raise RuntimeError("this Guard is installed on several apps: name one of them by 'with app.app_context():'")
        return AppState.of(app)


def _print_start_line(app: Flask) -> None:
    """Print the protection of the app in one line, if Werkzeug's server serves it in debug mode."""
    if app.debug and request and "werkzeug.socket" in request.environ:
        from .audit.start_line import print_start_line

        print_start_line(app)


def _watch_views(state: AppState) -> Callable[[ViewFunction], None]:
    def registered(view: ViewFunction) -> None:
        state.forget_compiled()
        check_view(state, view)

    return registered
