"""`Headers`: header fields for the responses of any application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias
from wsgiref.util import is_hop_by_hop

from .fields import check_name, drop, has_content, is_field_text
from .middleware import Middleware

if TYPE_CHECKING:
    from .typing import HeaderList, WSGIApplication, WSGIEnvironment

Fields: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Header fields: by name, or as (name, value) if one name comes several times."""

_FRAMING = frozenset({"content-length", "status"})
_OF_CONTENT = frozenset({"content-type", "content-encoding", "content-language", "content-range", "last-modified"})


class Headers(Middleware):
    """Adds header fields to every response, and removes others.

    :param add: fields to add, beside existing ones of the same name.
    :param set: fields to replace the existing ones of the same name.
    :param default: fields to add if the response has none of the same name.
    :param remove: names of fields to remove.
    :raises TypeError: for a name or value that is not a string.
    :raises ValueError: for an invalid name or value, for a field that only the server sets (RFC 9110, section 7.6.1),
        and for a name in several options.
    """

    def __init__(
        self,
        app: WSGIApplication | None = None,
        *,
        add: Fields = (),
        set: Fields = (),
        default: Fields = (),
        remove: Iterable[str] = (),
    ) -> None:
        super().__init__(app)
        added, replacing = _check_pairs(add, "Headers(add=…)"), _check_pairs(set, "Headers(set=…)")
        defaults, removed = _check_pairs(default, "Headers(default=…)"), _check_names(remove)
        present = [*_names_of(replacing), *_names_of(defaults), *frozenset(_names_of(added))]
        _refuse_twice([*present, *removed])
        self._dropped = frozenset([*removed, *_names_of(replacing)])
        self._defaults = tuple(zip(_names_of(defaults), defaults, strict=True))
        self._fields = replacing + added
        self._describes_content = not _OF_CONTENT.isdisjoint(present)

    def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> None:
        defaults = self._missing(headers) if self._defaults else ()
        if self._dropped:
            drop(headers, self._dropped)
        headers += self._fields
        if defaults:
            headers += defaults
        if self._describes_content and not has_content(status):
            drop(headers, _OF_CONTENT)

    def _missing(self, headers: HeaderList) -> HeaderList:
        present = {name.lower() for name, _ in headers}
        return [pair for name, pair in self._defaults if name not in present]


def _check_pairs(given: object, what: str) -> tuple[tuple[str, str], ...]:
    """Return header fields, given as a mapping or as pairs, if a layer can add them to a response."""
    pairs = list(given.items()) if isinstance(given, Mapping) else given
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise TypeError(f"{what} takes names and values, as in {{'X-Frame-Options': 'DENY'}}, not {given!r}")
    return tuple(_check_pair(pair, what) for pair in pairs)


def _check_pair(pair: object, what: str) -> tuple[str, str]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"{what} takes names and values, as in {{'X-Frame-Options': 'DENY'}}, not {pair!r}")
    name, value = check_name(pair[0], what), pair[1]
    if is_hop_by_hop(name) or name.lower() in _FRAMING:
        raise ValueError(f"{what}: only the server sets {name}; leave it out")
    if not isinstance(value, str):
        raise TypeError(f"{what}: the value of {name} must be a string, not {value!r}")
    if value != value.strip() or not is_field_text(value):
        raise ValueError(
            f"{what}: the value of {name} must be Latin-1 text without control characters or outer spaces: {value!r}"
        )
    return name, value


def _check_names(names: Iterable[str]) -> list[str]:
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise TypeError(f"Headers(remove=…) takes a list of names, not {names!r}")
    checked = [check_name(name, "Headers(remove=…)") for name in names]
    if "content-type" in (name.lower() for name in checked):
        raise ValueError("Headers(remove=…): a WSGI response has a Content-Type; set another instead")
    return [name.lower() for name in checked]


def _names_of(pairs: tuple[tuple[str, str], ...]) -> list[str]:
    return [name.lower() for name, _ in pairs]


def _refuse_twice(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Headers() has {name!r} twice; name it in one of add, set, default and remove, once")
