"""Tools for the commands: reading options, printing facts, and ending with an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click

from ..core.app_state import AppState
from ..core.flask_versions import current_flask
from ..errors import ConfigError
from ..keys import KeyStore, SignedKeys, StaticKeys, StoredKeys
from ..keys.sources import single_stores
from ..support.text import printable

T = TypeVar("T")
LONGEST_CELL = 1000
NEVER = ("expires", "last_used")
"""Facts that are timestamps. None means never."""


class Failure(click.ClickException):
    """Ends the command with one line on standard error and an exit code."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(printable(message, 1000))
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


# The command line -------------------------------------------------------------------------------------------------


def reading(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return `read` as the type of an option, with its errors as click reports them."""

    def convert(text: str) -> T:
        try:
            text.encode()
            return read(text)
        except UnicodeEncodeError:
            raise click.BadParameter("the value is not UTF-8") from None
        except ConfigError as error:
            raise click.BadParameter(str(error)) from None

    return convert


Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
yes_option: Decorator = click.option("--yes", is_flag=True, help="Do not ask.")
repeatable: Callable[..., Decorator] = partial(click.option, multiple=True)


def check_can_ask(yes: bool, what: str) -> None:
    """End the command if --yes is missing and no terminal can ask the question."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError(f"{what} needs a terminal for the question, or --yes")


def write_file(file: Path, text: str) -> None:
    """Write a file, or end the command with the exit code 1."""
    try:
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise Failure(1, f"{file} cannot be written: {error.strerror}") from None


# The app ----------------------------------------------------------------------------------------------------------


def app_state() -> AppState:
    return AppState.of(current_flask())


def refuse_whole_key(key_id: str | None) -> None:
    """End the command if its argument is a whole key, and `key_id` its id. None means another argument."""
    if key_id is not None:
        raise click.UsageError(
            f"this is a whole key, not an id: give the id {key_id!r}. Rotate the key, as the history of your shell may"
            " contain it now"
        )


def id_of_whole_key(store: KeyStore | None, text: str) -> str | None:
    """Return the id if `text` is a whole key, else None, without a look-up outside this process.

    A key that only a callable of the app can look up is not recognised.
    """
    for each in single_stores(store):
        if isinstance(each, StoredKeys):
            found = each.format.id_of(text)
        else:
            key = each.lookup(text) if isinstance(each, (SignedKeys, StaticKeys)) else None
            found = key.id if key is not None else None
        if found is not None:
            return found
    return None


# Printing ---------------------------------------------------------------------------------------------------------


def as_text(name: str, value: Any) -> str:
    """Return a fact on one line, for people."""
    if value is None and name in NEVER:
        return "never"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not value and value != 0:
        return "-"
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    return printable(" ".join(value) if isinstance(value, list) else str(value), LONGEST_CELL)


def print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, default=str))


def print_facts(facts: dict[str, Any], as_json: bool) -> None:
    """Print facts, one on each line, or as a JSON document."""
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<12}{as_text(name, value)}")


def print_table(columns: Sequence[str], facts: Iterable[dict[str, Any]], *, err: bool = False) -> None:
    """Print the facts named by `columns`, in aligned columns."""
    rows = [[name.replace("_", " ").upper() for name in columns]]
    rows += [[as_text(name, each[name]) for name in columns] for each in facts]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip(), err=err)
