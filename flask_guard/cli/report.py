"""``flask guard report``."""

from __future__ import annotations

from pathlib import Path

import click
from flask.cli import with_appcontext

from ..audit.documents import describe_report
from ..audit.findings import examine
from ..audit.report.page import page_of
from ..support.text import counted
from .common import json_option, print_json, write_file
from .inventory import inventory_of_app


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
