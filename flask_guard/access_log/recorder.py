"""Making the record of each request for `log_timing`: when, from what, and whether at all."""

from __future__ import annotations

import logging
import sys
from random import random
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..core.policy import Step
from ..core.request_run import Slot
from ..core.step_costs import COSTS
from ..support.addresses import shown_address
from ..support.header_fields import put
from ..support.response_body import size_if_complete, watch_body
from ..support.text import printable
from ..wsgi.request_ids import CURRENT, LOGGED_KEY
from .fields import check_fields, compile_fields
from .log_records import Records
from .request_id import request_ids
from .server_timing import METRICS, Metrics, ServerTiming
from .telemetry import NO_SPAN, SpanIds, span_reader

if TYPE_CHECKING:
    from flask import Request

    from ..core.policy import Target
    from ..core.request_run import Run
    from ..typing import Response
    from .log_timing import LogTiming

LONGEST_PATH = 2048
"""Characters of a path that a record keeps."""
LONGEST_PRINCIPAL = 128
"""Characters of a principal's id that a record keeps."""
MESSAGE = "%(method)s %(path)s %(status)s %(duration_ms).1f ms"
FIELDS = frozenset({
    "request_id", "method", "path", "endpoint", "status", "duration_ms", "first_byte_ms", "bytes", "address", "api_key",
    "principal", "verdicts", "aborted", "exception", "trace_id", "span_id", "costs",
})  # fmt: skip
"""The attributes that `log_timing` gives its records."""


class Outcome:
    """What becomes of a request; as long as nothing is known, that it fails without a response.

    :ivar before: the request id of this context outside of the request.
    :ivar left: the response, as the policies left it.
    :ivar going: the response that was last seen to go out.
    :ivar in_flight: the id of the exception that was being handled then.
    :ivar size: bytes; None while a body is being sent.
    :ivar first_byte: when the first byte of a stream went out, in seconds of :func:`time.perf_counter`.
    :ivar added: the fields that the policy names.
    """

    before: str | None = None
    left: Response | None = None
    going: Response | None = None
    is_recorded: bool = False
    in_flight: int = 0
    status: int = 500
    size: int | None = 0
    first_byte: float | None = None
    exception: str | None = None
    aborted: bool = True
    span: SpanIds = NO_SPAN
    added: dict[str, Any] | None = None

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id


OUTCOME: Slot[Outcome] = Slot("log_timing.outcome")


class Recorder:
    """Makes the records of one compiled policy."""

    def __init__(self, policy: LogTiming, target: Target) -> None:
        self._ids = target.state.service(request_ids)
        self._logger = logging.getLogger(policy.logger)
        self._records = Records(policy.logger, MESSAGE)
        self._level = policy.level
        self._slow_ms = policy.slow_ms
        self._sample = policy.sample
        self._keeps_all = policy.slow_ms is None and policy.sample == 1
        self._costs = policy.costs
        self._added = compile_fields(check_fields(policy.fields, FIELDS)) if policy.fields else None
        self._server_timing = ServerTiming(policy.server_timing) if policy.server_timing is not False else None
        self._spans = span_reader()
        self._sees_out = (self._see_out,)

    def step(self) -> Step:
        """Return the policy's step."""
        return Step(self._enter, self._leave, self._teardown)

    def _enter(self, run: Run) -> None:
        self._outcome_of(run)

    def _outcome_of(self, run: Run) -> Outcome:
        """Return the outcome of a request: made on entering, or later if a hook answered before any policy entered."""
        outcome = OUTCOME.get(run)
        if outcome is None:
            outcome = Outcome(self._ids.of(run.request.environ))
            OUTCOME.put(run, outcome)
            outcome.before = CURRENT.get()
            CURRENT.set(outcome.request_id)
            if self._server_timing is not None:
                METRICS.put(run, Metrics())
        return outcome

    def _leave(self, run: Run, response: Response) -> None:
        outcome = self._outcome_of(run)
        put(response.headers, ("X-Request-ID", outcome.request_id))
        if self._server_timing is not None:
            self._server_timing.send(run, response)
        outcome.left = response
        run.outgoing += self._sees_out

    def _see_out(self, run: Run, response: Response) -> None:
        """Note what goes out, after every hook has had its say. It may yet fail: at saving the session, for one."""
        outcome = self._outcome_of(run)
        outcome.going = response
        self._note(run, outcome, response)
        run.request.environ[LOGGED_KEY] = True
        if outcome.size is None:
            self._watch(run, outcome, response)

    def _note(self, run: Run, outcome: Outcome, response: Response | None) -> None:
        """Note what can be known only while the request lasts."""
        if response is not None:
            status = outcome.status = response.status_code
            outcome.size = size_if_complete(response) if run.request.method != "HEAD" and status not in _EMPTY else 0
            outcome.aborted = False
            error = sys.exc_info()[1]
            if error is not None:
                outcome.in_flight = id(error)
                if status >= 500:  # Flask makes the 500 of an exception that nobody handled while it handles it
                    outcome.exception = type(error).__name__
        if self._spans is not None:
            outcome.span = self._spans.describe(run, outcome.request_id, verdicts)
        if self._added is not None:
            outcome.added = self._added(run.request, response)

    def _watch(self, run: Run, outcome: Outcome, response: Response) -> None:
        def done(sent: int, error: BaseException | None, aborted: bool) -> None:
            if outcome.going is response and not outcome.is_recorded:  # else that one failed, and another went out
                outcome.size, outcome.aborted = sent, aborted
                if error is not None:
                    outcome.exception = type(error).__name__
                    outcome.status = outcome.status if sent else 500  # nothing has gone out: the server answers
                outcome.first_byte = watched.first_byte_at if watched is not None else handed_over
                self._record(run, outcome)

        handed_over = perf_counter()
        watched = watch_body(response, done, outcome.request_id)

    def _teardown(self, run: Run, error: BaseException | None) -> None:
        """Make the record, unless a body is still being sent."""
        outcome = self._outcome_of(run)
        try:
            if not outcome.is_recorded:
                self._end(run, outcome, error)
        finally:
            CURRENT.set(outcome.before)

    def _end(self, run: Run, outcome: Outcome, error: BaseException | None) -> None:
        if outcome.going is None:
            self._note_unseen(run, outcome)
        elif error is None:
            error = _refusal(outcome)
        if error is not None:
            outcome.exception = type(error).__name__
        if outcome.size is not None:
            self._record(run, outcome)

    def _note_unseen(self, run: Run, outcome: Outcome) -> None:
        """Note what became of a request of which no response was seen to go out.

        Its exception was left to the server; or an ``after_request`` hook failed, and once more on the 500 for that,
        which Flask then sends as it is.
        """
        left = outcome.left
        self._note(run, outcome, left if left is not None and left.status_code >= 500 else None)
        run.request.environ[LOGGED_KEY] = True

    def _record(self, run: Run, outcome: Outcome) -> None:
        outcome.is_recorded = True
        duration_ms = (perf_counter() - run.started) * 1000
        usual = outcome.status < 400 and outcome.exception is None and self._keeps_all
        level = self._level if usual else self._level_of(run, outcome, duration_ms)
        if level is None or not self._logger.isEnabledFor(level):
            return
        fields = _fields(run, run.request, outcome, duration_ms)
        if self._costs:
            fields["costs"] = dict(COSTS.get(run) or {})
        if outcome.added is not None:
            fields.update(outcome.added)
        self._logger.handle(self._records.make(level, fields))

    def _level_of(self, run: Run, outcome: Outcome, duration_ms: float) -> int | None:
        """Return the level to log at, or None if the request is not in the sample."""
        if outcome.status >= 500 or outcome.exception is not None:
            return max(self._level, logging.ERROR)
        if self._slow_ms is not None and duration_ms >= self._slow_ms:
            return max(self._level, logging.WARNING)
        if self._sample < 1 and outcome.status < 400 and not run.would_deny and random() >= self._sample:  # noqa: S311
            return None
        return self._level


_EMPTY = (204, 304)
"""Statuses whose responses have no body."""


def _refusal(outcome: Outcome) -> BaseException | None:
    """Return the exception with which the server refused the response, as it does a header that it cannot send."""
    error = sys.exc_info()[1]
    if error is None or id(error) == outcome.in_flight:
        return None
    outcome.status, outcome.size, outcome.aborted = 500, 0, True
    return error


def _fields(run: Run, request: Request, outcome: Outcome, duration_ms: float) -> dict[str, Any]:
    rule, identities = request.url_rule, run.identities
    principal = identities.get("principal")
    trace_id, span_id = outcome.span
    return {
        "request_id": outcome.request_id,
        "method": _safe(request.method, 32),
        "path": _safe(request.path, LONGEST_PATH),
        "endpoint": rule.endpoint if rule is not None else None,
        "status": outcome.status,
        "duration_ms": duration_ms,
        "first_byte_ms": duration_ms if outcome.first_byte is None else (outcome.first_byte - run.started) * 1000,
        "bytes": outcome.size,
        "address": shown_address(request.remote_addr),
        "api_key": identities.get("api_key"),
        "principal": _safe(principal, LONGEST_PRINCIPAL) if principal is not None else None,
        "verdicts": verdicts(run),
        "aborted": outcome.aborted,
        "exception": outcome.exception,
        "trace_id": trace_id,
        "span_id": span_id,
    }


def _safe(value: str, longest: int) -> str:
    return value if len(value) <= longest and value.isprintable() else printable(value, longest)


def verdicts(run: Run) -> dict[str, str]:
    """Return what each policy decided: those that act before the view, as far as the request came."""
    names, denial = run.plan.names, run.denial
    decided = dict.fromkeys(names, "allowed") if run.entered else {}
    if denial is not None:
        if not run.entered and denial.policy in names:
            decided = dict.fromkeys(names[: names.index(denial.policy)], "allowed")
        decided[denial.policy] = "denied"
    if run.would_deny:
        decided.update((denial.policy, "would deny") for denial in run.would_deny)
    return decided
