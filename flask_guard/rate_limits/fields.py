"""The response fields of limits: draft-ietf-httpapi-ratelimit-headers-11, and the older ``X-RateLimit-*``.

The former is a draft: its syntax is known here and in :attr:`flask_guard.rate_limits.storage.Budget.policy_item` only.
"""

from __future__ import annotations

import base64
import hashlib
import re
from time import time
from typing import TYPE_CHECKING

from ..core.request_run import Leave, Slot
from ..errors import ConfigError
from ..support.header_fields import Pair, setter
from ..typing import Response
from .settings import FIELDS
from .storage import Standing, adopted_limiter

if TYPE_CHECKING:
    from ..core.app_state import AppState
    from ..core.request_run import Run

STANDINGS: Slot[list[Standing]] = Slot("limit.standings")
"""Where the client stands with each budget that the request has met."""

LEGACY = {
    "RATELIMIT_HEADER_LIMIT": "X-RateLimit-Limit",
    "RATELIMIT_HEADER_REMAINING": "X-RateLimit-Remaining",
    "RATELIMIT_HEADER_RESET": "X-RateLimit-Reset",
}
"""The older names, by the config keys with which Flask-Limiter changes them."""

FIELD_TEXTS = {
    "RateLimit-Policy": "The quotas that apply: q is the quota, w the window in seconds.",
    "RateLimit": "What is left of the tightest quota: r requests, for t seconds.",
}
"""Descriptions of the fields, for OpenAPI documents."""

_put_draft = setter("ratelimit-policy", "ratelimit")

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A field name (RFC 9110, section 5.1)."""


def check_field_names(state: AppState) -> None:
    """Raise ConfigError if the app's configuration has an invalid field name."""
    for key in LEGACY:
        name = state.app.config.get(key)
        if name and not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise ConfigError(f"{key} must be the name of a header field, not {name!r}")


def field_names_in(state: AppState) -> tuple[str, ...]:
    """Return the names of the fields that the app's responses carry."""
    wanted = state.config[FIELDS]
    draft = ("RateLimit-Policy", "RateLimit") if wanted != "legacy" else ()
    return (*draft, *(_legacy_names(state) if wanted != "draft" else ()), "Retry-After")


def field_writer(state: AppState) -> Leave:
    """Return the function that writes where the client stands, for all limits that a request met."""
    wanted = state.config[FIELDS]
    if wanted == "draft":
        return _write_draft
    write_legacy = _legacy_writer(_legacy_names(state), shared=adopted_limiter(state.app) is not None)
    if wanted == "legacy":
        return write_legacy

    def write_both(run: Run, response: Response) -> None:
        write_legacy(run, response)
        _write_draft(run, response)

    return write_both


def _write_draft(run: Run, response: Response) -> None:
    met: list[Standing] | None = run.kept.get(STANDINGS)
    if not met:
        return
    if len(met) == 1 and (item := met[0][0].remaining_item):  # in most responses
        budget, remaining, wait, _, _ = met[0]
        fields = (("RateLimit-Policy", budget.policy_item), ("RateLimit", f"{item}{remaining};t={wait}"))
        _put_draft(response.headers, fields)
    elif shown := [each for each in met if each[0].shown]:
        _put_draft(response.headers, _draft(shown))


def _legacy_writer(names: tuple[str, ...], *, shared: bool) -> Leave:
    """Return the function that writes the older fields, which know of one budget: the tightest.

    :param shared: whether the app's own Limiter may write them, too. Then they are compared once both have: on the
        response that goes out.
    """

    limit, remaining, reset = names
    put_legacy = setter(*map(str.lower, names))

    def write(run: Run, response: Response) -> None:
        shown = [each for each in run.kept.get(STANDINGS, ()) if each[0].shown]
        if not shown:
            return
        tightest = shown[0] if len(shown) == 1 else min(shown, key=lambda each: (each.remaining, -each.wait))
        budget, left, wait, _, _ = tightest
        if not shared or _is_tighter(left, response.headers.get(remaining, "")):
            fields = ((limit, str(budget.amount)), (remaining, str(left)), (reset, str(int(time()) + wait)))
            put_legacy(response.headers, fields)

    def write_late(run: Run, _response: Response) -> None:
        if write not in run.outgoing:
            run.outgoing += (write,)

    return write_late if shared else write


def _is_tighter(left: int, theirs: str) -> bool:
    """Return whether a budget of ours has less left than the app's own Limiter has written."""
    return not theirs.isdecimal() or int(theirs) > left


def _legacy_names(state: AppState) -> tuple[str, ...]:
    return tuple(str(state.app.config.get(key) or name) for key, name in LEGACY.items())


def _draft(standings: list[Standing]) -> tuple[Pair, Pair]:
    return (
        ("RateLimit-Policy", ", ".join([each[0].policy_item + _partition(each) for each in standings])),
        ("RateLimit", ", ".join([_item(each) for each in standings])),
    )


def _item(standing: Standing) -> str:
    budget, remaining, wait, _, _ = standing
    when = f";t={wait}" if budget.item is not None else ""  # of places, the end is unknown
    return f'"{budget.name}";r={remaining}{when}{_partition(standing)}'


def _partition(standing: Standing) -> str:
    """Return the partition key: a hash, which tells clients apart and says nothing else about them."""
    if not standing.budget.partitioned:
        return ""
    digest = hashlib.sha256(standing.identity.encode("utf-8", "surrogatepass")).digest()
    return f";pk=:{base64.b64encode(digest[:12]).decode()}:"
