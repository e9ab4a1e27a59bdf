"""Shadow mode: a denying policy that says what it would have denied, and lets it through."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flask import current_app
from flask.typing import ResponseReturnValue

from ..errors import printable
from ..signals import request_denied, request_would_be_denied
from ..typing import Enter
from .denials import Denied

if TYPE_CHECKING:
    from .request_run import Run

log: logging.Logger = logging.getLogger("flask_guard")


def in_shadow(enter: Enter) -> Enter:
    """Return `enter` as it runs with ``mode="report"``."""

    def report(run: Run) -> ResponseReturnValue | None:
        try:
            return enter(run)
        except Denied as denial:
            run.would_deny += (denial,)
            announce(run, denial, would=True)
            return None

    return report


def announce(run: Run, denial: Denied, *, would: bool = False) -> None:
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
    signal.send(current_app._get_current_object(), denial=denial, request=run.request)  # type: ignore[attr-defined]
