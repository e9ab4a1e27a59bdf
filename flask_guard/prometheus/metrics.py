"""`metrics`: requests, durations and denials, counted for Prometheus; and the view that shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast, overload

from flask import request

from ..core.app_state import AppState
from ..core.flask_versions import current_flask
from ..core.plan_lookup import METHODS, endpoint_plan
from ..core.policy import Phase, Policy, Step
from ..core.request_run import Run, Slot
from ..errors import ConfigError
from ..support.response_body import size_if_complete, watch_body
from ..typing import Response
from .collectors import OTHER, AppMetrics, Families

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from ..core.policy import Target
    from ..typing import TargetT

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
UNMATCHED = "(unmatched)"
"""The endpoint of requests that no rule matches: a path is never a label."""
LONGEST_ACCEPT = 1024
_PREFIX = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_VERSION = re.compile(r"version=([^;,]*)")
_NUMBER = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}\s*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Metrics(Policy):
    """Counts requests for Prometheus. Needs the extra ``metrics``.

    ``flask_guard_requests_total`` and the histogram ``flask_guard_request_duration_seconds``, to the last byte, have
    the labels ``endpoint``, ``method`` and ``status`` (``2xx``). ``flask_guard_denials_total`` has ``policy``,
    ``reason`` and ``mode`` (``enforce``, or ``report`` for what a policy in shadow would have refused), and
    ``flask_guard_store_errors_total`` counts the times that the limit storage stopped answering.

    Clients cannot make series: a path is never a label, what no rule matches counts for the endpoint ``(unmatched)``, a
    method that nobody serves is ``other``. A 405 counts for an endpoint that the path has.

    :func:`metrics_view` shows them. They are this app's alone unless `registry` is shared. With several workers, set
    ``PROMETHEUS_MULTIPROC_DIR`` to an empty directory before the server starts: the view shows their sums, and
    `registry` has no effect.

    :param prefix: what the names of the metrics begin with.
    :param buckets: the upper bounds of the histogram's buckets, in seconds, ascending.
    :param registry: a ``prometheus_client.CollectorRegistry``, such as ``prometheus_client.REGISTRY``, in which the app
        has metrics of its own; by default one that holds only these.
    :raises ConfigError: for options that cannot be meant, and if another app counts under the same names in the same
        registry or, with several workers, in the same process.
    """

    kind: ClassVar[str] = "metrics"
    phase: ClassVar[Phase] = Phase.OBSERVE

    prefix: str = "flask_guard"
    buckets: Sequence[float] = BUCKETS
    registry: CollectorRegistry | None = None

    if TYPE_CHECKING:

        @overload
        def __call__(self, target: TargetT, /) -> TargetT: ...
        @overload
        def __call__(
            self, *, prefix: str = ..., buckets: Sequence[float] = ..., registry: CollectorRegistry | None = ...
        ) -> Metrics: ...
        def __call__(self, *args: Any, **options: Any) -> Any: ...

    def __post_init__(self) -> None:
        if not isinstance(self.prefix, str) or not _PREFIX.fullmatch(self.prefix):
            raise ConfigError(f"metrics(prefix=…) must be letters, digits and underscores, not {self.prefix!r}")
        object.__setattr__(self, "buckets", _bounds(self.buckets))
        if self.registry is not None and not callable(getattr(self.registry, "register", None)):
            raise ConfigError(f"metrics(registry=…) must be a prometheus_client.CollectorRegistry: {self.registry!r}")

    def check_app(self, state: AppState) -> None:
        self._families(state)

    def compile(self, target: Target) -> Step:
        return _Recorder(self._families(target.state), target).step()

    def _families(self, state: AppState) -> Families:
        return state.resource(AppMetrics).families(self.prefix, tuple(self.buckets), self.registry)


def _bounds(buckets: object) -> tuple[float, ...]:
    bounds = tuple(buckets) if isinstance(buckets, Sequence) and not isinstance(buckets, str) else ()
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in bounds)
    if not bounds or not numbers or list(bounds) != sorted(set(bounds)) or not 0 < bounds[0] <= bounds[-1] < _INFINITE:
        raise ConfigError(
            f"metrics(buckets=…) must be seconds above 0, ascending, such as (0.1, 0.5, 2), not {buckets!r}"
        )
    return tuple(float(each) for each in bounds)


_INFINITE = float("inf")

STATUS: Slot[int | Response | None] = Slot("metrics.status")
"""The status that went out; while a body is being sent, its response; None once the request is counted."""

Series: TypeAlias = tuple[Callable[[], None], Callable[[float], None]]
"""What counts a request, and what takes its seconds."""


class _Recorder:
    """Counts the requests to one target."""

    def __init__(self, families: Families, target: Target) -> None:
        self._families = families
        self._endpoint = UNMATCHED if target.endpoint is None else target.endpoint
        self._known = _known_methods(target)
        self._method = target.method
        self._by_class: dict[int, Series] = {}
        self._sees_out = (self._see_out,)

    def step(self) -> Step:
        """Return the policy's step."""
        return Step(None, self._leave, self._teardown)

    def _leave(self, run: Run, _response: Response) -> None:
        run.outgoing += self._sees_out

    def _see_out(self, run: Run, response: Response) -> None:
        """Note what goes out, after every hook has had its say. It may yet fail, and be followed by a 500."""
        status = response.status_code
        if run.request.method != "HEAD" and size_if_complete(response) is None:
            STATUS.put(run, response)

            def done(sent: int, error: BaseException | None, _aborted: bool) -> None:
                if STATUS.get(run) is response:
                    nothing_sent = error is not None and not sent
                    self._record(run, 500 if nothing_sent else status)  # then the server answers

            watch_body(response, done)
            return
        STATUS.put(run, status)

    def _teardown(self, run: Run, _error: BaseException | None) -> None:
        """Count the request, unless its body is still being sent. Without a response it is a 500 of the server."""
        noted = run.kept.get(STATUS, 500)
        if isinstance(noted, int):
            self._record(run, noted)

    def _record(self, run: Run, status: int) -> None:
        STATUS.put(run, None)
        series = self._by_class.get(status // 100) if run.request.method == self._method else None
        count, observe = series or self._series(run.request.method, status // 100)
        count()
        observe(perf_counter() - run.started)
        if run.denial is not None or run.would_deny:
            self._families.count_denials(run)

    def _series(self, method: str, status: int) -> Series:
        labels = (
            self._endpoint,
            method if method in self._known else OTHER,
            f"{status}xx" if 1 <= status <= 5 else OTHER,
        )
        series = self._families.requests.labels(*labels).inc, self._families.duration.labels(*labels).observe
        if method == self._method:
            self._by_class[status] = series
        return series


def _known_methods(target: Target) -> frozenset[str]:
    rules = target.app.url_map.iter_rules(target.endpoint) if target.endpoint is not None else ()
    return frozenset(METHODS).union(*(rule.methods or () for rule in rules))


def metrics_view() -> Response:
    """Answer with the app's metrics, for Prometheus to fetch. Register it, and guard it, like any view::

        app.add_url_rule("/metrics", view_func=require_api_key(scopes="metrics:read")(metrics_view))

    It is one function for every app: one that registers it without a guard, after another app of the same process has
    guarded it, gets that guard too.

    The format goes by ``Accept`` and ``Accept-Encoding``: Prometheus' text format or OpenMetrics, compressed or not;
    ``?name[]=…`` selects metrics.

    :raises RuntimeError: if the app has no Guard.
    :raises ConfigError: if prometheus_client is missing.
    """
    state = AppState.of(current_flask())
    if state.guard is None:
        raise RuntimeError("metrics_view needs a Guard on the app: call Guard(app) where the app is made")
    from prometheus_client import make_wsgi_app

    if state.serving:
        _meet_every_policy(state)
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "QUERY_STRING": request.environ.get("QUERY_STRING", ""),
        "HTTP_ACCEPT": _harmless(request.environ.get("HTTP_ACCEPT", "")),
        "HTTP_ACCEPT_ENCODING": request.environ.get("HTTP_ACCEPT_ENCODING", ""),
    }
    response = cast(
        Response, Response.from_app(make_wsgi_app(state.resource(AppMetrics).registry()), environ, buffered=True)
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _meet_every_policy(state: AppState) -> None:
    """Make every plan of the app, so that the first page knows the registry, whichever policy names it."""
    if state.once("metrics of every plan"):
        for rule in state.app.url_map.iter_rules():
            for method in rule.methods or ():
                endpoint_plan(state, rule, method)


def _harmless(accept: str) -> str:
    """Return an Accept header, or nothing in its place if prometheus_client could fail over it."""
    versions = _VERSION.findall(accept)
    fine = len(accept) <= LONGEST_ACCEPT and all(_NUMBER.fullmatch(version) for version in versions)
    return accept if fine else ""


metrics: Metrics = Metrics()
