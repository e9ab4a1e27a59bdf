"""``flask guard explain``: the way of a request through its policies, and the reason for its answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
from flask import Flask
from flask.cli import with_appcontext

from ..audit.explain import RunView, explain
from ..audit.matching import path_of
from ..audit.preflight import Call, explain_preflight
from ..audit.rehearsal import Asked
from ..audit.wording import short_site, shown_foreign
from ..core.facts import Foreign
from ..core.flask_versions import current_flask
from ..errors import ConfigError
from .common import json_option, print_json
from .inventory import misconfigured
from .tables import Chunk, print_folded, terminal_width

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"))
VERDICT_COLORS = {"allowed": "green", "denied": "red", "would deny": "yellow", "answered": "cyan", "failed": "red"}
LONGEST_VALUE = 100
"""The length to which the value of a field is cut without --full."""

Fields = tuple[tuple[str, str], ...]
Line = list[Chunk]


@click.command("explain")
@click.argument("target", nargs=-1, required=True, metavar="[METHOD] PATH|ENDPOINT")
@click.option("-H", "--header", "headers", multiple=True, metavar="'Name: value'", help="A request field. Repeatable.")
@click.option("-d", "--data", default=None, metavar="BODY", help="The body. The method is then POST by default.")
@click.option("--address", default="127.0.0.1", metavar="IP", help="The address of the client.")
@click.option("--dry-run", is_flag=True, help="Leave the view out, with its decorators.")
@click.option("--run-view", is_flag=True, help="Run the view of a method that changes state.")
@click.option("--preflight", nargs=2, default=None, metavar="ORIGIN METHOD", help="Play a browser's preflight.")
@click.option("--full", is_flag=True, help="Do not cut the values of response fields.")
@json_option
@with_appcontext
def explain_command(
    target: tuple[str, ...],
    headers: tuple[str, ...],
    data: str | None,
    address: str,
    dry_run: bool,
    run_view: bool,
    preflight: tuple[str, str] | None,
    full: bool,
    as_json: bool,
) -> None:
    """Explain why a request gets its answer.

    Each policy is listed in order, with its verdict, its cost and its header fields. The request runs in this process.
    Nothing that flask_guard keeps changes: limits are read and not charged. Views of GET, HEAD and OPTIONS run. Views
    of other methods run with --run-view only. Hooks of the app always run.

    \b
    flask guard explain /orders
    flask guard explain POST api.create_order -H 'X-API-Key: …' -d '{"item": "tea"}'
    flask guard explain /orders --preflight https://app.example.com PUT Content-Type,X-Tenant

    With --preflight, write the names of the header fields that the page sets after the path.

    \b
    Exit codes:
      0  done
      2  the command line is invalid
      6  the app is misconfigured, and serves nothing
    """
    if dry_run and run_view:
        raise click.UsageError("choose --dry-run or --run-view")
    app = current_flask()
    mode: RunView = "never" if dry_run else "always" if run_view else "if safe"
    try:
        fields = tuple(map(_field, headers))
        if preflight is not None:
            document = _preflight(app, target, fields, preflight, mode)
        else:
            document = explain(app, _asked(app, target, fields, data, address), run_view=mode)
    except ConfigError as error:
        raise misconfigured(error) from None
    except (LookupError, ValueError) as error:
        raise click.UsageError(str(error.args[0])) from None
    if as_json:
        print_json(document)
        return
    width = terminal_width()
    for line in lines_of(document, full=full):
        print_folded(line, width)


def _preflight(
    app: Flask, target: tuple[str, ...], fields: Fields, preflight: tuple[str, str], mode: RunView
) -> dict[str, Any]:
    origin, method = preflight
    call = Call.of(origin, method, target[1:])
    path, _ = path_of(app, target[0], None if target[0] in app.view_functions else method)
    return explain_preflight(app, call, path, run_view=mode, headers=fields)


def _asked(app: Flask, target: tuple[str, ...], fields: Fields, data: str | None, address: str) -> Asked:
    if len(target) > 2:
        raise ValueError("there are too many words: put quotes around each header and the body")
    asked = target[0].upper() if len(target) == 2 else "POST" if data is not None else None
    path, method = path_of(app, target[-1], asked)
    body = (data or "").encode()
    if data is not None and not any(name.lower() == "content-type" for name, _ in fields):
        fields = (*fields, ("Content-Type", _content_type(data)))
    return Asked(method, path, fields, body, address)


def _field(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip() or not name.isascii() or not value.strip() or not value.strip().isprintable():
        raise ValueError("invalid header: write -H 'Name: value', with the quotes")
    return name.strip(), value.strip()


def _content_type(data: str) -> str:
    try:
        json.loads(data)
    except ValueError:
        return "application/x-www-form-urlencoded"
    return "application/json"


# As text -------------------------------------------------------------------------------------------------------------


def text_of(app: Flask, asked: Asked) -> str:
    """Return the explanation of a request as plain text, without running the view."""
    try:
        document = explain(app, asked, run_view="never")
    except ConfigError as error:
        return f"{app.name!r} serves nothing: {error}"
    return "\n".join("".join(chunk.text for chunk in line).rstrip() for line in lines_of(document))


def lines_of(document: dict[str, Any], *, full: bool = False) -> Iterator[Line]:
    """Yield an explanation as lines for people.

    :param full: whether long values of response fields are shown whole.
    """
    request = document["request"]
    yield [Chunk(f"{request['method']} {request['path']}", bold=True), *_sent(request)]
    yield from _routing_lines(document)
    if "answer" not in document:
        return
    yield []
    yield from _policy_lines(document, full)
    yield from _left_out_lines(document)
    yield from _other_lines(document)
    yield from _view_lines(document)
    yield []
    yield from _answer_lines(document)
    if "preflight" in document:
        yield []
        yield from _preflight_lines(document["preflight"])


def _sent(request: dict[str, Any]) -> Line:
    fields = ", ".join(f"{name}: {value}" for name, value in request["headers"])
    return [Chunk(f"  with {fields}")] if fields else []


def _routing_lines(document: dict[str, Any]) -> Iterator[Line]:
    routing = document["routing"]
    site = f" Its view is at {short_site(routing['site'])}." if routing["site"] and _has_view(routing) else ""
    yield [Chunk(f"  {routing['text']}{site}")]
    if not document["guard"]:
        yield [Chunk("  The app has no Guard: no policy runs.", "yellow")]
    elif not document["enabled"]:
        yield [Chunk("  GUARD_ENABLED is False: no policy runs.", "yellow")]
    if routing["mount"]:
        yield [Chunk(f"  {routing['mount']['app']} answers there: explain the request with that app.")]


def _policy_lines(document: dict[str, Any], full: bool) -> Iterator[Line]:
    if document["policies"]:
        yield [
            Chunk("Policies in the order in which they act", bold=True),
            Chunk(" (µs before the view + on the response)"),
        ]
    for number, policy in enumerate(document["policies"], 1):
        yield [Chunk(f"{number:>3} {policy['text']}  "), _verdict(policy), *_costs(policy)]
        merged = "; merged with outer ones, nearer headers win" if policy["merged"] else ""
        yield [Chunk(f"      {policy['scope']}, {short_site(policy['site'])}{merged}")]
        if policy["with_previous"]:
            yield [Chunk("      in one step with the previous policy")]
        changed = {name for name, _ in policy["removed"]} & {name for name, _ in policy["added"]}
        for name, value in policy["added"]:
            sign = "~" if name in changed else "+"
            yield [Chunk(f"      {sign} {name}: {value if full else _cut(value)}", "cyan")]
        for name, _ in policy["removed"]:
            if name not in changed:
                yield [Chunk(f"      - {name}", "cyan")]


def _verdict(policy: dict[str, Any]) -> Chunk:
    verdict = policy["verdict"]
    status = f" {policy['status']}" if policy["status"] and verdict != "would deny" else ""
    reason = f" ({policy['reason']})" if policy["reason"] else ""
    mode = " [report]" if policy["mode"] == "report" and verdict != "would deny" else ""
    return Chunk(f"{verdict}{status}{reason}{mode}", VERDICT_COLORS.get(verdict), verdict == "denied")


def _costs(policy: dict[str, Any]) -> Line:
    costs = [f"{policy[name]:g}" for name in ("enter_us", "leave_us") if policy[name] is not None]
    return [Chunk(f"  {' + '.join(costs)} µs")] if costs else []


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"


WHY = {
    "replaced": "replaced by {by}, which is nearer",
    "merged": "merged into {by}, which is nearer",
    "exempt": "removed by {by}",
    "repeated": "repeated by the nearer {by}",
    "not concerned": "does not apply to such requests",
    "switched off": "switched off",
}


def _left_out_lines(document: dict[str, Any]) -> Iterator[Line]:
    if document["left_out"]:
        yield []
        yield [Chunk("Outer policies that are not in force", bold=True)]
    for each in document["left_out"]:
        yield [Chunk(f"  - {each['text']}  {each['scope']}, {short_site(each['site'])}")]
        at = f" ({short_site(each['by_site'])})" if each["by_site"] else ""
        yield [Chunk(f"      {WHY[each['why']].format(by=each['by'])}{at}")]


def _other_lines(document: dict[str, Any]) -> Iterator[Line]:
    ran = {each["name"]: each for each in document["hooks"]}
    if document["others"]:
        yield []
        yield [Chunk("By others", bold=True)]
    for each in document["others"]:
        passed = ran.get(each["by"])
        verdict = f"; {_passed(passed)}" if passed else ""
        site = f", {short_site(each['site'])}" if each["site"] else ""
        what = each["detail"] if each["purpose"] == "unknown" and each["site"] else each["purpose"]
        yield [Chunk(f"  + {shown_foreign(Foreign(**each))}  {each['scope']}{site}: {what}"), Chunk(verdict, "cyan")]


def _passed(hook: dict[str, Any]) -> str:
    if hook["error"]:
        return f"raised {hook['error']}"
    return f"answered {hook['status']}" if hook["status"] else f"let the request through in {hook['us']:g} µs"


def _has_view(routing: dict[str, Any]) -> bool:
    """Return whether a view serves the request. The endpoint of an automatic answer may have views of other methods."""
    return routing["endpoint"] is not None and routing["outcome"] != "automatic"


def _view_lines(document: dict[str, Any]) -> Iterator[Line]:
    view, routing = document["view"], document["routing"]
    if not _has_view(routing):
        return
    yield []
    text = {
        "ran": f"ran, {view['us'] or 0:g} µs" + (f", and ended with {view['status']}" if view["status"] else ""),
        "left out": "did not run, so its own answer is unknown: run it with --run-view",
        "not reached": "did not run",
    }[view["outcome"]]
    yield [Chunk("The view ", bold=True), Chunk(f"{routing['endpoint']} {text}")]


def _answer_lines(document: dict[str, Any]) -> Iterator[Line]:
    answer, decision = document["answer"], document["decision"]
    is_open = document["view"]["outcome"] == "left out"
    color = "green" if answer["status"] < 400 else "red"
    shown = "is not known, as the view did not run" if is_open else f"{answer['status']} {answer['reason']}"
    yield [Chunk("The answer ", bold=True), Chunk(shown, color, bold=True)]
    yield [Chunk(f"  {decision['why']}")]
    at = short_site(decision["site"])
    if at and at not in decision["why"]:
        yield [Chunk(f"  at {at}")]
    for each in decision["fix"]:
        yield [Chunk(f"  → {each}", "yellow")]
    for each in document["would_deny"]:
        yield [
            Chunk(
                f"  {each['policy']} is in report mode: it would have denied the request ({each['reason']})", "yellow"
            )
        ]


def _preflight_lines(preflight: dict[str, Any]) -> Iterator[Line]:
    fields = f" with {', '.join(preflight['headers'])}" if preflight["headers"] else ""
    call = f"a page of {preflight['origin']} send {preflight['method']}{fields}"
    if not preflight["is_sent"]:
        yield [Chunk("Browsers send no preflight for this call. They send the request and check its answer.")]
    if preflight["allowed"]:
        cookies = "also" if preflight["with_credentials"] else "but not"
        yield [Chunk(f"A browser lets {call}, {cookies} with cookies.", "green", bold=True)]
    else:
        yield [Chunk(f"A browser does not let {call}:", "red", bold=True)]
    yield from ([Chunk(f"  {each}")] for each in preflight["problems"])
    yield from ([Chunk(f"  → {each}", "yellow")] for each in preflight["fix"])
    request = preflight["request"]
    if preflight["allowed"] and request["status"] >= 400:
        yield [Chunk(f"  The request itself is answered with {request['status']}, and the page can read the answer.")]
