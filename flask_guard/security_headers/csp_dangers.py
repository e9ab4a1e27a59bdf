"""Dangerous sources: those that take away the protection that a content security policy gives."""

from __future__ import annotations

from urllib.parse import urlsplit

from .csp import Csp, strict_dynamic
from .csp_match import deciding, ignores_unsafe_inline

_RUNS = ("script-src-elem", "script-src", "object-src", "frame-src", "worker-src", "child-src")
"""The directives whose sources may run code; ``default-src`` does where one of the first is left out."""
_FOR_EVERYBODY = frozenset({
    "ajax.googleapis.com", "cdn.jsdelivr.net", "cdn.statically.io", "cdnjs.cloudflare.com", "cdn.skypack.dev",
    "esm.run", "esm.sh", "fastly.jsdelivr.net", "gist.githubusercontent.com", "raw.githubusercontent.com",
    "rawcdn.githack.com", "storage.googleapis.com", "s3.amazonaws.com", "unpkg.com",
})  # fmt: skip
"""Hosts on which anybody may publish a file, or which have libraries that run text of the page as code."""


def danger_of(policy: Csp, directive: str, source: str) -> str:
    """Return why `source` is dangerous in a directive of `policy`, and what to do instead; empty if it is not."""
    if source == "'unsafe-inline'":
        return "" if ignores_unsafe_inline(policy, directive) else _danger_of_inline(directive)
    if source == "'unsafe-eval'":
        return "text can become code: find what calls eval() or new Function(), and replace it"
    if source in ("http:", "ws:") or (source.startswith(("http://", "ws://")) and not _is_local(source)):
        return "whoever is on the way may change what is loaded: load it over https"
    if not _runs(policy, directive) or source.startswith("'") or strict_dynamic in (policy.sources(directive) or ()):
        return ""
    if source in ("data:", "blob:", "filesystem:"):
        return "scripts and frames may be made up within the page: load them from a host"
    if source in ("*", "https:", "wss:") and directive.startswith(("script", "default", "object")):
        return "a script of any site may run: name the hosts, or use a nonce"
    if _host(source) in _FOR_EVERYBODY and directive.startswith(("script", "default")):
        return "anybody may publish a script there: host the file yourself, or use a nonce in place of the host"
    return ""


def _danger_of_inline(directive: str) -> str:
    if directive == "script-src-attr":
        return "an event handler that gets into the page runs: replace the attributes by addEventListener() in a script"
    if directive.startswith("style"):
        return "" if directive == "style-src-attr" else "a style that gets into the page applies: use a nonce"
    return "any script that gets into the page runs, which is what the policy is there to stop: use a nonce"


def _runs(policy: Csp, directive: str) -> bool:
    if directive == "default-src":
        return any(deciding(policy, each) == directive for each in ("script-src-elem", "object-src"))
    return directive in _RUNS


def _is_local(source: str) -> bool:
    return _host(source) in ("localhost", "127.0.0.1", "::1")


def _host(source: str) -> str:
    try:
        return urlsplit(source if "://" in source else f"//{source}").hostname or ""
    except ValueError:
        return ""
