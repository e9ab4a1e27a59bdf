"""``flask guard audit`` and ``flask guard report``."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import textwrap
from collections import Counter
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext

from ..audit.documents import describe, describe_report, github, line_of, sarif, without_known
from ..audit.findings import Audit, all_rules, examine
from ..core.facts import SEVERITIES, AuditRule, Inventory, Severity
from ..errors import ConfigError
from ..support.text import counted
from .common import json_option, print_json, write_file
from .inventory import inventory_of_app

FOUND = 1
SHOWN = 20
"""The findings of one rule that are shown as text, at most."""
_COLOURS = {"error": "red", "warning": "yellow", "info": "blue"}


@click.command("audit")
@click.option(
    "--fail-level",
    type=click.Choice(SEVERITIES),
    default="error",
    help="The severity from which the command fails (error).",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "html", "github"]),
    default="text",
    help="The format of the output.",
)
@click.option(
    "--baseline",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="An earlier audit in JSON, whose findings are left out.",
)
@click.option("--explain", "rule_id", metavar="RULE", help="Explain a rule, such as FG001.")
@json_option
@click.pass_context
@with_appcontext
def audit_command(
    context: click.Context, fail_level: Severity, form: str, baseline: Path | None, rule_id: str | None, as_json: bool
) -> None:
    """Find faults in the protection of this app.

    The audit works on every Flask app, with or without a Guard. Accept a finding in the code, with a reason:
    @allow("FG001", because="…").

    \b
    Exit codes:
      0  no finding of --fail-level or above
      1  at least one such finding
      2  the command line is invalid
      6  the app is misconfigured, and serves nothing
    """
    if rule_id is not None:
        _explain(rule_id, as_json)
        return
    inventory = inventory_of_app()
    audit = examine(inventory)
    if baseline is not None:
        audit = _without(audit, baseline)
    _print(inventory, audit, "json" if as_json else form)
    if any(each.rule.is_at_least(fail_level) for each in audit.findings):
        context.exit(FOUND)


def _without(audit: Audit, baseline: Path) -> Audit:
    try:
        return without_known(audit, json.loads(baseline.read_text(encoding="utf-8")))
    except (ValueError, ConfigError) as error:
        raise click.BadParameter(f"{baseline}: {error}") from None


def _print(inventory: Inventory, audit: Audit, form: str) -> None:
    if form == "json":
        print_json(describe(inventory, audit))
    elif form == "sarif":
        print_json(sarif(audit, version("flask-guard-kit")))
    elif form == "github":
        for line in github(audit):
            click.echo(line)
    elif form == "html":
        from ..audit.report.page import page_of

        click.echo(page_of(inventory, audit).html, nl=False)
    else:
        _print_text(inventory, audit)


# Text -----------------------------------------------------------------------------------------------------------------


def _print_text(inventory: Inventory, audit: Audit) -> None:
    for rule, found in groupby(audit.findings, lambda finding: finding.rule):
        findings = list(found)
        click.echo(f"{rule.id} {click.style(rule.severity, fg=_COLOURS[rule.severity])}: {rule.title}")
        for each in findings[:SHOWN]:
            click.echo(f"  {line_of(each)}")
        if len(findings) > SHOWN:
            click.echo(f"  … and {len(findings) - SHOWN} more, which --format json lists")
        click.echo(_wrapped(f"Fix: {rule.fix}", "  "))
        click.echo()
    click.echo(_summary(inventory, audit))


def _summary(inventory: Inventory, audit: Audit) -> str:
    counts = Counter(each.rule.severity for each in audit.findings)
    found = ", ".join(counted(counts[severity], severity) for severity in SEVERITIES if counts[severity])
    accepted = f" {len(audit.silenced)} accepted in the code." if audit.silenced else ""
    more = " For the reason behind a rule: flask guard audit --explain RULE." if audit.findings else ""
    return f"{found or 'No findings'} on {len(inventory.entries)} endpoints of {current_app.name!r}.{accepted}{more}"


def _explain(rule_id: str, as_json: bool) -> None:
    rule = next((each for each in all_rules() if each.id == rule_id.upper()), None)
    if rule is None:
        raise click.BadParameter(
            f"unknown rule {rule_id!r}; the rules are {', '.join(each.id for each in all_rules())}"
        )
    facts = {each.name: getattr(rule, each.name) for each in dataclasses.fields(AuditRule) if each.name != "dated"}
    if as_json:
        print_json(facts)
        return
    click.echo(f"{rule.id} {rule.severity}: {rule.title}")
    click.echo(_wrapped(f"Why: {rule.why}", ""))
    click.echo(_wrapped(f"Fix: {rule.fix}", ""))
    if rule.references:
        click.echo(f"See: {', '.join(rule.references)} (OWASP ASVS 5.0 and API Security Top 10 2023)")


def _wrapped(text: str, indent: str) -> str:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    # no break at hyphens: a fix is code to copy
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=f"{indent}     ", break_on_hyphens=False)


# The report -----------------------------------------------------------------------------------------------------------


@click.command("report")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default="report.html",
    show_default=True,
    metavar="FILE",
    help="The file to write; - for standard output.",
)
@json_option
@with_appcontext
def report_command(output: Path, as_json: bool) -> None:
    """Write an HTML page with all routes and findings.

    The page shows every route, its policies, and the findings of the audit. The page loads nothing, and works from a
    file. --json prints the same facts instead.

    \b
    Exit codes:
      0  the page is written, with or without findings
      1  the file cannot be written
      2  the command line is invalid
      6  the app is misconfigured, and serves nothing
    """
    from ..audit.report.page import page_of

    inventory = inventory_of_app()
    audit = examine(inventory)
    if as_json:
        print_json(describe_report(inventory, audit))
        return
    html = page_of(inventory, audit).html
    if str(output) == "-":
        click.echo(html, nl=False)
        return
    write_file(output, html)
    click.echo(f"{output}: {counted(len(inventory.entries), 'route')}, {counted(len(audit.findings), 'finding')}")
