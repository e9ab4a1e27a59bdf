"""`log_timing`: one structured log record for each request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

from ..core.policy import Phase, Policy, Step
from ..errors import ConfigError
from ..support.callables import takes_request
from .fields import Pairs, Source, check_fields
from .recorder import FIELDS, Recorder
from .server_timing import WHAT
from .telemetry import span_reader

if TYPE_CHECKING:
    from ..core.app_state import AppState
    from ..core.policy import Target
    from ..typing import TargetT


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LogTiming(Policy):
    """Logs one structured record for each request, and gives the request an id.

    The record's attributes (``extra`` fields of :mod:`logging`) are

    - ``request_id``, and ``trace_id`` and ``span_id`` of OpenTelemetry's current span, where its API is installed;
    - ``method``, ``path``, ``endpoint`` and ``status``;
    - ``duration_ms``, to the last byte, and ``first_byte_ms``, both from the moment that the Guard saw the request to
      the one at which the server took the bytes; ``bytes``, of the body as it was handed to the server;
    - ``address``, ``api_key`` (the id of the key) and ``principal`` (the id of who passed ``require_auth``);
    - ``verdicts``: ``allowed``, ``denied`` or ``would deny``, by policy;
    - ``aborted``: whether the client left, or the body failed, before its end;
    - ``exception``: the name of the class, where one ended the request;
    - with ``costs``, ``costs``: the microseconds that each policy took before the view (``enter``) and on the response
      (``leave``), by policy;
    - and the ``fields`` that you name.

    The record is made when the response is final, after every hook of the app, and for a streamed body when that has
    been sent. Query strings, header values and bodies are not logged, unless named in ``fields``. What a client has a
    say in is on one line, with control and direction characters escaped, and cut where it is long.

    The id is ``X-Request-ID`` if that is well-formed; else the trace id of the current span or of ``traceparent``; else
    a new one. It goes out as ``X-Request-ID``. Whom to trust with ids, and what is well-formed, is said by
    ``GUARD_REQUEST_ID_TRUST``, ``GUARD_REQUEST_ID_LENGTH`` and ``GUARD_REQUEST_ID_ALPHABET``.

    :param logger: the name of the logger.
    :param level: the level of a record; 5xx answers are logged at ERROR at least.
    :param slow_ms: milliseconds from which a request is logged at WARNING at least; None for never.
    :param sample: the share of requests that is logged, from 0 to 1. Errors, denials and slow ones always are.
    :param server_timing: whether to send ``Server-Timing`` (W3C) with the total and what :func:`flask_guard.timing`
        timed. It tells clients how you work, so it may be a function from the request to who may see it.
    :param fields: what else to log, by name: see :mod:`flask_guard.access_log.fields`.
    :param costs: whether to measure and log what each policy costs.
    :raises ConfigError: for options that cannot be meant.
    """

    kind: ClassVar[str] = "log_timing"
    phase: ClassVar[Phase] = Phase.OBSERVE

    logger: str = "flask_guard.access"
    level: int = logging.INFO
    slow_ms: float | None = None
    sample: float = 1.0
    server_timing: bool | Callable[..., object] = False
    fields: Mapping[str, Source] | Pairs | None = ()
    costs: bool = False

    if TYPE_CHECKING:

        @overload
        def __call__(self, target: TargetT, /) -> TargetT: ...
        @overload
        def __call__(
            self,
            *,
            logger: str = ...,
            level: int = ...,
            slow_ms: float | None = ...,
            sample: float = ...,
            server_timing: bool | Callable[..., object] = ...,
            fields: Mapping[str, Source] | None = ...,
            costs: bool = ...,
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
        if not isinstance(self.server_timing, bool):
            if not callable(self.server_timing):
                raise ConfigError(f"{WHAT} must be True, False or a function, not {self.server_timing!r}")
            takes_request(self.server_timing, WHAT)
        if not isinstance(self.costs, bool):
            raise ConfigError(f"log_timing(costs=…) must be True or False, not {self.costs!r}")
        object.__setattr__(self, "fields", check_fields(self.fields, FIELDS))

    @property
    def measures(self) -> bool:
        return self.costs

    def check_app(self, state: AppState) -> None:
        span_reader()  # OpenTelemetry is imported now, so that no request has to wait for it

    def compile(self, target: Target) -> Step:
        return Recorder(self, target).step()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


log_timing: LogTiming = LogTiming()
