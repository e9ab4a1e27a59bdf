"""Responses that depend on credentials: shared caches must not answer one caller with the response to another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from werkzeug.datastructures import Headers

from ..core.request_run import Leave, Run, Slot
from ..support.header_fields import Pair, add_vary, finder, pairs_of
from ..typing import Response

_SAYS_IT = frozenset({"public", "private", "no-store", "s-maxage"})
"""The directives that say whether shared caches may store a response."""
_find: Callable[[Headers], Mapping[str, list[int]]] = finder("vary", "cache-control")
_PRIVATE: Pair = ("Cache-Control", "private")


def private_responses(fields: Iterable[str], caller: Slot[Any]) -> Leave:
    """Return the step on the responses of a policy that authenticates (RFC 9111, sections 4.1 and 5.2.2.7).

    ``Vary`` gets the fields. The response to a recognised caller is ``private``, unless its ``Cache-Control`` already
    says whether shared caches may store it. The step acts on the outgoing response, after stricter policies such as
    ``secure_headers``.

    :param fields: the header fields that the policy reads.
    :param caller: the slot that has a value once the policy has recognised a caller.
    """
    names = tuple(dict.fromkeys(fields))
    vary: Pair = ("Vary", ", ".join(names))

    def show_out(run: Run, response: Response) -> None:
        headers = response.headers
        pairs, found = pairs_of(headers), _find(headers)
        if "vary" in found and names:
            add_vary(headers, *names, lines=found["vary"])
        elif names:
            pairs.append(vary)
        if caller in run.kept:
            if "cache-control" in found:
                *others, last = found["cache-control"]
                field, value = pairs[last]
                pairs[last] = (field, _with_private(value, ",".join([pairs[at][1] for at in others])))
            else:
                pairs.append(_PRIVATE)

    shown_out = (show_out,)

    def leave(run: Run, _response: Response) -> None:
        run.outgoing += shown_out

    return leave


@lru_cache(maxsize=1024)
def _with_private(value: str, others: str) -> str:
    """Return the last line of ``Cache-Control``, with ``private`` unless a line says who may store the response.

    An app has few different lines, so the answers are cached.
    """
    directives = {each.partition("=")[0].strip().lower() for each in f"{others},{value}".split(",")}
    return f"{value}, private" if _SAYS_IT.isdisjoint(directives) else value
