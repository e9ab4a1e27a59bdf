"""Responses that depend on credentials: shared caches must not answer one caller with the response to another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from werkzeug.datastructures import Headers

from ..core.request_run import Leave, Run, Slot
from ..support.header_fields import add_vary, append, field_names
from ..typing import Response

_SAYS_IT = frozenset({"public", "private", "no-store", "s-maxage"})
"""The directives that say whether shared caches may store a response."""


def private_responses(fields: Iterable[str], caller: Slot[Any]) -> Leave:
    """Return the step on the responses of a policy that authenticates (RFC 9111, sections 4.1 and 5.2.2.7).

    ``Vary`` gets the fields. Where the policy recognised a caller, the response is ``private``, unless its own
    ``Cache-Control`` says whether shared caches may store it. That is decided on the response that goes out in the end,
    so that a stricter policy, such as ``secure_headers``, comes first.

    :param fields: the header fields that the policy looks at.
    :param caller: the slot that has a value where the policy recognised a caller.
    """
    names = tuple(dict.fromkeys(fields))
    vary = [("Vary", ", ".join(names))] if names else []
    both = [*vary, ("Cache-Control", "private")]

    def show_out(run: Run, response: Response) -> None:
        headers, is_personal = response.headers, caller in run.kept
        present = field_names(headers)
        if "vary" not in present and not (is_personal and "cache-control" in present):
            append(headers, both if is_personal else vary)
            return
        for name in names:
            add_vary(headers, name)
        if is_personal:
            _make_private(headers)

    shown_out = (show_out,)

    def leave(run: Run, _response: Response) -> None:
        run.outgoing += shown_out

    return leave


def _make_private(headers: Headers) -> None:
    present = headers.get("Cache-Control")
    if present is None:
        append(headers, [("Cache-Control", "private")])
    elif _SAYS_IT.isdisjoint(each.partition("=")[0].strip().lower() for each in present.split(",")):
        headers["Cache-Control"] = f"{present}, private"
