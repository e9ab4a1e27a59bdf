"""`log_timing`: one structured log record for each request."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, overload

from ..core.app_state import AppState
from ..core.policy import Phase, Policy, Scope, Step, Target
from ..errors import ConfigError
from ..support import options as check
from ..support.callables import takes_request
from ..support.options import option
from ..support.orders import Order, by, irrelevant, larger_is_stronger
from ..typing import TargetT
from .fields import Pairs, Source, check_fields
from .recorder import AccessLogs, Recorder
from .telemetry import span_reader


def _name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{what} must be the name of a logger, not {value!r}")
    return value


def _level(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{what} must be a level such as logging.INFO, not {value!r}")
    return value


def _viewers(value: object, what: str) -> bool | Callable[..., object]:
    if isinstance(value, bool):
        return value
    if not callable(value):
        raise ConfigError(f"{what} must be True, False or a function, not {value!r}")
    takes_request(value, what)
    return value


_MILLISECONDS: check.Check[float] = check.number(0, sys.float_info.max, "milliseconds")
_fewer_viewers: Order = by(lambda old, new: repr(old) == repr(new) or old is True or new is False)
"""Compares the audiences of the timings: everybody, some, or nobody."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LogTiming(Policy):
    """Logs one structured record for each request, and gives the request an id.

    Where neither the logger nor one above it has a handler, the record is a line on stderr, written by
    :class:`flask_guard.DevFormatter`, and Werkzeug's server leaves out its own line.

    The record's attributes (``extra`` fields of :mod:`logging`) are

    - ``request_id``, and ``trace_id`` and ``span_id`` of OpenTelemetry's current span, where its API is installed;
    - ``method``, ``path``, ``endpoint`` and ``status``;
    - ``duration_ms`` and ``first_byte_ms``: the time from the start of the Guard's work until the server has the last
      byte, and the first one;
    - ``bytes``: the length of the body that the server got;
    - ``address``, ``api_key`` (the id of the key) and ``principal`` (the id that ``require_auth`` found);
    - ``verdicts``: ``allowed``, ``denied`` or ``would deny``, by policy;
    - ``reason``: the short code of a denial, and in debug mode ``remedy``: the advice that lets the request through;
    - ``slow``: whether it took ``slow_ms`` or longer;
    - ``aborted``: whether the body stopped before its end, because the client left or the application failed;
    - ``exception``: the name of the class, where one ended the request;
    - with ``costs``, ``costs``: the microseconds that each policy took before the view (``enter``) and on the response
      (``leave``), by policy;
    - and the ``fields`` that you name.

    The record is made when the response is final, after every hook of the app; for a streamed body, when the body has
    been sent. Query strings, header values and bodies are not logged, unless named in ``fields``. Text from clients is
    on one line, with control and direction characters escaped, and cut where it is long.

    The id is ``X-Request-ID`` if that is well-formed; else the trace id of the current span or of ``traceparent``; else
    a new one. It goes out as ``X-Request-ID``. ``GUARD_REQUEST_ID_TRUST``, ``GUARD_REQUEST_ID_LENGTH`` and
    ``GUARD_REQUEST_ID_ALPHABET`` say which ids of clients are taken.
    """

    kind: ClassVar[str] = "log_timing"
    phase: ClassVar[Phase] = Phase.OBSERVE
    records: ClassVar[bool] = True

    logger: str = option("flask_guard.access", _name, irrelevant)
    level: int = option(logging.INFO, _level, irrelevant)
    error_level: int = option(logging.WARNING, _level, irrelevant)
    slow_ms: float | None = option(None, check.optional(_MILLISECONDS), irrelevant)
    sample: float = option(1.0, check.number(0, 1, "a share"), larger_is_stronger)
    server_timing: bool | Callable[..., object] = option(False, _viewers, _fewer_viewers)
    fields: Pairs = option((), check_fields, irrelevant)
    costs: bool = option(False, check.flag, irrelevant)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        *,
        logger: str = "flask_guard.access",
        level: int = logging.INFO,
        error_level: int = logging.WARNING,
        slow_ms: float | None = None,
        sample: float = 1.0,
        server_timing: bool | Callable[..., object] = False,
        fields: Mapping[str, Source] | tuple[()] | None = (),
        costs: bool = False,
    ) -> LogTiming: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param logger: the name of the logger.
        :param level: the level of a record.
        :param error_level: the level of 5xx answers and exceptions, if it is higher. Flask itself logs an unhandled
            exception, at ERROR and with its traceback.
        :param slow_ms: milliseconds from which a request is logged at WARNING at least; None for never.
        :param sample: the share of requests that is logged, from 0 to 1. Errors, denials and slow ones always are.
        :param server_timing: whether to send ``Server-Timing`` (W3C), with the total and the parts that
            :func:`flask_guard.timing` timed; or a function from the request to whether its client may see the field,
            because it tells clients how your application works.
        :param fields: further attributes of a record, by name: see :mod:`flask_guard.access_log.fields`.
        :param costs: whether to measure and log the cost of each policy.
        :raises ConfigError: for an invalid option.
        """
        return Policy.__call__(self, *args, **options)

    @property
    def measures(self) -> bool:
        return self.costs

    def exposes(self, state: AppState) -> tuple[str, ...]:
        return ("X-Request-ID",)

    def check_app(self, state: AppState) -> None:
        span_reader()  # OpenTelemetry is imported now, so that no request has to wait for it

    def compile_key(self, target: Target, place: Scope) -> Hashable | None:
        return ()

    def compile(self, target: Target) -> Step:
        recorder = Recorder(
            target.state,
            target.state.service(AccessLogs).log(self.logger, self.level, self.error_level, self.slow_ms),
            slow_ms=self.slow_ms,
            sample=self.sample,
            costs=self.costs,
            fields=self.fields,
            server_timing=self.server_timing,
        )
        return recorder.step()


log_timing: LogTiming = LogTiming()
