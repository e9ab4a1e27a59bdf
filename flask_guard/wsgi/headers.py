"""`Headers`: header fields that every response gets, whichever application it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from .fields import check_name, check_pairs, drop, has_content
from .middleware import Middleware

if TYPE_CHECKING:
    from .typing import HeaderList, WSGIApplication, WSGIEnvironment

Fields: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Header fields: by name, or as (name, value) if one name comes several times."""

_OF_CONTENT = frozenset({"content-type", "content-encoding", "content-language", "content-range", "last-modified"})


class Headers(Middleware):
    """Adds header fields to every response, and removes others.

    :param add: fields that are added to those that are there.
    :param set: fields that replace those of their name.
    :param default: fields that are added where there is none of their name.
    :param remove: names of fields that are removed.
    :raises TypeError: for what is no name or value.
    :raises ValueError: for a name or value that a header cannot have, a field that is the server's to set (RFC 9110,
        section 7.6.1), and a name that is in several of the options.
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
        added, replacing = check_pairs(add, "Headers(add=…)"), check_pairs(set, "Headers(set=…)")
        self._defaults = tuple((name.lower(), (name, value)) for name, value in check_pairs(default, _DEFAULT))
        removed = [name.lower() for name in _check_names(remove)]
        _refuse_twice([*{name.lower() for name, _ in added}, *(name.lower() for name, _ in replacing), *removed,
                       *(name for name, _ in self._defaults)])  # fmt: skip
        self._dropped = frozenset([*removed, *(name.lower() for name, _ in replacing)])
        self._fields = replacing + added
        everything = (*self._fields, *(pair for _, pair in self._defaults))
        self._describes_content = any(name.lower() in _OF_CONTENT for name, _ in everything)

    def on_response(self, environ: WSGIEnvironment, status: str, headers: HeaderList) -> None:
        """Change the fields."""
        defaults = self._missing(headers) if self._defaults else ()
        if self._dropped:
            dropped = self._dropped
            headers[:] = [pair for pair in headers if pair[0].lower() not in dropped]
        headers += self._fields
        if defaults:
            headers += defaults
        if self._describes_content and not has_content(status):
            drop(headers, _OF_CONTENT)

    def _missing(self, headers: HeaderList) -> HeaderList:
        present = {name.lower() for name, _ in headers}
        return [pair for name, pair in self._defaults if name not in present]


_DEFAULT = "Headers(default=…)"


def _check_names(names: Iterable[str]) -> list[str]:
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise TypeError(f"Headers(remove=…) takes a list of names, not {names!r}")
    checked = [check_name(name, "Headers(remove=…)") for name in names]
    if "content-type" in (name.lower() for name in checked):
        raise ValueError("Headers(remove=…): a WSGI response has a Content-Type; set another instead")
    return checked


def _refuse_twice(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Headers() has {name!r} twice; name it in one of add, set, default and remove, once")
