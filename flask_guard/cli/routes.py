"""``flask guard routes``: every route, and what protects it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from flask.cli import with_appcontext

from ..audit.routes import Selection, describe_routes
from ..audit.wording import shown_foreign
from ..core.facts import Foreign
from ..support.text import counted
from .common import json_option, print_json
from .inventory import inventory_of_app
from .tables import Cell, Chunk, print_columns, say, terminal_width

WIDE = 120
"""The width of a terminal, in characters, from which the endpoint is shown, too."""
COLORS = {"AUTHENTICATE": "green", "LIMIT": "blue", "QUOTA": "blue"}


@click.command("routes")
@json_option
@click.option("--markdown", is_flag=True, help="Print a table in Markdown.")
@click.option("--blueprint", default="", metavar="NAME", help="Only this blueprint and its nested blueprints.")
@click.option(
    "--path", default="", metavar="PATH", help="Only this path and all paths below it, or a pattern such as '/api/*'."
)
@click.option("--method", "methods", multiple=True, metavar="METHOD", help="Only this method. Repeatable.")
@click.option("--policy", "having", multiple=True, metavar="NAME", help="Only routes with this policy. Repeatable.")
@click.option(
    "--without", "lacking", multiple=True, metavar="NAME", help="Only routes without this policy. Repeatable."
)
@click.option("--unguarded-writes", is_flag=True, help="Only routes that change state for anyone.")
@with_appcontext
def routes_command(as_json: bool, markdown: bool, methods: tuple[str, ...], **chosen: Any) -> None:
    """Show every route and the policies that protect it.

    The policies are listed in the order in which they act.

    A plus stands for protection by another package. A question mark stands for a hook or decorator that may or may not
    refuse requests, which never counts as protection. NAME is the name of a policy, or of a package (Flask-Login).

    An exclamation mark stands for a route that changes state without authentication or CSRF protection.

    \b
    Exit codes:
      0  done
      2  the command line is invalid
      6  the app is misconfigured, and serves nothing
    """
    if as_json and markdown:
        raise click.UsageError("choose --json or --markdown")
    inventory = inventory_of_app()
    selection = Selection(methods=tuple(method.upper() for method in methods), **chosen)
    document = describe_routes(inventory, selection.of(inventory))
    if as_json:
        print_json(document)
    elif markdown:
        _print_markdown(document)
    else:
        _print_table(document)


# As text -------------------------------------------------------------------------------------------------------------


def _print_table(document: dict[str, Any]) -> None:
    for line in notes(document):
        say([Chunk(line, "yellow")])
    routes, width = document["routes"], terminal_width()
    if not routes:
        say([Chunk("No route matches.")])
        return
    names = ("METHOD", "PATH", "ENDPOINT", "PROTECTION")
    rows: list[list[Cell]] = [[[Chunk(name, bold=True)] for name in names]]
    rows += [_row(route, document) for route in routes]
    if width is not None and width < WIDE:
        rows = [[*row[:2], row[3]] for row in rows]
    print_columns(rows, width)
    open_writes = sum(route["unguarded_write"] for route in routes)
    say()
    writes = Chunk(counted(open_writes, "unguarded write"), "red" if open_writes else "green")
    say([Chunk(f"{counted(len(routes), 'route')}, "), writes])


def notes(document: dict[str, Any]) -> Iterator[str]:
    """Yield the facts about the app as a whole."""
    if not document["guard"]:
        yield f"{document['app']} has no Guard. Only the protection by other packages and by the app itself is shown."
    elif not document["enabled"]:
        yield "GUARD_ENABLED is False: none of these policies is in force."
    everywhere = [shown_foreign(Foreign(**each)) for each in document["everywhere"]]
    if everywhere:
        yield f"Everywhere: {', '.join(everywhere)}"
    for mount in document["mounts"]:
        yield f"Requests below {mount['path']} go to {mount['app']}, and not to these routes."


def _row(route: dict[str, Any], document: dict[str, Any]) -> list[Cell]:
    is_open = route["unguarded_write"]
    method = Chunk(f"{route['method']}{' !' if is_open else ''}", "red" if is_open else None, is_open)
    return [[method], [Chunk(_path(route))], [Chunk(route["endpoint"])], list(_protection(route, document))]


def _path(route: dict[str, Any]) -> str:
    host = f"//{route['host']}" if route["host"] else ""
    below = f" (below {route['below'][-1]})" if route["below"] else ""
    return f"{host}{route['path']}{below}"


def _protection(route: dict[str, Any], document: dict[str, Any]) -> Iterator[Chunk]:
    policies = route["policies"]
    for position, policy in enumerate(policies):
        arrow = " > " if position < len(policies) - 1 else " "
        reports = policy["mode"] == "report"
        text = f"{policy['text']}{' [report]' if reports else ''}"
        yield Chunk(text + arrow, "yellow" if reports else COLORS.get(policy["phase"]))
    for each in route["foreign"]:
        if each not in document["everywhere"]:
            unknown = each["purpose"] == "unknown"
            yield Chunk(f"+ {shown_foreign(Foreign(**each))} ", "yellow" if unknown else "cyan")
    if not policies and not route["foreign"]:
        yield Chunk("-")


# As Markdown ---------------------------------------------------------------------------------------------------------


def _print_markdown(document: dict[str, Any]) -> None:
    for line in notes(document):
        click.echo(f"{line}\n")
    click.echo("| Method | Path | Endpoint | Policies | Others |\n|---|---|---|---|---|")
    for route in document["routes"]:
        policies = [f"{each['text']}{' [report]' if each['mode'] == 'report' else ''}" for each in route["policies"]]
        others = [shown_foreign(Foreign(**each)) for each in route["foreign"] if each not in document["everywhere"]]
        mark = " **!**" if route["unguarded_write"] else ""
        cells = [
            f"{route['method']}{mark}",
            _code(_path(route)),
            _code(route["endpoint"]),
            " → ".join(map(_code, policies)),
            ", ".join(map(_code, others)),
        ]
        click.echo(f"| {' | '.join(cells)} |")


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|').replace('`', chr(39))}`"
