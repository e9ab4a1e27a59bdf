"""`metrics`: requests, durations and denials, counted for Prometheus, and the view that shows the counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast, overload

from flask import request

from ..core.app_state import AppState
from ..core.flask_versions import current_flask
from ..core.plan_lookup import METHODS
from ..core.policy import Phase, Policy, Step, Target
from ..core.request_run import Run, Slot
from ..errors import ConfigError
from ..support import options as check
from ..support.options import option
from ..support.orders import Comparison, irrelevant
from ..support.response_body import size_if_complete, watch_body
from ..typing import Response, TargetT
from ..wsgi.typing import Ending
from .collectors import OTHER, AppMetrics, Families

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
UNMATCHED = "(unmatched)"
"""The endpoint label of requests that no rule matches."""
LONGEST_ACCEPT = 1024
_PREFIX = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_VERSION = re.compile(r"version=([^;,]*)")
_NUMBER = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}\s*", re.ASCII)


def _prefix(value: object, what: str) -> str:
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        raise ConfigError(f"{what} must be letters, digits and underscores, not {value!r}")
    return value


def _bounds(value: object, what: str) -> tuple[float, ...]:
    bounds = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if (
        not bounds
        or not all(map(check.is_number, bounds))
        or list(bounds) != sorted(set(bounds))
        or not 0 < bounds[0] <= bounds[-1] < float("inf")
    ):
        raise ConfigError(f"{what} must be seconds above 0, ascending, such as (0.1, 0.5, 2), not {value!r}")
    return tuple(float(each) for each in bounds)


def _registry(value: Any, what: str) -> CollectorRegistry:
    if not callable(getattr(value, "register", None)):
        raise ConfigError(f"{what} must be a prometheus_client.CollectorRegistry, not {value!r}")
    return cast("CollectorRegistry", value)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Metrics(Policy):
    """Counts requests for Prometheus. Needs the extra ``metrics``.

    ``flask_guard_requests_total`` and the histogram ``flask_guard_request_duration_seconds``, to the last byte, have
    the labels ``endpoint``, ``method`` and ``status`` (``2xx``). ``flask_guard_denials_total`` has ``policy``,
    ``reason`` and ``mode`` (``enforce``; or ``report`` for denials in report mode). ``flask_guard_store_errors_total``
    counts how often the limit storage stopped answering.

    Clients cannot make new series. A path is never a label. A request without a rule counts for the endpoint
    ``(unmatched)``, and an unknown method counts as ``other``. A 405 counts for an endpoint of the path.

    :func:`metrics_view` shows the metrics of one app, or of a shared `registry`. With several workers, set
    ``PROMETHEUS_MULTIPROC_DIR`` to an empty directory before the server starts: the view then shows sums over the
    workers, and `registry` has no effect.
    """

    kind: ClassVar[str] = "metrics"
    phase: ClassVar[Phase] = Phase.OBSERVE
    presence: ClassVar[Comparison] = "same"

    prefix: str = option("flask_guard", _prefix, irrelevant)
    buckets: tuple[float, ...] = option(BUCKETS, _bounds, irrelevant)
    registry: CollectorRegistry | None = option(None, check.optional(_registry), irrelevant)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        *,
        prefix: str = "flask_guard",
        buckets: Sequence[float] = BUCKETS,
        registry: CollectorRegistry | None = None,
    ) -> Metrics: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param prefix: the beginning of the names of the metrics.
        :param buckets: the upper bounds of the histogram's buckets, in seconds, ascending.
        :param registry: a ``prometheus_client.CollectorRegistry`` with other metrics of the app, such as
            ``prometheus_client.REGISTRY``; by default a new one.
        :raises ConfigError: for an invalid option, and for names that another app has taken in the same registry (with
            several workers: in the same process).
        """
        return Policy.__call__(self, *args, **options)

    def check_app(self, state: AppState) -> None:
        self._families(state)

    def compile(self, target: Target) -> Step:
        if target.state.rehearses is not None:
            return Step()
        return _Recorder(self._families(target.state), target).step()

    def _families(self, state: AppState) -> Families:
        return state.resource(AppMetrics).families(self.prefix, self.buckets, self.registry)


STATUS: Slot[int | object | None] = Slot("metrics.status")
"""The status of the response; a token while its body is sent; None after the count."""

Series: TypeAlias = tuple[Callable[[], None], Callable[[float], None]]
"""Counts a request, and takes its seconds."""


class _Recorder:
    """Counts the requests to one target."""

    def __init__(self, families: Families, target: Target) -> None:
        self._families = families
        self._endpoint = UNMATCHED if target.endpoint is None else target.endpoint
        rules = target.app.url_map.iter_rules(target.endpoint) if target.endpoint is not None else ()
        self._known = frozenset(METHODS).union(*(rule.methods or () for rule in rules))
        self._method = target.method
        self._by_class: dict[int, Series] = {}
        self._sees_out = (self._see_out,)

    def step(self) -> Step:
        return Step(None, self._leave, self._teardown)

    def _leave(self, run: Run, _response: Response) -> None:
        run.outgoing += self._sees_out

    def _see_out(self, run: Run, response: Response) -> None:
        """Note the outgoing response. It may still fail, with a 500 after it."""
        status = response.status_code
        if size_if_complete(run.request, response) is not None:
            STATUS.put(run, status)
            return
        token = object()

        def done(ending: Ending) -> None:
            if STATUS.get(run) is token:
                nothing_sent = ending.error is not None and not ending.size
                self._record(run, 500 if nothing_sent else status)  # then the server answers

        STATUS.put(run, token)
        watch_body(run.request, response, done)

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


def metrics_view() -> Response:
    """Answer with the app's metrics, for Prometheus to fetch. Register it, and guard it, like any view::

        app.add_url_rule("/metrics", view_func=require_api_key(scopes="metrics:read")(metrics_view))

    Several apps of one process share this function. A policy that one app puts on it also holds for an app that
    registers it later.

    ``Accept`` and ``Accept-Encoding`` choose Prometheus' text format or OpenMetrics, compressed or not. ``?name[]=…``
    selects metrics.

    :raises RuntimeError: if the app has no Guard.
    :raises ConfigError: if prometheus_client is missing.
    """
    state = AppState.of(current_flask())
    if state.guard is None:
        raise RuntimeError("metrics_view needs a Guard on the app: call Guard(app) where the app is made")
    from prometheus_client import make_wsgi_app

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


def _harmless(accept: str) -> str:
    """Return an Accept header, or an empty string if prometheus_client might fail on it."""
    versions = _VERSION.findall(accept)
    fine = len(accept) <= LONGEST_ACCEPT and all(_NUMBER.fullmatch(version) for version in versions)
    return accept if fine else ""


metrics: Metrics = Metrics()
