"""Report mode: a denying policy that says what it would have denied, and lets it through."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..signals import request_denied, request_would_be_denied
from ..support.text import printable
from .config import ERROR_FORMAT
from .denials import Denied
from .flask_versions import current_flask
from .request_run import Enter, Run

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

log: logging.Logger = logging.getLogger("flask_guard")


def reporting(enter: Enter) -> Enter:
    """Return `enter` as it runs with ``mode="report"``."""

    def report(run: Run) -> ResponseReturnValue | None:
        try:
            return enter(run)
        except Denied as denial:
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
    log.log(
        logging.WARNING if would else logging.INFO,
        "%s %s %s by %s (%s)",
        printable(run.request.method, 32),
        printable(run.request.path),
        "would be denied" if would else "denied",
        denial.policy,
        denial.reason,
    )
    signal = request_would_be_denied if would else request_denied
    signal.send(current_flask(), denial=denial, request=run.request)
