"""``flask guard csp …``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup

from ..core.start import start_serving
from ..errors import ConfigError
from ..security_headers.csp import Csp, nonce, parse_whole_csp
from ..security_headers.csp_scan import Finding, scan
from ..security_headers.csp_suggest import Suggestion, Suggestions, suggest
from ..security_headers.violations import violations_in_text
from ..support.text import printable
from .common import Failure, app_state, json_option, print_json, reading

FOUND = 1
NO_REPORTS = 3

csp_group: AppGroup = AppGroup(
    "csp",
    help="""Find resources that a content security policy blocks.

    \b
    Exit codes:
      0  nothing would be blocked (scan), or a policy is printed (suggest)
      1  at least one resource would be blocked (scan)
      2  the command line is invalid
      3  the file has no reports (suggest)
    """,
)


def _policy(text: str) -> Csp:
    return parse_whole_csp(text, "--policy")


@csp_group.command("suggest", short_help="Print the smallest policy that allows the reported resources.")
@click.argument("file", type=click.File(encoding="utf-8", errors="replace"))
@click.option(
    "--policy", type=reading(_policy), help="The policy to start from. By default, the policy in the reports."
)
@json_option
def suggest_command(file: Any, policy: Csp | None, as_json: bool) -> None:
    """Print the smallest policy that allows the resources that browsers have reported as blocked.

    FILE contains reports as browsers send them, or log records in JSON of the logger flask_guard.csp. Write one
    document, or one on each line. Sources that weaken the policy are marked: change the page rather than allow them.
    """
    violations = list(violations_in_text(file.read()))
    if not violations:
        raise Failure(
            NO_REPORTS,
            f"{file.name} contains no report of a content security policy: give a file of reports or JSON log records",
        )
    try:
        found = suggest(violations, policy)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json(_suggestions_as_json(found))
        return
    click.echo(str(found.policy))
    for each in found.added:
        click.echo(f"  {_line_about(each)}", err=True)
        if each.source == nonce:
            click.echo('    add nonce="{{ csp_nonce() }}" to each inline script', err=True)
        if each.danger:
            click.echo(f"    DANGEROUS: {each.danger}", err=True)
    for directive, source, danger in found.dangers:
        click.echo(f"  {directive} {source}: was allowed before", err=True)
        click.echo(f"    DANGEROUS: {danger}", err=True)
    for violation, reason in found.beyond_help:
        click.echo(f"  {violation.directive} on {violation.document_url} cannot be allowed: {reason}", err=True)


def _line_about(each: Suggestion) -> str:
    place = f", for example by {each.example.document_url}"
    if each.example.source_file and each.example.line is not None:
        place += f" ({each.example.source_file}:{each.example.line})"
    times = "once" if each.count == 1 else f"{each.count} times"
    return f"{each.directive} {each.source}: reported {times}{place}"


def _suggestions_as_json(found: Suggestions) -> dict[str, Any]:
    return {
        "policy": str(found.policy),
        "added": [dataclasses.asdict(each) for each in found.added],
        "dangers": [
            {"directive": directive, "source": source, "danger": danger} for directive, source, danger in found.dangers
        ],
        "beyond_help": [{**dataclasses.asdict(each), "reason": reason} for each, reason in found.beyond_help],
    }


@csp_group.command("scan", short_help="Print the resources in templates that would be blocked.")
@json_option
def scan_command(as_json: bool) -> None:
    """Print the lines in the templates of this app that the policies in force would block.

    A template is checked against the policies of the endpoints whose views name the template, or else against the
    policy of the app. The scan finds scripts, event handlers and styles in the page, and resources of other hosts. Code
    that scripts load or evaluate later is not found: use mode="report" for it.
    """
    state = app_state()
    start_serving(state)
    if state.error is not None:
        raise Failure(2, str(state.error))
    try:
        findings = scan(state)
    except ConfigError as error:
        raise Failure(2, str(error)) from None
    if as_json:
        print_json([_finding_as_json(each) for each in findings])
    else:
        for each in findings:
            _print_finding(each)
        count = len(findings)
        click.echo(
            f"{count or 'nothing'} {'thing ' if count == 1 else 'things ' if count else ''}would be blocked", err=True
        )
    if findings:
        raise SystemExit(FOUND)


def _print_finding(each: Finding) -> None:
    where = printable(_relative(each.file), 500)
    at = f" ({', '.join(each.endpoints)})" if each.endpoints else " (no view is seen to render it)"
    verb = "would be blocked" if each.use.is_known else "may be blocked"
    click.echo(f"{where}:{each.use.line}: {each.use.kind} {each.use.shown!r} {verb} by {each.decides}{at}")
    click.echo(f"    {each.fix}")


def _relative(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else file


def _finding_as_json(each: Finding) -> dict[str, Any]:
    use = {"line": each.use.line, "kind": each.use.kind, "shown": each.use.shown, "directive": each.use.directive}
    return {"template": each.template, "file": each.file, **use, "certain": each.use.is_known,
            "decides": each.decides, "endpoints": each.endpoints, "fix": each.fix}  # fmt: skip
