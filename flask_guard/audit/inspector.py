"""The inspector: the report of an app as a live page at ``/_guard``, with the last requests that the app served.

``Guard(app, inspector=True)`` opens the page in debug mode, for a browser on the same machine. The address of the
client and the Host field must be loopback ones, and no proxy may have forwarded the request.
``Guard(app, inspector=require_auth(…))`` opens the page in any mode, to the callers that the policy authenticates.

The requests are one document, ``flask_guard.requests/1``: ``last`` is the number of the newest, and ``requests`` have
``number``, ``method``, ``path``, ``endpoint``, ``status``, ``ms``, ``error`` and ``steps``. A step has ``text``,
``verdict``, ``reason``, ``status``, ``enter_us``, ``leave_us``, the names of the ``fields`` that it added, and
``needed``, the remedy of a denial. No secret, no body and no value of a query is kept. Each process keeps its own
requests.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any, ClassVar

from flask import Blueprint, Flask, Response, jsonify, request, url_for

from ..concerns import built_in_policies
from ..core.app_state import AppState
from ..core.config import ENABLED
from ..core.denials import Denied
from ..core.policy import DenyingPolicy, Exemption, Phase, Policy, Step, Target
from ..core.protect import protect
from ..core.request_run import Run, Slot, current_run
from ..core.tracing import StepTrace
from ..errors import ConfigError
from ..support.text import printable
from .findings import examine
from .inventory import take_inventory
from .masking import shown_url
from .rehearsal import traces_of
from .report.page import page_of
from .wording import shown

PREFIX = "/_guard"
NAME = "guard_inspector"
SCHEMA = "flask_guard.requests/1"
KEPT = 200
"""The number of requests that are kept."""
_FORWARDED = re.compile(r"forwarded|via|x-forwarded-.+|.*-(real|client|connecting)-ip", re.IGNORECASE)
"""Names of fields that a proxy adds."""
_PORT = re.compile(r":\d+$")
STATUS: Slot[int] = Slot("inspector.status")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LoopbackOnly(DenyingPolicy):
    """Let only a browser on the same machine through, and only in debug mode."""

    kind: ClassVar[str] = "inspector"
    phase: ClassVar[Phase] = Phase.PRECONDITION

    def compile(self, target: Target) -> Step:
        app = target.app

        def enter(run: Run) -> None:
            sent = run.request
            is_near = _is_loopback(sent.remote_addr) and _is_loopback(_PORT.sub("", sent.host))
            if not (app.debug and is_near) or any(_FORWARDED.fullmatch(name) for name, _ in sent.headers):
                raise Denied(
                    "The inspector opens in debug mode only, to a browser on the same machine.",
                    policy=self.kind,
                    reason="not loopback",
                )

        return Step(enter)


class Apart(Exemption):
    """Removes kinds of policy. Unlike any other exemption, this one may name policies that the app lacks."""

    __slots__ = ()


def _is_loopback(host: str | None) -> bool:
    name = (host or "").strip("[]")
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def install_inspector(state: AppState, gate: Policy | bool) -> None:
    """Mount the inspector on an app, and keep the requests of the app from now on.

    :param gate: the policy that protects the inspector; True for :class:`LoopbackOnly`.
    :raises ConfigError: if the gate does not authenticate its callers.
    """
    if not state.config[ENABLED]:
        return
    policy = LoopbackOnly() if gate is True else gate
    if not isinstance(policy, Policy) or not _closes(policy, state):
        raise ConfigError(
            f"Guard(inspector={gate!r}) would open the inspector to anyone: write inspector=True, for debug mode on"
            " this machine, or a policy that authenticates, such as inspector=require_auth(basic=log_in)"
        )
    if gate is True:
        state.once_planned.append(lambda: _check_debug(state.app))
    state.traces = True
    seen = SeenRequests(state.app)
    state.app.register_blueprint(_blueprint(state.app, seen, policy))
    state.app.after_request_funcs.setdefault(None, []).insert(0, _note_status)  # hooks run in reverse: after all others
    state.app.teardown_request(seen.note)


def _closes(policy: Policy, state: AppState) -> bool:
    """Return whether a policy refuses callers without valid credentials. The phase of a policy alone proves nothing."""
    authenticates = "authentication" in policy.purposes
    return (authenticates or isinstance(policy, LoopbackOnly)) and policy.mode_in(state) == "enforce"


def _check_debug(app: Flask) -> None:
    if not app.debug:
        raise ConfigError(
            f"Guard(inspector=True) is for debug mode, and {app.name!r} is not in debug mode: remove it, or write"
            " a policy that authenticates, such as inspector=require_auth(basic=log_in)"
        )


# The page ------------------------------------------------------------------------------------------------------------


def _blueprint(app: Flask, seen: SeenRequests, policy: Policy) -> Blueprint:
    """Return the views of the inspector, guarded by `policy` and without the policies of the app."""
    blueprint = Blueprint(NAME, __name__, url_prefix=PREFIX)

    def page() -> Response:
        inventory = take_inventory(app)
        report = page_of(inventory, examine(inventory), live=url_for(f"{NAME}.requests"))
        return _private(Response(report.html, headers={"Content-Security-Policy": report.policy}))

    def requests() -> Response:
        after = request.args.get("after", -1, type=int)
        return _private(jsonify({"schema": SCHEMA, "last": seen.last, "requests": list(seen.after(after))}))

    blueprint.add_url_rule("/", "page", protect(page, policy))
    blueprint.add_url_rule("/requests", "requests", protect(requests, policy))
    Apart(tuple(built_in_policies()))(blueprint)
    return blueprint


def _private(response: Response) -> Response:
    response.headers.extend(
        {
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
    )
    return response


# The requests --------------------------------------------------------------------------------------------------------


def _note_status(response: Response) -> Response:
    run = current_run()
    if run is not None:
        STATUS.put(run, response.status_code)
    return response


class SeenRequests:
    """Keeps the last requests of an app, with their steps. Threads may share one."""

    def __init__(self, app: Flask) -> None:
        self._state = AppState.of(app)
        self._lock = threading.Lock()
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.last: int = -1

    def note(self, error: BaseException | None) -> None:
        """Keep the request that ends, unless it is a request to the inspector."""
        run = current_run()
        if run is None or run.rehearsal or run.state is not self._state or request.blueprint == NAME:
            return
        described = {
            "method": printable(request.method, 32),
            "path": shown_url(request.full_path.removesuffix("?")),
            "endpoint": request.endpoint,
            "status": STATUS.get(run) or 500,
            "ms": round((perf_counter() - run.started) * 1000, 1),
            "error": type(error).__name__ if error is not None else None,
            "steps": [_describe(step) for step in traces_of(run)],
        }
        with self._lock:
            self.last += 1
            self._kept.append({"number": self.last, **described})

    def after(self, number: int) -> Iterator[dict[str, Any]]:
        """Yield the requests after the one with `number`, oldest first."""
        with self._lock:
            kept = list(self._kept)
        yield from (each for each in kept if each["number"] > number)


def _describe(step: StepTrace) -> dict[str, Any]:
    denial, deciding = step.denial, step.placed[0].policy
    if denial is not None:
        deciding = next((each.policy for each in step.placed if each.policy.name == denial.policy), deciding)
    return {
        "text": ", ".join(shown(placed.policy) for placed in step.placed),
        **step.describe(),
        "fields": sorted({name for name, _ in step.added}),
        "needed": deciding.remedy(denial) if denial is not None else "",
    }
