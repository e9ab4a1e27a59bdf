"""The response fields of rate limits: draft-ietf-httpapi-ratelimit-headers-11 and nothing else.

It is a draft: all that knows its syntax is here and in :attr:`flask_guard.storage.Rate.field`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..headers import put
from ..storage import Standing

if TYPE_CHECKING:
    from ..run import Run
    from ..typing import Response

VALUE = "limit"


def write_fields(run: Run, response: Response) -> None:
    """Write ``RateLimit-Policy`` and ``RateLimit`` for all limits that the request met."""
    met: list[Standing] = run.values.get(VALUE, [])
    standings = [each for each in met if each[0].shown]
    if standings:
        policies = ", ".join([rate.field for rate, _, _, _ in standings])
        now = ", ".join([f'"{rate.name}";r={r};t={t}' for rate, r, t, _ in standings])
        put(response.headers, ("RateLimit-Policy", policies), ("RateLimit", now))
