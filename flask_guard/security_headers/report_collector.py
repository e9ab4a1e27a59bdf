"""The endpoint to which browsers report violations of a content security policy.

::

    app.register_blueprint(csp_reports())
    secure_headers(
        csp={"report-to": "csp", "report-uri": "/csp-reports"},
        reporting_endpoints={"csp": "/csp-reports"},
        mode="report",
    )
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from flask import Blueprint, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from ..core.facts import STATED, Foreign
from ..core.flask_versions import current_flask
from ..core.marks import calling_site
from ..core.policy import Exemption, Phase, apply
from ..errors import ConfigError
from ..signals import csp_violation
from ..support.options import whole_number
from .violations import Violation, violations_in

log: logging.Logger = logging.getLogger("flask_guard.csp")

CONTENT_TYPES = ("application/reports+json", "application/csp-report", "application/json")
LARGEST = 64 * 1024
"""Bytes of a body, beyond which it is refused unread."""
MOST = 50
"""Reports in one body that are looked at."""
MINUTE = 60.0
FACTS = (
    Foreign("csp_reports", "csrf", "a report changes nothing, and any page may send one"),
    Foreign("csp_reports", "body", f"at most {LARGEST} bytes"),
)


def csp_reports(*, url: str = "/csp-reports", per_minute: int = 120, name: str = "csp_reports") -> Blueprint:
    """Return a blueprint with one endpoint that takes reports, as ``report-to`` and ``report-uri`` send them.

    Each violation is one WARNING on the logger ``flask_guard.csp``, with the attributes of
    :class:`~flask_guard.security_headers.violations.Violation`, and one signal ``csp_violation``. Query strings are cut
    off, control characters are escaped, and long text is cut. Anybody can send reports, so believe none of them: they
    are for finding mistakes in a policy.

    No credentials are asked for, even if the whole app wants some: browsers send none. A body over 64 KiB is a 413,
    another content type a 415, and what is not JSON a 400. To limit clients as well, write
    ``protect(csp_reports(), limit("60/minute"))``. Where the whole app wants certain content types or headers, write
    ``exempt(require_request)(csp_reports())``.

    :param url: where the endpoint is.
    :param per_minute: how many violations each process records in a minute. The others are counted.
    :param name: the name of the blueprint.
    :raises ConfigError: for an invalid option.
    """
    if not isinstance(url, str) or not url.startswith("/") or "<" in url:
        raise ConfigError(f"csp_reports(url=…) must be a path such as '/csp-reports', not {url!r}")
    if not isinstance(name, str) or not name or "." in name:
        raise ConfigError(f"csp_reports(name=…) must be a name without dots, not {name!r}")
    budget = _Budget(whole_number(at_least=1)(per_minute, "csp_reports(per_minute=…)"))
    blueprint = Blueprint(name, __name__)
    apply((Exemption(phases=frozenset({Phase.AUTHENTICATE})),), blueprint, calling_site())
    blueprint.add_url_rule(url, "receive", _receiver(budget), methods=["POST"])
    return blueprint


class _Budget:
    """Says how many violations may still be recorded in this minute."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._since = monotonic()
        self._recorded = self._left_out = 0

    def take(self, wanted: int) -> tuple[int, int]:
        """Return how many of `wanted` to record now, and how many were left out in the minute that has ended."""
        with self._lock:
            left_out = 0
            if monotonic() - self._since >= MINUTE:
                left_out, self._since = self._left_out, monotonic()
                self._recorded = self._left_out = 0
            granted = min(wanted, self._per_minute - self._recorded)
            self._recorded += granted
            self._left_out += wanted - granted
            return granted, left_out


def _receiver(budget: _Budget) -> Callable[[], tuple[str, int]]:
    def receive() -> tuple[str, int]:
        found = list(violations_in(_document()))[:MOST]
        granted, left_out = budget.take(len(found))
        if left_out:
            log.warning("%d further reports of the last minute were left out", left_out)
        for violation in found[:granted]:
            _record(violation)
        return "", 204

    setattr(receive, STATED, FACTS)
    return receive


def _document() -> Any:
    """Return the parsed body of the request.

    :raises HTTPException: if it is too long, not JSON, or of another type.
    """
    if request.mimetype not in CONTENT_TYPES:
        raise UnsupportedMediaType(f"Send {' or '.join(CONTENT_TYPES[:2])}.")
    if (request.content_length or 0) > LARGEST:
        raise RequestEntityTooLarge(f"Send at most {LARGEST} bytes.")
    body = request.stream.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise RequestEntityTooLarge(f"Send at most {LARGEST} bytes.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("The report is not JSON.") from None


def _record(violation: Violation) -> None:
    log.warning(
        "%s blocked %s on %s", violation.directive, violation.blocked_url, violation.document_url,
        extra=dataclasses.asdict(violation),
    )  # fmt: skip
    if csp_violation.receivers:
        csp_violation.send(current_flask(), violation=violation, request=request)
