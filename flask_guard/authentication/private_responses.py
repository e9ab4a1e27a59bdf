"""Responses that depend on credentials: shared caches must not answer one caller with the response to another."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from werkzeug.datastructures import Headers

from ..core.request_run import Leave, Run, Slot
from ..support.header_fields import add_vary, lines_of, pairs_of
from ..typing import Response

_SAYS_IT = frozenset({"public", "private", "no-store", "s-maxage"})
"""The directives that say whether shared caches may store a response."""


def private_responses(fields: Iterable[str], caller: Slot[Any]) -> Leave:
    """Return the step on the responses of a policy that authenticates (RFC 9111, sections 4.1 and 5.2.2.7).

    ``Vary`` gets the fields. The response to a recognised caller is ``private``, unless its ``Cache-Control`` already
    says whether shared caches may store it. The step acts on the outgoing response, after stricter policies such as
    ``secure_headers``.

    :param fields: the header fields that the policy reads.
    :param caller: the slot that has a value once the policy has recognised a caller.
    """
    names = tuple(dict.fromkeys(fields))

    def show_out(run: Run, response: Response) -> None:
        if names:
            add_vary(response.headers, *names)
        if caller in run.kept:
            _make_private(response.headers)

    shown_out = (show_out,)

    def leave(run: Run, _response: Response) -> None:
        run.outgoing += shown_out

    return leave


def _make_private(headers: Headers) -> None:
    pairs, lines = pairs_of(headers), lines_of(headers, "cache-control")
    if not lines:
        pairs.append(("Cache-Control", "private"))
        return
    *others, last = lines
    field, value = pairs[last]
    pairs[last] = (field, _with_private(value, ",".join([pairs[at][1] for at in others])))


@lru_cache(maxsize=1024)
def _with_private(value: str, others: str) -> str:
    """Return the last line of ``Cache-Control``. An app has few different ones, so the answers are cached."""
    directives = {each.partition("=")[0].strip().lower() for each in f"{others},{value}".split(",")}
    return f"{value}, private" if _SAYS_IT.isdisjoint(directives) else value
