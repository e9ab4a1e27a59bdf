"""The smallest change to a content security policy that would have allowed what browsers have reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..errors import ConfigError
from .csp import Csp, nonce, parse_whole_csp, strict_dynamic
from .csp_match import allows_inline, allows_url, deciding, ignores_unsafe_inline
from .violations import Violation

_FAMILY = {"script-src-elem": "script-src", "style-src-elem": "style-src"}
"""Directives that are about elements alone, and the wider ones that are changed in their place."""
_WORDS = {
    "eval": "'unsafe-eval'",
    "wasm-eval": "'wasm-unsafe-eval'",
    "self": "'self'",
    "data": "data:",
    "data:": "data:",
    "blob": "blob:",
    "blob:": "blob:",
}
"""Words that reports have in place of a URL, and the source that allows each."""
_RUNS = ("script-src-elem", "script-src", "object-src", "frame-src", "worker-src", "child-src")
"""The directives whose sources may run code; ``default-src`` does where one of the first is left out."""
_FOR_EVERYBODY = frozenset({
    "ajax.googleapis.com", "cdn.jsdelivr.net", "cdn.statically.io", "cdnjs.cloudflare.com", "cdn.skypack.dev",
    "esm.run", "esm.sh", "fastly.jsdelivr.net", "gist.githubusercontent.com", "raw.githubusercontent.com",
    "rawcdn.githack.com", "storage.googleapis.com", "s3.amazonaws.com", "unpkg.com",
})  # fmt: skip
"""Hosts on which anybody may publish a file, or which have libraries that run text of the page as code."""
_LOCAL = ("localhost", "127.0.0.1", "::1")
_ADD_NONCE = 'add nonce="{{ csp_nonce() }}" to the element'


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A source that is needed.

    :ivar danger: why it is dangerous, and what to do instead; empty if it is not.
    :ivar count: how many reports asked for it.
    :ivar example: one that did.
    """

    directive: str
    source: str
    danger: str
    count: int
    example: Violation


@dataclass(frozen=True, slots=True)
class Suggestions:
    """The policy that reports ask for.

    :ivar policy: the policy that would have allowed all that can be allowed.
    :ivar beyond_help: reports that no source allows, with the reason.
    :ivar dangers: sources that the policy had before and that are dangerous: the directive, the source, the reason.
    """

    policy: Csp
    added: list[Suggestion] = field(default_factory=list)
    beyond_help: list[tuple[Violation, str]] = field(default_factory=list)
    dangers: list[tuple[str, str, str]] = field(default_factory=list)


class _BeyondHelp(Exception):
    """No source allows what was reported. Its message says why."""


def suggest(violations: Iterable[Violation], policy: Csp | None = None) -> Suggestions:
    """Return the smallest policy that would have allowed `violations`.

    :param policy: the policy to start from; by default the one that most of the reports name.
    :raises ConfigError: if no policy is given, and no report names one.
    """
    found = list(violations)
    start = policy if policy is not None else _reported_policy(found)
    beyond_help: list[tuple[Violation, str]] = []
    wanted: dict[tuple[str, str], list[Violation]] = {}
    for violation in found:
        try:
            needed = _needed(start, violation)
        except _BeyondHelp as reason:
            beyond_help.append((violation, str(reason)))
        else:
            if not _is_allowed(start, violation, needed[1]):
                wanted.setdefault(needed, []).append(violation)
    result = _with(start, sorted(wanted))
    added = [
        Suggestion(directive, source, _danger_of(result, directive, source), len(reports), reports[0])
        for (directive, source), reports in sorted(wanted.items())
    ]
    return Suggestions(result, added, beyond_help, list(_dangers(result, set(wanted))))


def _reported_policy(violations: list[Violation]) -> Csp:
    """Return the policy that most reports name, with its nonces as the word that stands for them."""
    texts = Counter(" ".join(map(_without_nonce, each.policy.split(" "))) for each in violations if each.policy)
    for text, _ in texts.most_common():
        try:
            return parse_whole_csp(text, "the policy of a report")
        except ConfigError:
            continue
    raise ConfigError("no report names the policy that it is about: give one with --policy")


def _without_nonce(source: str) -> str:
    end = ";" if source.endswith(";") else ""
    return f"{nonce}{end}" if source.startswith("'nonce-") else source


# What one report asks for ------------------------------------------------------------------------------------------


def _needed(policy: Csp, violation: Violation) -> tuple[str, str]:
    """Return the source that would have allowed `violation`, after the directive that it belongs to.

    :raises _BeyondHelp: if there is none.
    """
    blocked = violation.blocked_url
    if _is_of_extension(blocked) or _is_of_extension(violation.source_file):
        raise _BeyondHelp("a browser extension of the visitor did it")
    if violation.directive in ("require-trusted-types-for", "trusted-types"):
        raise _BeyondHelp("the script has to use a policy of Trusted Types")
    if blocked == "inline":
        return _needed_inline(policy, violation)
    directive = _directive_to_change(policy, violation.directive)
    if blocked in _WORDS:
        return directive, _WORDS[blocked]
    url, page = urlsplit(blocked), urlsplit(violation.document_url)
    if not url.netloc:
        raise _BeyondHelp("the report does not say what was blocked")
    if directive.startswith("script-src") and strict_dynamic in (policy.sources(directive, "default-src") or ()):
        raise _BeyondHelp(f"the policy has 'strict-dynamic', so hosts do not count: {_ADD_NONCE}")
    if (url.scheme, url.netloc) == (page.scheme, page.netloc):
        return directive, "'self'"
    return directive, f"{url.scheme}://{url.netloc}"


def _needed_inline(policy: Csp, violation: Violation) -> tuple[str, str]:
    if violation.sample.lower().startswith("javascript:"):
        raise _BeyondHelp("it is a javascript: URL: use a button, and addEventListener() in a script")
    if violation.directive.endswith("-attr"):
        return violation.directive, "'unsafe-inline'"  # in a wider directive it would do nothing beside a nonce
    directive = _directive_to_change(policy, violation.directive)
    decides = deciding(policy, violation.directive)
    if decides is not None and ignores_unsafe_inline(policy, decides):
        raise _BeyondHelp(f"the policy has a nonce or a hash, so inline code needs one: {_ADD_NONCE}")
    return directive, nonce if violation.directive.startswith("script") else "'unsafe-inline'"


def _is_of_extension(url: str) -> bool:
    return url.partition(":")[0].endswith("-extension")


def _directive_to_change(policy: Csp, directive: str) -> str:
    """Return the directive to which a source is added: one of its own in place of one that allows more besides."""
    family = _FAMILY.get(directive, directive)
    decides = deciding(policy, directive)
    return decides if decides in (directive, family) else family


def _is_allowed(policy: Csp, violation: Violation, source: str) -> bool:
    """Return whether the policy to start from allows it already, as where reports are about an older one."""
    if "://" in source or source == "'self'":
        return allows_url(policy, violation.directive, violation.blocked_url, violation.document_url)
    if source == "'unsafe-inline'":
        return allows_inline(policy, violation.directive, violation.sample)
    decides = deciding(policy, violation.directive)
    return decides is None or source in (policy.sources(decides) or ())


# The policy that comes out -----------------------------------------------------------------------------------------


def _with(policy: Csp, added: list[tuple[str, str]]) -> Csp:
    """Return `policy` with the sources added. A new directive keeps what the one that it stands for allows."""
    directives = {name: sources or () for name, sources in policy.directives}
    for directive, source in added:
        before = directives[directive] if directive in directives else _inherited(policy, directive)
        if directive.endswith("-attr") and source == "'unsafe-inline'":
            before = ()  # hashes would make it have no effect
        kept = tuple(each for each in before if each != "'none'")
        directives[directive] = tuple(dict.fromkeys((*kept, source)))
    return Csp(tuple(directives.items()), is_whole=True)


def _inherited(policy: Csp, directive: str) -> tuple[str, ...]:
    decides = deciding(policy, directive)
    sources = (policy.sources(decides) or ()) if decides is not None else ()
    if directive.startswith(("script", "style")):
        return sources
    return tuple(each for each in sources if each in ("'self'", "'none'") or not each.startswith("'"))


def _dangers(policy: Csp, added: set[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    for directive, sources in policy.directives:
        for source in sources or ():
            danger = _danger_of(policy, directive, source) if (directive, source) not in added else ""
            if danger:
                yield directive, source, danger


# Dangerous sources: those that take away the protection that a policy gives -------------------------------------------


def _danger_of(policy: Csp, directive: str, source: str) -> str:
    """Return why `source` is dangerous in a directive of `policy`, and what to do instead; empty if it is not."""
    if source == "'unsafe-inline'":
        return "" if ignores_unsafe_inline(policy, directive) else _danger_of_inline(directive)
    if source == "'unsafe-eval'":
        return "text can become code: find what calls eval() or new Function(), and replace it"
    if source in ("http:", "ws:") or (source.startswith(("http://", "ws://")) and _host(source) not in _LOCAL):
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


def _host(source: str) -> str:
    try:
        return urlsplit(source if "://" in source else f"//{source}").hostname or ""
    except ValueError:
        return ""
