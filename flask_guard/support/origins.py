"""The origins that a policy allows, parsed once and matched exactly (RFC 6454, section 6.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from werkzeug.wrappers import Request

from ..errors import ConfigError
from .callables import fitting
from .log import log
from .options import listed
from .text import printable

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_ORIGIN = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)
LONGEST_ORIGIN = 300
EXAMPLE = "write an origin as scheme://host[:port], such as https://app.example.com or http://localhost:5173"

OneOrigin: TypeAlias = "str | re.Pattern[str] | Callable[[str], bool]"
"""An origin, a pattern of origins, or a callable that takes an origin, as options list them."""


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins that a policy allows.

    :ivar exact: origins in lower case.
    :ivar patterns: patterns that must match a whole origin.
    :ivar predicates: callables that take an origin and return True or False.
    """

    exact: frozenset[str] = frozenset()
    patterns: tuple[re.Pattern[str], ...] = ()
    predicates: tuple[Callable[[str], bool], ...] = ()

    def __repr__(self) -> str:
        listed = [*sorted(self.exact), *(each.pattern for each in self.patterns), *self.predicates]
        return repr(listed or "*")

    def as_plain(self) -> list[Any]:
        """Return the origins as values that JSON can hold: for reports and lock files."""
        return ["*"] if self is ANY else [*sorted(self.exact), *self.patterns, *self.predicates]

    def allow(self, origin: str) -> bool:
        """Return whether `origin` is allowed. Other text than an origin never is."""
        if origin.lower() in self.exact:
            return True
        if not (self.patterns or self.predicates) or not is_origin(origin):
            return False
        return any(each.fullmatch(origin) for each in self.patterns) or any(
            _agrees(each, origin) for each in self.predicates
        )


ANY: Final = Origins()
"""Every origin. Compared by identity."""


def _agrees(predicate: Callable[[str], bool], origin: str) -> bool:
    """Return whether `predicate` allows `origin`. An exception counts as no: the response must be sent."""
    try:
        answer = predicate(origin)
        if not isinstance(answer, bool):
            raise TypeError(f"{predicate!r} must return True or False, not {answer!r}")
    except Exception:
        log.exception("a callable for origins failed, so the origin is not allowed")
        return False
    return answer


def is_origin(value: str) -> bool:
    """Return whether `value` is a serialised origin other than ``null``."""
    return len(value) <= LONGEST_ORIGIN and _ORIGIN.fullmatch(value) is not None


def is_own_origin(request: Request, origin: str) -> bool:
    """Return whether the app serves `request` under `origin`, which has no default port."""
    return origin.lower() == f"{request.scheme}://{request.host}".lower()


def parse_origins(value: object, what: str) -> Origins:
    """Return the origins that `value` lists.

    :raises ConfigError: for a malformed origin, and for ``"*"`` beside others.
    """
    if isinstance(value, Origins):
        return value
    if not isinstance(value, (str, re.Pattern, Iterable)) and not callable(value):
        raise ConfigError(f"{what} must be an origin or a list of origins, not {value!r}; {EXAMPLE}")
    values = listed(value)
    if not values:
        raise ConfigError(f"{what} is empty; {EXAMPLE}")
    if "*" in values:
        if len(values) > 1:
            raise ConfigError(
                f"{what}: '*' allows every origin, so the others have no effect. Write '*' alone, or leave it out"
            )
        return ANY
    patterns = tuple(ignoring_case(each, what) for each in values if isinstance(each, re.Pattern))
    predicates = tuple(_predicate(each, what) for each in values if callable(each))
    exact = [each for each in values if not callable(each) and not isinstance(each, re.Pattern)]
    return Origins(frozenset(_exact(each, what) for each in exact), patterns, predicates)


def _predicate(value: Callable[..., object], what: str) -> Callable[[str], bool]:
    """Check for a callable that takes an origin."""
    wanted = "must take the origin and return True or False"
    return fitting(value, what, "response", wanted, (("https://origin.example",),))


def ignoring_case(pattern: re.Pattern[str], what: str) -> re.Pattern[str]:
    """Return `pattern` with the flag that ignores case.

    :raises ConfigError: for a pattern of bytes.
    """
    if not isinstance(pattern.pattern, str):
        raise ConfigError(f"{what}: a pattern must match text, not bytes: write re.compile(r'…')")
    return re.compile(pattern.pattern, pattern.flags & ~re.DEBUG | re.IGNORECASE)


def _exact(value: object, what: str) -> str:
    if value == "null":
        return "null"
    match = _ORIGIN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f"{what}: {_shown(value)} is not an origin{_hint(value)}; {EXAMPLE}")
    scheme, port = match["scheme"].lower(), match["port"]
    if port is not None and _DEFAULT_PORTS.get(scheme) == port:
        raise ConfigError(
            f"{what}: browsers leave the default port out, so {_shown(value)} never matches; drop :{port}"
        )
    return match[0].lower()


def _shown(value: object) -> str:
    return repr(printable(value)) if isinstance(value, str) else repr(value)


def _hint(value: object) -> str:
    if not isinstance(value, str):
        return ""
    if "*" in value:
        return " (for subdomains, give a pattern: re.compile(r'https://[a-z0-9-]+\\.example\\.com'))"
    if "://" not in value:
        return " (it has no scheme)"
    if not value.isascii():
        return " (browsers send international names in their ASCII form, xn--…)"
    if "," in value:
        return " (list several: ['https://a.example', 'https://b.example']; in an environment variable as JSON)"
    after = value.partition("://")[2]
    if after.endswith("/") and after.count("/") == 1:
        return " (drop the trailing slash)"
    return " (it has a path)" if "/" in after else ""
