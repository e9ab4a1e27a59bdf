"""``flask guard lock`` and ``flask guard check``."""

from __future__ import annotations

import dataclasses
from itertools import groupby
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext

from ..audit.changes import KINDS, WORSE, Change, Kind, changes_since
from ..audit.lock import Lock, as_text, describe, make_lock, parse
from ..errors import ConfigError
from .common import json_option, print_json, write_file
from .inventory import inventory_of_app

WORSENED = 1
OUTDATED = 3
FILE = "guard.lock"
SCHEMA = "flask_guard.check/1"
SHOWN = 50
"""The changes of one kind that are shown as text, at most."""
_TITLES: dict[Kind, str] = {
    "weaker": "Weaker",
    "different": "Different, neither weaker nor stronger",
    "unguarded": "New, and open to everyone",
    "stronger": "Stronger",
    "new": "New",
    "gone": "Gone",
}
_COLOURS: dict[Kind, str] = {"weaker": "red", "different": "red", "unguarded": "red", "stronger": "green"}


@click.command("lock")
@click.option(
    "-o", "--output", default=FILE, metavar="FILE", help=f"The file to write; - for standard output ({FILE})."
)
@json_option
@with_appcontext
def lock_command(output: str, as_json: bool) -> None:
    """Write the protection of every endpoint to a file.

    Review the file, and compare it with 'flask guard check'. The file has no secrets and is the same on every machine.
    Keep it in version control.
    """
    lock = make_lock(inventory_of_app())
    if as_json:
        print_json(describe(lock))
    elif output == "-":
        click.echo(as_text(lock), nl=False)
    else:
        write_file(Path(output), as_text(lock))
        click.echo(f"{len(lock.blocks)} endpoints written to {output}", err=True)


@click.command("check")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=FILE, required=False)
@click.option("--allow-stronger", is_flag=True, help="Accept a file that is only out of date.")
@click.option("--update", is_flag=True, help="Write the file again, unless something became worse.")
@json_option
@click.pass_context
@with_appcontext
def check_command(context: click.Context, file: Path, allow_stronger: bool, update: bool, as_json: bool) -> None:
    """Fail if the protection of an endpoint became weaker.

    The command compares the app with a lock file. Each option of a policy declares which changes are weaker. A change
    without an order is different, and fails, too.

    \b
    Exit codes:
      0  nothing changed; with --allow-stronger or --update, nothing became worse
      1  something is weaker, different, or new and open to everyone
      2  the command line is invalid, or there is no lock file
      3  the file is out of date: something is stronger, new or gone
      6  the app is misconfigured, and serves nothing
    """
    old = _read(file)
    inventory = inventory_of_app()
    found = changes_since(old, inventory)
    worse = any(each.kind in WORSE for each in found)
    if update and not worse:
        write_file(file, as_text(make_lock(inventory)))
    if as_json:
        print_json({"schema": SCHEMA, "app": inventory.app.name, "changes": list(map(dataclasses.asdict, found))})
    else:
        _print(found, worse=worse, updated=update and not worse)
    if worse:
        context.exit(WORSENED)
    if found and not (allow_stronger or update):
        context.exit(OUTDATED)


def _read(file: Path) -> Lock:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise click.UsageError(f"there is no lock file {file}: write it with 'flask guard lock'") from None
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise click.UsageError(f"{file}: {error}") from None


def _print(found: list[Change], *, worse: bool, updated: bool) -> None:
    for kind, group in groupby(found, lambda change: change.kind):
        listed = list(group)
        click.echo(click.style(f"{_TITLES[kind]}:", fg=_COLOURS.get(kind)))
        for each in listed[:SHOWN]:
            click.echo(f"  {each.message}")
        if len(listed) > SHOWN:
            click.echo(f"  … and {len(listed) - SHOWN} more, which --json lists")
        click.echo()
    click.echo(_conclusion(found, worse=worse, updated=updated))


def _conclusion(found: list[Change], *, worse: bool, updated: bool) -> str:
    if not found:
        return f"{current_app.name!r} is protected as the lock file says."
    counts = ", ".join(f"{number} {kind}" for kind in KINDS if (number := sum(each.kind == kind for each in found)))
    if worse:
        return (
            f"{counts}. If the change is intended, write the file again with 'flask guard lock', and have it reviewed."
        )
    if updated:
        return f"{counts}. The lock file is up to date now."
    return f"{counts}. Nothing became worse. Write the file again with 'flask guard check --update'."
