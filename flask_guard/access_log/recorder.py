"""Making the record of each request for `log_timing`: when, from what, and whether at all."""

from __future__ import annotations

import sys
from random import random
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from ..core.policy import Step
from ..core.request_run import Slot
from ..core.step_costs import COSTS
from ..support.header_fields import setter
from ..support.response_body import size_if_complete, watch_body
from ..support.text import printable
from ..wsgi.access_record import LOGGED_KEY, AccessLog, access_fields
from ..wsgi.request_ids import CURRENT
from ..wsgi.typing import Ending
from ..wsgi.watched import DEBUGGER_KEY
from .fields import compile_fields
from .request_id import request_ids
from .server_timing import METRICS, Metrics, ServerTiming
from .telemetry import NO_SPAN, SpanIds, span_reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.app_state import AppState
    from ..core.denials import Denied
    from ..core.request_run import Run
    from ..typing import Response
    from .fields import Pairs

HEADER = "X-Request-ID"
_put_id = setter(HEADER.lower())
LONGEST_PRINCIPAL = 128
"""Characters of a principal's id that a record keeps."""


class Outcome(Ending):
    """The outcome of a request. Until more is known, the request has failed without a response.

    :ivar before: the request id of this context outside of the request.
    :ivar left: the response, as the policies left it, until it goes out.
    :ivar going: how many responses have been seen to go out: one that fails is followed by a 500.
    :ivar in_flight: the id of the exception that was being handled when the last one went out.
    :ivar is_sending: whether a body is being sent.
    :ivar added: the fields that the policy names.
    """

    code: int = 500
    exception: str | None = None
    aborted: bool = True
    before: str | None = None
    left: Response | None = None
    going: int = 0
    in_flight: int = 0
    is_sending: bool = False
    is_recorded: bool = False
    span: SpanIds = NO_SPAN
    added: dict[str, Any] | None = None

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id


OUTCOME: Slot[Outcome] = Slot("log_timing.outcome")


class AccessLogs:
    """The logs of an app, shared by the targets whose policies have the same options."""

    def __init__(self, _state: AppState) -> None:
        self._logs: dict[tuple[str, int, int, float | None], AccessLog] = {}

    def log(self, logger: str, level: int, error_level: int, slow_ms: float | None) -> AccessLog:
        """Return the log with these options."""
        options = (logger, level, error_level, slow_ms)
        return self._logs.get(options) or self._logs.setdefault(options, AccessLog(*options, "log_timing"))


class Recorder:
    """Makes the records of one compiled policy. Its options are those of `log_timing`."""

    def __init__(
        self,
        state: AppState,
        log: AccessLog,
        *,
        slow_ms: float | None,
        sample: float,
        costs: bool,
        fields: Pairs,
        server_timing: bool | Callable[..., object],
    ) -> None:
        self._ids = state.service(request_ids)
        self._log = log
        self._slow_ms = slow_ms
        self._sample = sample
        self._costs = costs
        self._added = compile_fields(fields, state.credentials) if fields else None
        self._server_timing = ServerTiming(server_timing) if server_timing is not False else None
        self._spans = span_reader()
        self._sees_out = (self._see_out,)

    def step(self) -> Step:
        """Return the policy's step."""
        return Step(self._enter, self._leave, self._teardown)

    def _enter(self, run: Run) -> None:
        outcome = run.kept[OUTCOME] = Outcome(self._ids.of(run.request.environ))
        outcome.before = CURRENT.get()
        CURRENT.set(outcome.request_id)
        if self._server_timing is not None:
            METRICS.put(run, Metrics())

    def _enter_late(self, run: Run) -> Outcome:
        """Return the outcome of a request that a hook answered before any policy entered."""
        self._enter(run)
        return cast(Outcome, run.kept[OUTCOME])

    def _leave(self, run: Run, response: Response) -> None:
        outcome: Outcome = run.kept.get(OUTCOME) or self._enter_late(run)
        _put_id(response.headers, ((HEADER, outcome.request_id),))
        if self._server_timing is not None:
            self._server_timing.send(run, response)
        outcome.left = response
        run.outgoing += self._sees_out

    def _see_out(self, run: Run, response: Response) -> None:
        """Note the response that goes out after every hook. It may yet fail: when the session is saved, for one."""
        outcome: Outcome = run.kept[OUTCOME]
        outcome.left = None
        outcome.going += 1
        self._note(run, outcome, response)
        if outcome.is_sending:
            self._watch(run, outcome, response)

    def _note(self, run: Run, outcome: Outcome, response: Response | None) -> None:
        """Note what can be known only while the request lasts."""
        environ = run.request.environ
        environ[LOGGED_KEY] = True
        if not self._log.is_configured and self._sample == 1:
            self._log.begin(environ)
        if response is not None:
            size = size_if_complete(run.request, response)
            outcome.code, outcome.size, outcome.aborted = response.status_code, size or 0, False
            outcome.is_sending = size is None
            error = sys.exc_info()[1]
            if error is not None:
                outcome.in_flight = id(error)
                if outcome.code >= 500:  # Flask makes the 500 of an unhandled exception while it handles that
                    outcome.exception = type(error).__name__
        if self._spans is not None:
            outcome.span = self._spans.describe(run, outcome.request_id, verdicts)
        if self._added is not None:
            outcome.added = self._added(run.request, response)

    def _watch(self, run: Run, outcome: Outcome, response: Response) -> None:
        number = outcome.going

        def done(ending: Ending) -> None:
            if outcome.going == number and not outcome.is_recorded:  # else this one failed, and another went out
                outcome.size, outcome.aborted = ending.size, ending.aborted
                if ending.exception is not None:
                    outcome.exception = ending.exception
                    outcome.code = outcome.code if ending.size else 500  # nothing has gone out: the server answers
                outcome.first_byte = ending.first_byte
                self._record(run, outcome)

        watch_body(run.request, response, done, outcome.request_id)

    def _teardown(self, run: Run, error: BaseException | None) -> None:
        """Make the record, unless a body is still being sent."""
        outcome: Outcome = run.kept.get(OUTCOME) or self._enter_late(run)
        try:
            if not outcome.is_recorded:
                self._end(run, outcome, error)
        finally:
            CURRENT.set(outcome.before)

    def _end(self, run: Run, outcome: Outcome, error: BaseException | None) -> None:
        if not outcome.going:
            # Its exception was left to the server. Or an after_request hook failed, and once more on the 500 for that,
            # which Flask then sends as it is.
            left = outcome.left
            self._note(run, outcome, left if left is not None and left.status_code >= 500 else None)
            outcome.is_sending = False
            outcome.aborted = outcome.aborted and DEBUGGER_KEY not in run.request.environ
        elif error is None:
            error = _refusal(outcome)
        if error is not None:
            outcome.exception = type(error).__name__
        if not outcome.is_sending:
            self._record(run, outcome)

    def _record(self, run: Run, outcome: Outcome) -> None:
        outcome.is_recorded = True
        if run.rehearsal:
            return
        started, ended = run.started, perf_counter()
        if self._sample < 1 and not self._is_kept(run, outcome, (ended - started) * 1000):
            return
        level = self._log.level_of(outcome, ended - started)
        if level is None:
            return
        request, identities = run.request, run.identities
        rule = request.url_rule
        fields = access_fields(
            outcome,
            started,
            ended,
            request_id=outcome.request_id,
            method=request.method,
            path=request.path,
            address=request.remote_addr,
            verdicts=verdicts(run),
        )
        if run.denial is not None:
            fields.update(_reasons(run.denial))
        if rule is not None:
            fields["endpoint"] = rule.endpoint
        if identities:
            principal = identities.get("principal")
            fields["api_key"] = identities.get("api_key")
            fields["principal"] = printable(principal, LONGEST_PRINCIPAL) if principal else None
        if outcome.span is not NO_SPAN:
            fields["trace_id"], fields["span_id"] = outcome.span
        if self._costs:
            fields["costs"] = dict(COSTS.get(run) or {})
        if outcome.added is not None:
            fields.update(outcome.added)
        self._log.write(level, fields)

    def _is_kept(self, run: Run, outcome: Outcome, duration_ms: float) -> bool:
        """Return whether a request is in the sample, or is recorded all the same."""
        return (
            outcome.code >= 400
            or outcome.exception is not None
            or bool(run.would_deny)
            or (self._slow_ms is not None and duration_ms >= self._slow_ms)
            or random() < self._sample  # noqa: S311
        )


def _refusal(outcome: Outcome) -> BaseException | None:
    """Return the exception with which the server refused the response, as it does a header that it cannot send."""
    error = sys.exc_info()[1]
    if error is None or id(error) == outcome.in_flight:
        return None
    outcome.code, outcome.size, outcome.aborted, outcome.is_sending = 500, 0, True, False
    return error


def _reasons(denial: Denied) -> dict[str, str]:
    return {"reason": denial.reason, **({"remedy": denial.remedy} if denial.remedy else {})}


def verdicts(run: Run) -> dict[str, str]:
    """Return the decision of each policy: of those that act before the view, as far as the request came."""
    names, denial = run.plan.names, run.denial
    decided = dict.fromkeys(names, "allowed") if run.entered else {}
    if denial is not None:
        if not run.entered and denial.policy in names:
            decided = dict.fromkeys(names[: names.index(denial.policy)], "allowed")
        decided[denial.policy] = "denied"
    if run.would_deny:
        decided.update((denial.policy, "would deny") for denial in run.would_deny)
    return decided
