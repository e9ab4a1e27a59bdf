"""Logs and signals of denials. In report mode the request passes, and the denial is only reported."""

from __future__ import annotations

import atexit
import logging
import threading
from time import perf_counter
from typing import NamedTuple

from flask.typing import ResponseReturnValue

from ..signals import request_denied, request_would_be_denied
from ..support.addresses import client_network
from ..support.callables import while_alive
from ..support.log import log
from ..support.text import printable
from ..wsgi.request_ids import ENVIRON_KEY
from .app_state import AppState
from .config import ERROR_FORMAT
from .denials import Denied
from .request_run import Enter, Run

WINDOW = 60
"""Seconds for which equal denials of one client are logged once, and then counted."""
MOST_LINES = 100
"""The largest number of lines about denials in a window. Further denials are counted for all clients together."""
OTHERS = "others"


def reporting(enter: Enter) -> Enter:
    """Return `enter` as it runs with ``mode="report"``."""

    def report(run: Run) -> ResponseReturnValue | None:
        try:
            return enter(run)
        except Denied as denial:
            if denial.whatever_mode:
                raise
            note_report(run, denial)
            return None

    return report


def note_report(run: Run, denial: Denied) -> None:
    """Note that a policy in report mode would have denied the request."""
    run.would_deny += (denial,)
    _announce(run, denial, would=True)


def note_denial(run: Run, denial: Denied) -> None:
    """Note that a policy has denied the request."""
    denial.error_format = run.state.config[ERROR_FORMAT]
    run.denial = denial
    _announce(run, denial)


def _announce(run: Run, denial: Denied, *, would: bool = False) -> None:
    """Log a denial and send its signal."""
    state = run.state
    if state.rehearses is not None:
        return
    debug = state.app.debug
    if debug:
        denial.remedy = _remedy(run, denial)
    if log.isEnabledFor(logging.WARNING if would or debug else logging.INFO):
        state.resource(DenialLog).note(run, denial, would=would)
    signal = request_would_be_denied if would else request_denied
    if signal.receivers:
        signal.send(state.app, denial=denial, request=run.request)


def _remedy(run: Run, denial: Denied) -> str:
    """Return the remedy for a refused request; if no policy has one, the detail that the client gets."""
    policies = (each.policy for each in getattr(run.plan, "policies", ()) if each.policy.name == denial.policy)
    remedies = (policy.remedy(denial) for policy in policies)
    return printable(next(filter(None, remedies), str(denial.description or "")))


class Sort(NamedTuple):
    """A group of equal denials, of which the first in a window is logged."""

    would: bool
    policy: str
    reason: str
    client: str

    @property
    def verdict(self) -> str:
        return "would be denied" if self.would else "denied"

    @property
    def level(self) -> int:
        return logging.WARNING if self.would else logging.INFO

    def fields(self, limit: str | None = None, request_id: str | None = None) -> dict[str, str | None]:
        fields = {"policy": self.policy, "reason": self.reason, "client": self.client}
        return {**fields, "limit": limit, "request_id": request_id}


class DenialLog:
    """Logs the denials of an app, bounded: an attack must not fill the disk.

    The first denial of a client by a policy for a reason gets a line. Later ones are counted. The counts are logged
    with the next denial after the window, or when the process ends.
    """

    def __init__(self, state: AppState) -> None:
        self._app = state.app
        self._lock = threading.Lock()
        self._more: dict[Sort, int] = {}
        self._began = perf_counter()
        atexit.register(while_alive(self, DenialLog.write_counts))

    def note(self, run: Run, denial: Denied, *, would: bool) -> None:
        sort = Sort(would, denial.policy, denial.reason, _client(run))
        if perf_counter() - self._began >= WINDOW:
            self.write_counts()
        if self._is_first(sort) or self._app.debug:
            request = run.request
            limit = ", ".join(denial.members.get("violated-policies", ())) or None
            log.log(
                max(sort.level, logging.WARNING) if self._app.debug and not _has_record(run) else sort.level,
                "%s %s %s by %s (%s)%s",
                printable(request.method, 32),
                printable(request.path),
                sort.verdict,
                sort.policy,
                sort.reason,
                f": {denial.remedy}" if denial.remedy else "",
                extra=sort.fields(limit, request.environ.get(ENVIRON_KEY)),
            )

    def _is_first(self, sort: Sort) -> bool:
        """Return whether a denial is the first of its group in this window. Count a later one."""
        with self._lock:
            more = self._more
            if sort not in more:
                if len(more) < MOST_LINES:
                    more[sort] = 0
                    return True
                sort = sort._replace(client=OTHERS)
                if sort not in more and len(more) >= 2 * MOST_LINES:
                    sort = Sort(sort.would, OTHERS, OTHERS, OTHERS)
            more[sort] = more.get(sort, 0) + 1
            return False

    def write_counts(self) -> None:
        """Log the number of later denials in each group, and begin a new window."""
        with self._lock:
            past, self._more, self._began = self._more, {}, perf_counter()
        for sort, count in past.items():
            if count:
                text = "%s by %s (%s), client %s: … and %s more"
                values = (sort.verdict, sort.policy, sort.reason, sort.client, f"{count:,}")
                log.log(sort.level, text, *values, extra=sort.fields())


def _has_record(run: Run) -> bool:
    """Return whether a policy makes a log record of the request, which names the denial."""
    return any(each.policy.records for each in getattr(run.plan, "policies", ()))


def _client(run: Run) -> str:
    """Return the name of a client: its key or principal if there is one, else its address or network."""
    for sort in ("api_key", "principal"):
        identity = run.identities.get(sort)
        if identity:
            return f"{sort} {printable(identity, 128)}"
    return client_network(run.request.remote_addr)
