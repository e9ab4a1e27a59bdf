"""The smallest change to a content security policy that would have allowed what browsers have reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..errors import ConfigError
from .csp import FETCH_DIRECTIVES, Csp, nonce, parse_whole_csp
from .csp_match import allows_url, deciding
from .violations import Violation

_NARROWER = {"script-src-elem": "script-src", "script-src-attr": "script-src",
             "style-src-elem": "style-src", "style-src-attr": "style-src"}  # fmt: skip
DANGERS = {
    "'unsafe-inline'": "any script or style that gets into the page runs, which is what the policy is there to stop",
    "'unsafe-eval'": "text can become code: find what calls eval() or new Function(), and replace it",
    "data:": "scripts and frames may be made up within the page",
    "blob:": "scripts and frames may be made up within the page",
    "http:": "whoever is on the way may change what is loaded",
}
"""Why a source is dangerous."""


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
    """What reports ask for.

    :ivar policy: the policy that would have allowed all that can be allowed.
    :ivar beyond_help: reports that no source allows, with the reason.
    """

    policy: Csp
    added: list[Suggestion] = field(default_factory=list)
    beyond_help: list[tuple[Violation, str]] = field(default_factory=list)


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
        directive = _directive_to_change(start, violation.directive)
        source, reason = _source_for(violation, directive)
        if source is None:
            beyond_help.append((violation, reason))
        elif not _is_allowed(start, violation, source):
            wanted.setdefault((directive, source), []).append(violation)
    added = [
        Suggestion(directive, source, _danger(directive, source, reports[0]), len(reports), reports[0])
        for (directive, source), reports in sorted(wanted.items())
    ]
    return Suggestions(_with(start, added), added, beyond_help)


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


def _directive_to_change(policy: Csp, directive: str) -> str:
    """Return the directive to which a source is added: one that the policy has, or its own in place of default-src."""
    decides = deciding(policy, directive)
    if decides is None or decides == "default-src":
        return _NARROWER.get(directive, directive)
    return decides


def _source_for(violation: Violation, directive: str) -> tuple[str | None, str]:
    """Return the source that would have allowed it; or None, and why there is none."""
    blocked, page = violation.blocked_url, urlsplit(violation.document_url)
    if directive in ("frame-ancestors", "base-uri", "form-action") and not blocked:
        return None, "the report does not say what was blocked"
    if blocked == "inline":
        is_attribute = violation.directive.endswith("-attr") or directive.endswith("-attr")
        is_script = violation.directive.startswith("script")
        return ("'unsafe-inline'" if is_attribute or not is_script else nonce), ""
    words = {"eval": "'unsafe-eval'", "wasm-eval": "'wasm-unsafe-eval'", "self": "'self'", "data": "data:",
             "blob": "blob:", "data:": "data:", "blob:": "blob:"}  # fmt: skip
    if blocked in words:
        return words[blocked], ""
    url = urlsplit(blocked)
    if not url.netloc:
        return None, "the report does not say what was blocked"
    if (url.scheme, url.netloc) == (page.scheme, page.netloc):
        return "'self'", ""
    return f"{url.scheme}://{url.netloc}", ""


def _is_allowed(policy: Csp, violation: Violation, source: str) -> bool:
    """Return whether the policy to start from allows it already, as where reports are about an older one."""
    if "://" in source or source == "'self'":
        return allows_url(policy, violation.directive, violation.blocked_url, violation.document_url)
    decides = deciding(policy, violation.directive)
    return decides is None or source in (policy.sources(decides) or ())


def _danger(directive: str, source: str, example: Violation) -> str:
    if source == "'unsafe-inline'" and example.directive.startswith("script"):
        return f"{DANGERS[source]}: replace the attribute by addEventListener() in a script"
    if source in ("'unsafe-inline'", "data:", "blob:") and not directive.startswith(("script", "default", "frame")):
        return ""
    if source.startswith(("http://", "ws://")) and urlsplit(source).hostname not in ("localhost", "127.0.0.1", "::1"):
        return DANGERS["http:"]
    return DANGERS.get(source, "")


def _with(policy: Csp, added: list[Suggestion]) -> Csp:
    """Return `policy` with the sources added. A new directive keeps what default-src allows."""
    directives = {name: sources or () for name, sources in policy.directives}
    for each in added:
        inherited = directives.get("default-src", ()) if each.directive in FETCH_DIRECTIVES else ()
        before = directives.get(each.directive, inherited)
        kept = tuple(source for source in before if source != "'none'")
        directives[each.directive] = tuple(dict.fromkeys((*kept, each.source)))
    return Csp(tuple(directives.items()), is_whole=True)
