"""Denials that many requests get alike, made so that a flood of denied requests costs little."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, TypeVar

from werkzeug.datastructures import Headers

from ..support.header_fields import Pair
from .denials import Denied

D = TypeVar("D", bound=Denied)


class ReadyDenial(Generic[D]):
    """Makes copies of a denial. Each is an exception of its own, and costs a fraction of one that is made anew.

    :param denial: the denial. Its members are strings, numbers, and lists of them.
    :raises ValueError: for a header field with a line break.
    """

    __slots__ = ("_kind", "_lists", "_members", "_values")

    def __init__(self, denial: D) -> None:
        Headers(denial.headers)  # checks them
        self._kind: type[D] = type(denial)
        self._members: dict[str, Any] = denial.members
        self._lists: list[str] = [name for name, value in denial.members.items() if isinstance(value, list)]
        self._values: dict[str, Any] = {**vars(denial), "_known_headers": denial.headers}
        if self._members:
            self._values["_known_members"] = self._members, f", {json.dumps(self._members)[1:]}\n"

    def copy(self, *headers: Pair) -> D:
        """Return a copy, which may be changed.

        :param headers: other header fields of the response. They must have been checked.
        """
        attributes = self._values.copy()
        attributes["members"] = members = self._members.copy()
        for name in self._lists:
            members[name] = [*members[name]]
        if headers:
            attributes["headers"] = attributes["_known_headers"] = headers
        made: D = Exception.__new__(self._kind)
        made.__dict__ = attributes
        return made


@lru_cache(maxsize=256)
def ready_denial(
    kind: Callable[..., Denied], detail: str, policy: str, reason: str, headers: tuple[Pair, ...] = ()
) -> ReadyDenial[Any]:
    """Return a denial to copy; :class:`Denied` explains the arguments, none of which may come from a request.

    The few different ones that an app has are kept.
    """
    return ReadyDenial(kind(detail, policy=policy, reason=reason, headers=headers))
