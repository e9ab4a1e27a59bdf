"""Reports of browsers about what a content security policy has blocked, in either of their forms.

A :class:`Violation` is cleaned: it has no query strings, which may hold secrets, and no control characters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..support.text import printable

LONGEST_URL = 500
LONGEST_SAMPLE = 100
LONGEST_POLICY = 8000
_NAMES = {
    "document_url": ("documentURL", "document-uri"),
    "directive": ("effectiveDirective", "effective-directive"),
    "blocked_url": ("blockedURL", "blocked-uri"),
    "source_file": ("sourceFile", "source-file"),
    "line": ("lineNumber", "line-number"),
    "column": ("columnNumber", "column-number"),
    "disposition": ("disposition", "disposition"),
    "sample": ("sample", "script-sample"),
    "policy": ("originalPolicy", "original-policy"),
}
"""The names of facts in a log record, in a report of the Reporting API, and in one of ``report-uri``."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that a content security policy has blocked, or would have.

    :ivar document_url: the page, without its query.
    :ivar directive: the directive that blocked it, such as ``script-src-elem``.
    :ivar blocked_url: the URL that was blocked, without its query; or ``inline``, ``eval``, ``data`` and so on.
    :ivar source_file: the file that asked for it, with `line` and `column`.
    :ivar disposition: ``enforce`` or ``report``.
    :ivar sample: the first characters of an inline script, where the policy has ``'report-sample'``.
    :ivar policy: the policy as the browser got it.
    """

    document_url: str
    directive: str
    blocked_url: str
    source_file: str = ""
    line: int | None = None
    column: int | None = None
    disposition: str = "enforce"
    sample: str = ""
    policy: str = ""


def violations_in(document: Any) -> Iterator[Violation]:
    """Yield the violations in a parsed JSON document: reports of the Reporting API, of ``report-uri``, or log records.

    Anything else is left out.
    """
    for each in document if isinstance(document, list) else [document]:
        found = _violation(each) if isinstance(each, Mapping) else None
        if found is not None:
            yield found


def violations_in_text(text: str) -> Iterator[Violation]:
    """Yield the violations in a file: one JSON document, or one a line."""
    try:
        yield from violations_in(json.loads(text))
    except ValueError:
        for line in text.splitlines():
            try:
                yield from violations_in(json.loads(line))
            except ValueError:
                continue


def _violation(report: Mapping[str, Any]) -> Violation | None:
    if report.get("type") == "csp-violation":
        return _read(report.get("body"), {own: new for own, (new, _) in _NAMES.items()})
    if "csp-report" in report:
        return _read(report["csp-report"], {own: old for own, (_, old) in _NAMES.items()})
    if "directive" in report:
        return _read(report, {own: own for own in _NAMES})
    return None


def _read(body: Any, names: Mapping[str, str]) -> Violation | None:
    if not isinstance(body, Mapping):
        return None
    text = {own: body[name] if isinstance(body.get(name), str) else "" for own, name in names.items()}
    directive = text["directive"] or _text(body, "violated-directive")
    if not directive.strip() or not text["document_url"]:
        return None
    return Violation(
        document_url=clean_url(text["document_url"]),
        directive=printable(directive.split()[0], 50),
        blocked_url=clean_url(text["blocked_url"]),
        source_file=clean_url(text["source_file"]),
        line=_number(body.get(names["line"])),
        column=_number(body.get(names["column"])),
        disposition="report" if text["disposition"] == "report" else "enforce",
        sample=printable(text["sample"], LONGEST_SAMPLE),
        policy=printable(text["policy"], LONGEST_POLICY),
    )


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def clean_url(url: str) -> str:
    """Return `url` without its query, fragment and credentials, fit for one line of a log."""
    try:
        parts = urlsplit(url[: 4 * LONGEST_URL])
        host = parts.netloc.rpartition("@")[2]
        cleaned = urlunsplit((parts.scheme, host, parts.path, "", "")) if host else f"{parts.scheme}:"
    except ValueError:
        return "(invalid)"
    return printable(cleaned if parts.scheme else url.partition("?")[0].partition("#")[0], LONGEST_URL)
