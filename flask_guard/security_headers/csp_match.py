"""Matching scripts, styles and URLs against a content security policy, as browsers do (CSP 3, section 6.7)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from .csp import Csp, nonce, strict_dynamic

FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "script-src-elem": ("script-src-elem", "script-src", "default-src"),
    "script-src-attr": ("script-src-attr", "script-src", "default-src"),
    "style-src-elem": ("style-src-elem", "style-src", "default-src"),
    "style-src-attr": ("style-src-attr", "style-src", "default-src"),
    "worker-src": ("worker-src", "child-src", "script-src", "default-src"),
    "frame-src": ("frame-src", "child-src", "default-src"),
    "fenced-frame-src": ("fenced-frame-src", "frame-src", "child-src", "default-src"),
    "base-uri": ("base-uri",),
    "form-action": ("form-action",),
    "frame-ancestors": ("frame-ancestors",),
}
"""The directives that decide for another, the first that the policy has (CSP 3, section 6.8.3)."""

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_UPGRADES = {"http": {"http", "https"}, "ws": {"ws", "wss", "http", "https"}, "wss": {"wss", "https"}}
_HOST_SOURCE = re.compile(r"(?:(?P<scheme>[^:/]+)://)?(?P<host>\[[^\]]*\]|[^:/]+)(?::(?P<port>[^/]+))?(?P<path>/.*)?")
_HASH = re.compile(r"'(sha(?:256|384|512))-([^']+)'")


def deciding(policy: Csp, directive: str) -> str | None:
    """Return the directive of `policy` that decides for `directive`; None if none does, so that all is allowed."""
    own = dict(policy.directives)
    return next((each for each in FALLBACKS.get(directive, (directive, "default-src")) if each in own), None)


def allows_url(policy: Csp, directive: str, url: str, page: str, *, has_nonce: bool = False) -> bool:
    """Return whether `policy` lets a page load `url`.

    :param url: an absolute URL.
    :param page: the URL of the page.
    :param has_nonce: whether the element that loads it has the nonce of the response.
    """
    decides = deciding(policy, directive)
    if decides is None:
        return True
    sources = policy.sources(decides) or ()
    if has_nonce and nonce in sources:
        return True
    if strict_dynamic in sources and directive in ("script-src-elem", "worker-src"):
        return False  # the hosts of the list do not count, and elements of the page need the nonce
    return any(_matches(source, urlsplit(url), urlsplit(page)) for source in sources)


def allows_inline(policy: Csp, directive: str, content: str, *, has_nonce: bool = False) -> bool:
    """Return whether `policy` lets a page run a script or apply a style that is written into it.

    :param directive: ``script-src-elem``, ``script-src-attr``, ``style-src-elem`` or ``style-src-attr``.
    :param content: what is written there.
    """
    decides = deciding(policy, directive)
    if decides is None:
        return True
    sources = policy.sources(decides) or ()
    is_attribute = directive.endswith("-attr")
    if has_nonce and not is_attribute and nonce in sources:
        return True
    hashes = [match for source in sources if (match := _HASH.fullmatch(source))]
    if (not is_attribute or "'unsafe-hashes'" in sources) and any(_hashes_to(each, content) for each in hashes):
        return True
    return "'unsafe-inline'" in sources and not ignores_unsafe_inline(policy, decides, of_script=directive[:2] == "sc")


def ignores_unsafe_inline(policy: Csp, directive: str, *, of_script: bool | None = None) -> bool:
    """Return whether ``'unsafe-inline'`` has no effect in a directive of `policy`, as a nonce or hash is beside it.

    :param of_script: whether it is asked about a script; by default whether the directive is about scripts.
    """
    sources = policy.sources(directive) or ()
    is_about_scripts = directive.startswith("script") if of_script is None else of_script
    return nonce in sources or any(map(_HASH.fullmatch, sources)) or (is_about_scripts and strict_dynamic in sources)


def _hashes_to(match: re.Match[str], content: str) -> bool:
    digest = hashlib.new(match[1], content.encode()).digest()
    return base64.b64encode(digest).decode().rstrip("=") == match[2].replace("-", "+").replace("_", "/").rstrip("=")


# URLs --------------------------------------------------------------------------------------------------------------


def _matches(source: str, url: SplitResult, page: SplitResult) -> bool:
    """Return whether a source expression matches a URL (CSP 3, section 6.7.2.8)."""
    if source == "*":
        return url.scheme in ("http", "https", "ws", "wss") or url.scheme == page.scheme
    if source == "'self'":
        return url.hostname == page.hostname and _matches_port(None, url, page) and _upgrades(page.scheme, url.scheme)
    if source.startswith("'"):
        return False
    if source.endswith(":"):
        return _upgrades(source[:-1].lower(), url.scheme)
    return _matches_host(source, url, page)


def _matches_host(source: str, url: SplitResult, page: SplitResult) -> bool:
    match = _HOST_SOURCE.fullmatch(source)
    if match is None or not url.hostname:
        return False
    scheme = (match["scheme"] or page.scheme).lower()
    if not _upgrades(scheme, url.scheme) or not _matches_name(match["host"].lower(), url.hostname):
        return False
    return _matches_port(match["port"] or "", url, page) and _matches_path(match["path"] or "", url.path)


def _upgrades(wanted: str, scheme: str) -> bool:
    return scheme in _UPGRADES.get(wanted, {wanted})


def _matches_name(pattern: str, host: str) -> bool:
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return pattern.strip("[]") == host


def _matches_port(port: str | None, url: SplitResult, page: SplitResult) -> bool:
    """Return whether the port of `url` is the wanted one: that of the page for None, the default one for ""."""
    actual = url.port or _PORTS.get(url.scheme)
    if port == "*":
        return True
    wanted = (page.port or _PORTS.get(page.scheme)) if port is None else int(port) if port else _PORTS.get(url.scheme)
    return actual == wanted or (wanted == 80 and actual == 443)


def _matches_path(wanted: str, path: str) -> bool:
    wanted, path = unquote(wanted), unquote(path)
    if wanted in ("", "/"):
        return True
    return path.startswith(wanted) if wanted.endswith("/") else path == wanted
