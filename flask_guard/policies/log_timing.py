"""`log_timing`: one structured log record for each request."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from random import random
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, overload

from werkzeug.local import LocalProxy

from ..errors import ConfigError, printable
from ..headers import put
from ..policy import Phase, Policy, Step
from ..run import Run, current_run
from ..state import AppState
from ..wsgi.request_ids import RequestIds
from .api_key import VALUE as API_KEY
from .auth_schemes import PRINCIPAL_ID
from .body import size_if_complete, watch_body
from .log_records import Records

if TYPE_CHECKING:
    from ..plan import Place
    from ..typing import Response, TargetT

VALUE = "log_timing"
LONGEST_PATH = 2048
"""Characters of a path that a record keeps."""
LONGEST_PRINCIPAL = 128
"""Characters of a principal's id that a record keeps."""
MESSAGE = "%(method)s %(path)s %(status)s %(duration_ms).1f ms"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LogTiming(Policy):
    """Logs one structured record for each request, and gives the request an id.

    The record's attributes (``extra`` fields of :mod:`logging`) are ``request_id``, ``method``, ``path``,
    ``endpoint``, ``status``, ``duration_ms``, ``bytes``, ``address``, ``api_key`` (the id of the key), ``principal``
    (the id of who passed ``require_auth``), ``verdicts`` (``allowed``, ``denied`` or ``would deny`` by policy),
    ``aborted`` (whether the client left, or the body failed, before its end) and ``exception`` (the name of the class,
    where one ended the request). A streamed body is timed to its last byte. Query strings, header values and bodies are
    not logged, and control characters are escaped.

    The id is taken from ``X-Request-ID`` or ``traceparent`` if well-formed, and goes out as ``X-Request-ID``.

    :param logger: the name of the logger.
    :param level: the level of a record; 5xx answers are logged at ERROR at least.
    :param slow_ms: milliseconds from which a request is logged at WARNING at least; None for never.
    :param sample: the share of requests that is logged, from 0 to 1. Errors, denials and slow ones always are.
    :raises ConfigError: for options that cannot be meant.
    """

    kind: ClassVar[str] = "log_timing"

    logger: str = "flask_guard.access"
    level: int = logging.INFO
    slow_ms: float | None = None
    sample: float = 1.0

    if TYPE_CHECKING:

        @overload
        def __call__(self, target: TargetT, /) -> TargetT: ...
        @overload
        def __call__(
            self, *, logger: str = ..., level: int = ..., slow_ms: float | None = ..., sample: float = ...
        ) -> LogTiming: ...
        def __call__(self, *args: Any, **options: Any) -> Any: ...

    def __post_init__(self) -> None:
        if not isinstance(self.logger, str):
            raise ConfigError(f"log_timing(logger=…) must be the name of a logger, not {self.logger!r}")
        if not isinstance(self.level, int) or isinstance(self.level, bool):
            raise ConfigError(f"log_timing(level=…) must be a level such as logging.INFO, not {self.level!r}")
        if self.slow_ms is not None and not (_is_number(self.slow_ms) and self.slow_ms >= 0):
            raise ConfigError(f"log_timing(slow_ms=…) must be milliseconds or None, not {self.slow_ms!r}")
        if not _is_number(self.sample) or not 0 <= self.sample <= 1:
            raise ConfigError(f"log_timing(sample=…) must be from 0 to 1, not {self.sample!r}")

    @property
    def phase(self) -> Phase:
        return Phase.OBSERVE

    def compile(self, place: Place) -> Step:
        return _Recorder(self, place.state.service(_request_ids)).step()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _current_id() -> str | None:
    run = current_run()
    return id_of(run) if run is not None else None


current_request_id: LocalProxy[str | None] = LocalProxy(_current_id)
"""The id of this request; None outside of one."""


def id_of(run: Run) -> str:
    """Return the id of the request of `run`, found or made at the first call."""
    found: str | None = run.values.get(VALUE)
    if found is None:
        found = run.values[VALUE] = run.state.service(_request_ids).of(run.request.environ)
    return found


def _request_ids(_state: AppState) -> RequestIds:
    return RequestIds()


class _Recorder:
    """Makes the records of one compiled policy."""

    def __init__(self, policy: LogTiming, ids: RequestIds) -> None:
        self._ids = ids
        self._logger = logging.getLogger(policy.logger)
        self._records = Records(policy.logger, MESSAGE)
        self._level = policy.level
        self._slow_ms = policy.slow_ms
        self._sample = policy.sample

    def step(self) -> Step:
        """Return the policy's step."""
        return Step(None, self._leave, self._teardown)

    def _leave(self, run: Run, response: Response) -> None:
        values = run.values
        request_id = values.get(VALUE) or values.setdefault(VALUE, self._ids.of(run.request.environ))
        put(response.headers, ("X-Request-ID", request_id))
        status = response.status_code
        has_body = run.request.method != "HEAD" and status not in (204, 304)
        size = size_if_complete(response) if has_body else 0
        if size is None:
            values[_STREAMING] = True
            watch_body(response, lambda sent, error, aborted: self._record(run, status, sent, error, aborted))
        else:  # Flask makes the 500 of an exception that nobody handled while it handles it
            self._record(run, status, size, sys.exc_info()[1] if status >= 500 else None)

    def _teardown(self, run: Run, error: BaseException | None) -> None:
        """Record the request that ended without a response, because its exception was left to the server."""
        if _RECORDED not in run.values and _STREAMING not in run.values:
            self._record(run, 500, 0, error, aborted=True)

    def _record(
        self, run: Run, status: int, size: int, error: BaseException | None = None, aborted: bool = False
    ) -> None:
        if _RECORDED in run.values:
            return
        run.values[_RECORDED] = True
        duration_ms = (perf_counter() - run.started) * 1000
        level = self._level_of(run, status, duration_ms, error)
        logger = self._logger
        if level is None or not logger.isEnabledFor(level):
            return
        logger.handle(self._records.make(level, _fields(run, status, size, duration_ms, error, aborted)))

    def _level_of(self, run: Run, status: int, duration_ms: float, error: BaseException | None) -> int | None:
        """Return the level to log at, or None if the request is not in the sample."""
        if status >= 500 or error is not None:
            return max(self._level, logging.ERROR)
        if self._slow_ms is not None and duration_ms >= self._slow_ms:
            return max(self._level, logging.WARNING)
        if self._sample < 1 and status < 400 and not run.would_deny and random() >= self._sample:  # noqa: S311
            return None
        return self._level


_STREAMING = "log_timing.streaming"
_RECORDED = "log_timing.recorded"


def _fields(
    run: Run, status: int, size: int, duration_ms: float, error: BaseException | None, aborted: bool
) -> dict[str, Any]:
    request = run.request
    key = run.values.get(API_KEY)
    principal = run.values.get(PRINCIPAL_ID)
    return {
        "request_id": id_of(run),
        "method": _safe(request.method, 32),
        "path": _safe(request.path, LONGEST_PATH),
        "endpoint": request.url_rule.endpoint if request.url_rule is not None else None,
        "status": status,
        "duration_ms": duration_ms,
        "bytes": size,
        "address": _safe(request.remote_addr or "", 64),
        "api_key": key.id if key is not None else None,
        "principal": _safe(principal, LONGEST_PRINCIPAL) if principal is not None else None,
        "verdicts": _verdicts(run),
        "aborted": aborted,
        "exception": type(error).__name__ if error is not None else None,
    }


def _safe(value: str, longest: int) -> str:
    return value if len(value) <= longest and value.isprintable() else printable(value, longest)


def _verdicts(run: Run) -> dict[str, str]:
    """Return what each policy decided: those that act before the view, as far as the request came."""
    names = run.plan.names
    if run.denial is not None and run.denial.policy in names:
        reached = names[: names.index(run.denial.policy)]
        verdicts = {**dict.fromkeys(reached, "allowed"), run.denial.policy: "denied"}
    else:
        verdicts = dict.fromkeys(names, "allowed") if run.entered else {}
    return {**verdicts, **{denial.policy: "would deny" for denial in run.would_deny}}


log_timing: LogTiming = LogTiming()
