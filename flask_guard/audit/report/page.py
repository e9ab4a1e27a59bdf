"""The HTML page of a report. The page loads nothing, and its Content-Security-Policy blocks everything else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from ...core.facts import SEVERITIES, Inventory
from ...support.text import counted
from ..findings import Audit
from .matrix import UNKNOWN, Matrix, matrix_of

IN_FORCE, REPORTS, OTHER, MAYBE = "●", "◐", "◆", "?"
"""The marks of a cell: a policy in force, one in report mode, another package, a hook or decorator that may refuse."""

AT_ONCE = 100
"""The routes that are shown at first. Browsers take seconds to lay out thousands of rows."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, and the Content-Security-Policy that it is sent with."""

    html: str
    policy: str


def page_of(inventory: Inventory, audit: Audit, *, live: str | None = None) -> Page:
    """Return the page of a report.

    :param live: the URL from which the page of the inspector gets the requests that the app serves.
    """
    matrix = matrix_of(inventory, audit)
    columns = len(matrix.columns) + 1
    style, script = f"{_asset('page.css')}#routes {{ --columns: {columns}; }}\n", _asset("page.js")
    connect = " connect-src 'self';" if live is not None else ""
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)};{connect}"
        " base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    title = f"{'Inspector' if live is not None else 'Protection'} of {escape(matrix.app)}"
    body = "".join((*_summary(matrix), *_live(live), *_findings(matrix), *_routes(matrix)))
    data = json.dumps(matrix.data() | {"live": live}, separators=(",", ":"), ensure_ascii=False)
    html = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#routes">Skip to the routes</a>
<header>
<h1>{title}</h1>
{body}</main>
<script type="application/json" id="data">{data.replace("<", chr(92) + "u003c")}</script>
<script>{script}</script>
</body>
</html>
"""
    return Page(html, policy)


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _digest(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"


def _summary(matrix: Matrix) -> Iterator[str]:
    unguarded = sum(route["unguarded_write"] for route in matrix.routes)
    counts = {severity: sum(each["severity"] == severity for each in matrix.findings) for severity in SEVERITIES}
    yield '<ul class="counts">'
    yield _count("", len(matrix.routes), "route")
    yield _count("error" if unguarded else "good", unguarded, "unguarded write")
    for severity, number in counts.items():
        yield _count(severity if number else "good", number, severity)
    yield "</ul>\n</header>\n<main>\n"


def _count(kind: str, number: int, noun: str) -> str:
    return f'<li class="{kind}"><b>{number}</b> {counted(number, noun).partition(" ")[2]}</li>'


def _live(live: str | None) -> Iterator[str]:
    if live is not None:
        yield '<section id="requests" aria-labelledby="requests-title"><h2 id="requests-title">Requests</h2>'
        yield '<p><button type="button" id="pause" aria-pressed="false">Pause</button> <span id="state"></span></p>'
        yield '<ol id="log"></ol></section>\n'


# Findings ------------------------------------------------------------------------------------------------------------


def _findings(matrix: Matrix) -> Iterator[str]:
    yield '<section aria-labelledby="findings-title"><h2 id="findings-title">Findings</h2>\n'
    if not matrix.findings:
        yield "<p>Nothing was found.</p>"
    for severity in SEVERITIES:
        found = [each for each in matrix.findings if each["severity"] == severity]
        if found:
            yield f'<h3 class="{severity}">{severity.capitalize()} <span class="number">{len(found)}</span></h3>\n<ul>'
            for rule in dict.fromkeys(each["rule"] for each in found):
                yield _rule([each for each in found if each["rule"] == rule])
            yield "</ul>\n"
    if matrix.accepted:
        yield f"<p>{counted(matrix.accepted, 'finding')} accepted in the code.</p>\n"
    yield "</section>\n"


def _rule(findings: Sequence[Mapping[str, Any]]) -> str:
    """Return the findings of one rule, folded."""
    rule = findings[0]
    name, several = escape(rule["rule"]), f' <span class="number">({len(findings)})</span>' if len(findings) > 1 else ""
    has_routes = any(each["routes"] for each in findings)
    show = f'<p><button type="button" data-filter="{name}">Show its routes</button></p>' if has_routes else ""
    references = f"<p>{escape(', '.join(rule['references']))}</p>" if rule["references"] else ""
    listed = "".join(
        f"<li>{escape(each['message'])}{f' <code>{site}</code>' if (site := escape(each['site'])) else ''}</li>"
        for each in findings
    )
    return (
        f'<li class="finding {rule["severity"]}"><details><summary><b>{name}</b> {escape(rule["title"])}{several}'
        f"</summary><p>{escape(rule['why'])}</p><p><b>Fix:</b> {escape(rule['fix'])}</p>{references}{show}"
        f"<ul>{listed}</ul></details></li>\n"
    )


# Routes --------------------------------------------------------------------------------------------------------------


def _routes(matrix: Matrix) -> Iterator[str]:
    yield f"""<section aria-labelledby="routes-title"><h2 id="routes-title">Routes</h2>
<div class="tools">
<label for="filter">Filter</label>
<input id="filter" type="search" autocomplete="off" spellcheck="false" aria-describedby="filter-help">
<span id="shown" role="status">{len(matrix.routes)} routes</span>
<p id="filter-help">Words that a route must have: a method, a part of its path or endpoint, a policy, a rule such as
FG001, <code>unguarded</code>. A minus in front excludes: <code>-require_api_key</code>. Press <kbd>/</kbd> to type.</p>
</div>
<p class="legend"><span>{IN_FORCE} in force</span> <span>{REPORTS} only reports</span>
<span>{OTHER} another package</span> <span>{MAYBE} a hook or decorator that may refuse</span>
<span><b class="open">!</b> changes state for anyone</span></p>
<div class="scroll" tabindex="0" role="region" aria-label="Matrix of routes and policies">
<table id="routes">
<thead><tr><th scope="col" class="route">Route</th>
"""
    for name in (*matrix.columns, "findings"):
        yield f'<th scope="col" class="column"><span>{escape(name)}</span></th>'
    yield "</tr></thead>\n<tbody>\n"
    for number, route in enumerate(matrix.routes):
        yield _row(matrix, number, route)
    yield "</tbody>\n</table>\n</div>\n"
    yield f'<p><button type="button" id="all" data-at-once="{AT_ONCE}" hidden>Show all</button></p>\n</section>\n'


def _row(matrix: Matrix, number: int, route: Mapping[str, Any]) -> str:
    host = f"//{route['host']}" if route["host"] else ""
    below = f" <small>below {escape(route['below'][-1])}</small>" if route["below"] else ""
    is_open = ' <b class="open" title="changes state for anyone">!<span class="sr"> unguarded write</span></b>'
    mark = is_open if route["unguarded_write"] else ""
    cells, more = "".join(_cells(matrix, route)), ' class="more"' if number >= AT_ONCE else ""
    return (
        f'<tr{more}><th scope="row"><button type="button" aria-expanded="false" data-route="{number}">'
        f"<b>{escape(route['method'])}</b> {escape(host + route['path'])}</button>{below}{mark}"
        f"<small>{escape(route['endpoint'])}</small></th>{cells}{_findings_cell(matrix, route)}</tr>\n"
    )


def _cells(matrix: Matrix, route: Mapping[str, Any]) -> Iterator[str]:
    found: dict[str, list[tuple[str, str]]] = {}
    for number in route["policies"]:
        policy = matrix.policies[number]
        mark = REPORTS if policy["mode"] == "report" else IN_FORCE
        found.setdefault(policy["name"], []).append((mark, policy["text"]))
    for number in route["foreign"]:
        fact = matrix.foreign[number]
        mark = MAYBE if fact["column"] == UNKNOWN else OTHER
        found.setdefault(fact["column"], []).append((mark, fact["text"]))
    for name in matrix.columns:
        here = found.get(name)
        if here is None:
            yield "<td></td>"
            continue
        text = escape("; ".join(each for _, each in here))
        marks = [mark for mark, _ in here]
        shown = REPORTS if set(marks) == {REPORTS} else next(mark for mark in marks if mark != REPORTS)
        yield f'<td title="{text}"><span aria-hidden="true">{shown}</span><span class="sr">{text}</span></td>'


def _findings_cell(matrix: Matrix, route: Mapping[str, Any]) -> str:
    if not route["findings"]:
        return "<td></td>"
    worst = min((matrix.findings[number] for number in route["findings"]), key=lambda finding: finding["rank"])
    rules = escape(", ".join(dict.fromkeys(matrix.findings[number]["rule"] for number in route["findings"])))
    badge = f'<span class="badge {worst["severity"]}" aria-hidden="true">{len(route["findings"])}</span>'
    return f'<td title="{rules}">{badge}<span class="sr">{rules}</span></td>'
