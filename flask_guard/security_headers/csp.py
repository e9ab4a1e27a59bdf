"""Content Security Policies (CSP 3): read from text or from a mapping, checked, and laid over one another."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..errors import ConfigError
from ..support.header_fields import check_value
from ..support.options import listed
from ..support.text import did_you_mean, names

nonce: Final = "'nonce'"
"""Stands in a policy for the nonce of the response: ``csp={"script-src": ["'self'", nonce]}``."""
strict_dynamic: Final = "'strict-dynamic'"
"""Lets scripts that have the nonce load others."""

Sources: TypeAlias = "str | Iterable[str] | bool | None"
"""The sources of a directive. None takes the directive out; True stands for one without sources."""
CspOption: TypeAlias = "str | Mapping[str, Sources]"

FETCH_DIRECTIVES: Final = (
    "default-src",
    "script-src",
    "script-src-elem",
    "script-src-attr",
    "style-src",
    "style-src-elem",
    "style-src-attr",
    "img-src",
    "font-src",
    "connect-src",
    "media-src",
    "object-src",
    "frame-src",
    "child-src",
    "worker-src",
    "manifest-src",
    "fenced-frame-src",
)
_SOURCE_LISTS = frozenset({*FETCH_DIRECTIVES, "base-uri", "form-action", "frame-ancestors"})
_WITHOUT_VALUE = frozenset({"upgrade-insecure-requests", "block-all-mixed-content"})
_OTHERS = frozenset({"sandbox", "report-uri", "report-to", "require-trusted-types-for", "trusted-types"})
DIRECTIVES: Final = (*sorted(_SOURCE_LISTS), *sorted(_WITHOUT_VALUE), *sorted(_OTHERS))

_KEYWORDS = (
    "'self'",
    "'none'",
    nonce,
    strict_dynamic,
    "'unsafe-inline'",
    "'unsafe-eval'",
    "'unsafe-hashes'",
    "'wasm-unsafe-eval'",
    "'report-sample'",
    "'inline-speculation-rules'",
    "'trusted-types-eval'",
)
_HASH = re.compile(r"'sha(256|384|512)-([A-Za-z0-9+/_-]+={0,2})'")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_HOST = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:\*|(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?:[0-9]{1,5}|\*))?(?:/[^\s;,?#]*)?"
)
_INSECURE = "upgrade-insecure-requests"


@dataclass(frozen=True, slots=True)
class Csp:
    """A policy, or changes to one.

    :ivar directives: each directive and its sources. In changes, None takes the directive out.
    :ivar is_whole: whether it is a policy of its own, and not changes to that of a preset or an outer scope.
    """

    directives: tuple[tuple[str, tuple[str, ...] | None], ...]
    is_whole: bool

    def over(self, outer: Csp) -> Csp:
        """Return the policy in force where this one is laid over `outer`, directive by directive."""
        if self.is_whole:
            return self
        merged = {**dict(outer.directives), **dict(self.directives)}
        if outer.is_whole:
            merged = {name: sources for name, sources in merged.items() if sources is not None}
        return Csp(tuple(merged.items()), outer.is_whole)

    def without(self, *directives: str) -> Csp:
        """Return the policy without `directives`."""
        return Csp(tuple(each for each in self.directives if each[0] not in directives), self.is_whole)

    def sources(self, *directives: str) -> tuple[str, ...] | None:
        """Return the sources of the first of `directives` that the policy has, or None."""
        own = dict(self.directives)
        return next((own[each] for each in directives if each in own), None)

    @property
    def uses_nonce(self) -> bool:
        return any(nonce in (sources or ()) for _, sources in self.directives)

    @property
    def reports(self) -> bool:
        """Return whether browsers are told where to report."""
        return self.sources("report-to", "report-uri") is not None

    def __str__(self) -> str:
        return "; ".join(" ".join((name, *(sources or ()))) for name, sources in self.directives)

    def __repr__(self) -> str:
        return repr(str(self) if self.is_whole else dict(self.directives))


def insecure(policy: Csp) -> Csp:
    """Return `policy` as it goes out over http, where upgrading requests would break every asset of the site."""
    return policy.without(_INSECURE)


def only_reported(policy: Csp) -> Csp:
    """Return `policy` as it goes out in a Report-Only header, without the directives that browsers ignore there."""
    return policy.without(_INSECURE, "sandbox")


def without_nonce(policy: Csp) -> Csp:
    """Return `policy` as it goes out on a response that has no nonce."""

    def left(sources: tuple[str, ...] | None) -> tuple[str, ...] | None:
        kept = tuple(each for each in sources or () if each != nonce)
        return kept or ("'none'",) if sources else sources

    return Csp(tuple((name, left(sources)) for name, sources in policy.directives), policy.is_whole)


# Reading -----------------------------------------------------------------------------------------------------------


def parse_csp(value: object, what: str) -> Csp:
    """Check for a policy: a string is a whole one, a mapping of directives to sources changes the one below.

    :raises ConfigError: for an unknown directive or a malformed source, with the right spelling.
    """
    if isinstance(value, Csp):
        return value
    if isinstance(value, Mapping):
        return Csp(tuple(_pairs(value, what)), is_whole=False)
    return Csp(tuple(_directives(check_value(value, what), what)), is_whole=True)


def parse_whole_csp(value: object, what: str) -> Csp:
    """Check for a policy of its own, also where it is given as a mapping."""
    parsed = parse_csp(value, what)
    return parsed if parsed.is_whole else parsed.over(Csp((), is_whole=True))


def _directives(text: str, what: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    if "," in text:
        raise ConfigError(f"{what}: write ';' between directives and a blank between sources, not ','")
    seen: set[str] = set()
    for part in filter(None, (each.strip() for each in text.split(";"))):
        name, *sources = part.split()
        name = _name(name, what)
        if name in seen:
            raise ConfigError(f"{what} has {name} twice, and browsers ignore the second. Write its sources once")
        seen.add(name)
        yield name, _checked(name, tuple(sources), what)


def _name(name: object, what: str) -> str:
    lowered = name.lower() if isinstance(name, str) else name
    if lowered not in DIRECTIVES:
        raise ConfigError(f"{what}: {name!r} is not a directive{did_you_mean(str(lowered), DIRECTIVES)}")
    return str(lowered)


def _pairs(mapping: Mapping[str, Sources], what: str) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    for key, sources in mapping.items():
        name = _name(key.replace("_", "-") if isinstance(key, str) else key, what)
        yield name, _listed(name, sources, what)


def _listed(name: str, sources: Sources, what: str) -> tuple[str, ...] | None:
    if sources is None:
        return None
    if sources is True:
        return _checked(name, (), what)
    found = tuple(sources.split()) if isinstance(sources, str) else listed(sources)
    for each in found:
        if not isinstance(each, str) or not each or any(c in " ;,\t\r\n" for c in each):
            raise ConfigError(f"{what}: {each!r} in {name} is not one source. List them: [\"'self'\", 'https://…']")
    return _checked(name, found, what)


# Checking ----------------------------------------------------------------------------------------------------------


def _checked(name: str, sources: tuple[str, ...], what: str) -> tuple[str, ...]:
    where = f"{what}: {name}"
    if name in _WITHOUT_VALUE:
        if sources:
            raise ConfigError(f"{where} takes no sources, not {names(sources)}")
        return ()
    if not sources and name != "sandbox":
        raise ConfigError(f"{where} names no source. Write 'none' with its quotes to allow nothing: \"'none'\"")
    if name in _SOURCE_LISTS:
        if "'none'" in sources and len(sources) > 1:
            raise ConfigError(f"{where}: 'none' allows nothing, so nothing may stand beside it")
        return tuple(_source(each, where) for each in sources)
    for each in sources:
        check_value(each, where)
    return sources


def _source(source: str, where: str) -> str:
    """Check for one source expression (CSP 3, section 2.3.1)."""
    lowered = source.lower()
    if lowered in _KEYWORDS:
        return lowered
    if lowered.startswith(("'nonce-", "nonce-")):
        raise ConfigError(f"{where}: a nonce that is the same on every response protects nothing. Write \"'nonce'\"")
    if _is_hash(source):
        return source
    if lowered.startswith("'"):
        raise ConfigError(f"{where}: {source} is not a keyword{did_you_mean(lowered, _KEYWORDS)}")
    quoted = f"'{lowered.strip(chr(34))}'"
    if quoted in _KEYWORDS or _is_hash(f"'{source}'"):
        raise ConfigError(f"{where}: write {quoted} with its quotes, or it is the name of a host")
    if lowered.partition("//")[0] in ("http", "https", "ws", "wss", "data", "blob"):
        raise ConfigError(
            f"{where}: {source!r} begins with the name of a host. Write the scheme with its colon:"
            f" {source.replace('//', '://') if '//' in source else f'{source}:'}"
        )
    if not _SCHEME.fullmatch(source) and not _HOST.fullmatch(source):
        raise ConfigError(
            f"{where}: {source!r} is not a source. Write a host (cdn.example, https://*.example.com), a scheme"
            " (https:), or a keyword in quotes ('self')"
        )
    return source


def _is_hash(source: str) -> bool:
    match = _HASH.fullmatch(source)
    if match is None:
        return False
    try:
        digest = base64.b64decode(match[2].replace("-", "+").replace("_", "/") + "==")
    except binascii.Error:
        return False
    return len(digest) * 8 == int(match[1])


def check_policy(policy: Csp, endpoints: Iterable[str]) -> None:
    """Check a policy that is in force for mistakes that show only when it is whole.

    :param endpoints: the names in ``Reporting-Endpoints``.
    :raises ConfigError: if no script could run, or reports would go nowhere.
    """
    for name in ("script-src", "script-src-elem", "default-src"):
        sources = policy.sources(name) or ()
        if strict_dynamic in sources and not any(each == nonce or _is_hash(each) for each in sources):
            raise ConfigError(f"{name} has 'strict-dynamic' and neither 'nonce' nor a hash, so no script can run")
    group = policy.sources("report-to")
    if group and group[0] not in endpoints:
        raise ConfigError(
            f"report-to names {group[0]!r}, which is not among the reporting endpoints."
            f" Write reporting_endpoints={{{group[0]!r}: '/csp-reports'}}"
        )
