"""Response header fields: written fast, and checked where an app names them.

Werkzeug's :class:`~werkzeug.datastructures.Headers` checks each field that is set, and searches the list each time. A
policy has checked its fields when it was made, so it reads and writes the list inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from operator import itemgetter

from werkzeug.datastructures import Headers

from ..errors import ConfigError
from ..wsgi.fields import is_field_text, is_token
from .options import listed

Pair = tuple[str, str]


def pairs_of(headers: Headers) -> list[Pair]:
    """Return the list that `headers` wraps, a private attribute: the public methods cost several times as much."""
    return headers._list


def field_names(headers: Headers) -> set[str]:
    """Return the names of the fields, in lower case."""
    return {name.lower() for name, _ in pairs_of(headers)}


def finder(*names: str) -> Callable[[Headers], Mapping[str, list[int]]]:
    """Return a function that finds the fields called `names` (lower case) at one go.

    It returns the positions of each in the list that headers wrap. A name that is not there is left out. The answers
    are cached: do not change them. Make one such function for each module, as each has a cache.
    """
    wanted = frozenset(names)

    @lru_cache(maxsize=256)  # the responses of an app have few different lists of names
    def positions(*present: str) -> Mapping[str, list[int]]:
        found: dict[str, list[int]] = {}
        for at, field in enumerate(present):
            if (name := field.lower()) in wanted:
                found.setdefault(name, []).append(at)
        return found

    return lambda headers: positions(*map(_name_of, headers._list))  # as `pairs_of`


_name_of: Callable[[Pair], str] = itemgetter(0)


def append(headers: Headers, pairs: Iterable[Pair]) -> None:
    """Append `pairs`. They must have been checked."""
    pairs_of(headers).extend(pairs)


def put(headers: Headers, *fields: Pair) -> None:
    """Set each of `fields`, in place of any of its name. They must have been checked."""
    drop(headers, [name.lower() for name, _ in fields])
    append(headers, fields)


def setter(*names: str) -> Callable[[Headers, Iterable[Pair]], None]:
    """Return a function that does as `put` for fields called `names` (lower case), prepared for many responses."""
    wanted, lengths = frozenset(names), frozenset(map(len, names))

    def put_named(headers: Headers, fields: Iterable[Pair]) -> None:
        pairs = headers._list  # as `pairs_of`
        for name, _ in pairs:
            if len(name) in lengths and name.lower() in wanted:  # the length first, as names are seldom as long
                drop(headers, wanted)
                break
        pairs += fields

    return put_named


def drop(headers: Headers, names: Iterable[str]) -> None:
    """Remove every field named in `names` (lower case)."""
    unwanted = frozenset(names)
    pairs = pairs_of(headers)
    pairs[:] = [pair for pair in pairs if pair[0].lower() not in unwanted]


def lines_of(headers: Headers, name: str) -> list[int]:
    """Return the positions in the list that `headers` wraps of the fields called `name` (lower case)."""
    length, lines = len(name), []
    for at, (field, _) in enumerate(pairs_of(headers)):
        if len(field) == length and field.lower() == name:
            lines.append(at)
    return lines


def add_vary(headers: Headers, *names: str, lines: list[int] | None = None) -> None:
    """Add `names` to ``Vary`` unless they are there (RFC 9110, section 12.5.5). Several lines of it stay several.

    :param lines: the positions of ``Vary``, for callers that have found them.
    """
    pairs, lines = pairs_of(headers), lines_of(headers, "vary") if lines is None else lines
    if not lines:
        pairs.append(("Vary", ", ".join(names)))
        return
    *others, last = lines
    field, value = pairs[last]
    pairs[last] = (field, _with_names(value, names, ",".join([pairs[at][1] for at in others])))


@lru_cache(maxsize=1024)
def _with_names(value: str, names: tuple[str, ...], others: str) -> str:
    """Return the last line of ``Vary`` with `names`. Responses of an app have few such lines, so they are kept."""
    present = {each.strip().lower() for each in f"{others},{value}".split(",")}
    missing = () if "*" in present else [name for name in names if name.lower() not in present]
    return ", ".join((value, *missing) if value.strip() else missing) if missing else value


# Checks ------------------------------------------------------------------------------------------------------------


def check_value(value: object, what: str) -> str:
    """Return `value` if a header field can carry it.

    :raises ConfigError: if it is not a string, or holds a control character or one outside Latin-1.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{what} must be a header value, or None to leave the header out, not {value!r}")
    if not is_field_text(value):
        raise ConfigError(f"{what} holds a character that a header cannot carry: {value!r}")
    return value


def check_names(value: object, what: str) -> tuple[str, ...]:
    """Return the tokens that `value` lists, such as the names of header fields (RFC 9110, section 5.1).

    :raises ConfigError: if one is not a token.
    """
    found = listed(value)
    for each in found:
        if not isinstance(each, str) or not is_token(each):
            raise ConfigError(f"{what}: {each!r} is not a name; list names: ['Content-Type', 'X-API-Key']")
    return found
