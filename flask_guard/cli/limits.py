"""``flask guard limits …`` and ``flask guard bans …``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import click
from flask.cli import AppGroup

from ..errors import ConfigError
from ..keys import KeyStoreUnavailable
from ..keys.concern import key_store_of
from ..rate_limits.admin import Holding, check_visible, forget, holdings, lift
from ..rate_limits.storage import Backend, StoreDown
from ..rate_limits.storage.budgets import BAN
from .common import (
    Failure,
    app_state,
    check_can_ask,
    id_of_whole_key,
    json_option,
    print_json,
    print_table,
    reading,
    refuse_whole_key,
    repeatable,
    yes_option,
)

NOTHING_HELD = 3
UNREACHABLE = 4
NOT_VISIBLE = 5

MOST_LISTED = 1000
"""The rows that ``--all`` lists, at most."""

WINDOWS = ("client", "scope", "rate", "remaining", "available_in")
CLEARED = ("client", "scope", "rate")
BANS = ("client", "scope", "lasting", "ends_in")
LIFTED = ("client", "scope", "lasting")
UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))

CLIENT = """CLIENT is an address (an IPv6 address means its /64), the id of an API key or of a principal, the value that
    by= of a limit returned, or a client as these commands print it. Of a client that several of these identify
    together, one is enough. The counts of the app's own flask_limiter.Limiter are not shown.

    Run the command as the user of the app: a missing SQLite file would be created for the wrong user.
"""
EXIT_CODES = """\b
    Exit codes:
      0  done
      1  you answered the question with no
      2  the command line is invalid
      3  {nothing}
      4  the store is unreachable
      5  limits are not counted where other processes can see them, or the storage cannot list them
"""
limits_group: AppGroup = AppGroup(
    "limits",
    help=f"""Show and reset the counts of a client.

    {CLIENT}
    {EXIT_CODES.format(nothing="nothing is counted for that client")}""",
)
bans_group: AppGroup = AppGroup(
    "bans",
    help=f"""Show and lift bans.

    {CLIENT}
    {EXIT_CODES.format(nothing="that client is not banned")}""",
)

# click's own message would repeat a client or a secret that is given without --key
_command: dict[str, Any] = {"context_settings": {"allow_extra_args": True}}
_key_option = partial(
    click.option,
    "--key",
    "client",
    type=reading(str),
    metavar="CLIENT",
    help="An address, the id of an API key or of a principal, or the value that by= returned.",
)
_scope_option = repeatable(
    "--scope", "scopes", type=reading(str), metavar="SCOPE", help="Only this scope, as status prints it. Repeatable."
)


# The commands -----------------------------------------------------------------------------------------------------


@limits_group.command("status", **_command)
@_key_option()
@click.option("--all", "everything", is_flag=True, help=f"List the counts of all clients, at most {MOST_LISTED}.")
@_scope_option
@json_option
def status(client: str | None, everything: bool, scopes: tuple[str, ...], as_json: bool) -> None:
    """Show the windows, places and bans of a client."""
    if (client is None) is not everything:
        raise click.UsageError("give --key CLIENT, or --all")
    with _failures():
        backend = _backend(client)
        held = holdings(backend, client, scopes=scopes, most=MOST_LISTED + 1 if everything else None)
    if not held and not everything:
        raise Failure(NOTHING_HELD, "nothing is counted for this client")
    _print(held[:MOST_LISTED] if everything else held, as_json, WINDOWS)
    if everything and len(held) > MOST_LISTED:
        click.echo(f"There are more than these {MOST_LISTED}: give --key or --scope.", err=True)


@limits_group.command("reset", **_command)
@_key_option(required=True)
@_scope_option
@click.option("--bans", is_flag=True, help="Lift the client's bans, too.")
@yes_option
@json_option
def reset(client: str, scopes: tuple[str, ...], bans: bool, yes: bool, as_json: bool) -> None:
    """Reset the budgets of a client. The command asks first.

    Places of limit.concurrent that running requests hold count as free then.
    """
    check_can_ask(yes, "clearing limits")
    with _failures():
        backend = _backend(client)
        held = holdings(backend, client, scopes=scopes)
        banned = [each for each in held if each.kind == BAN]
        cleared = held if bans else [each for each in held if each.kind != BAN]
        if not cleared:
            hint = ", but it is banned: flask guard bans lift" if banned else ""
            raise Failure(NOTHING_HELD, f"nothing is counted for this client{hint}")
        if not yes:
            _print(cleared, False, WINDOWS, err=True)
            click.confirm(f"Clear {_counted(cleared)}? This cannot be undone", abort=True, err=True)
        if bans:
            lift(backend, banned)
        forget(backend, [each for each in cleared if each.kind != BAN])
    _print(cleared, as_json, CLEARED)
    if banned and not bans:
        click.echo("The client is still banned: flask guard bans lift", err=True)


@bans_group.command("list", **_command)
@json_option
def list_bans(as_json: bool) -> None:
    """List the bans in force, and when each ends."""
    with _failures():
        held = holdings(_backend(None), unit=BAN)
    _print(held, as_json, BANS)


@bans_group.command("show", **_command)
@_key_option(required=True)
@json_option
def show_bans(client: str, as_json: bool) -> None:
    """Show the bans of a client."""
    with _failures():
        held = _bans_of(_backend(client), client)
    _print(held, as_json, BANS)


@bans_group.command("lift", **_command)
@_key_option(required=True)
@_scope_option
@yes_option
@json_option
def lift_bans(client: str, scopes: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Lift the bans of a client, and reset the counts that led to them. The command asks first."""
    check_can_ask(yes, "lifting a ban")
    with _failures():
        backend = _backend(client)
        held = _bans_of(backend, client, scopes)
        if not yes:
            _print(held, False, BANS, err=True)
            click.confirm(f"Lift {_counted(held)}?", abort=True, err=True)
        lifted = lift(backend, held)
    _print(lifted, as_json, LIFTED)


# The store --------------------------------------------------------------------------------------------------------


def _backend(client: str | None) -> Backend:
    """Return the backend of the app's limits, or end the command."""
    state = app_state()
    if click.get_current_context().args:
        raise click.UsageError("there are too many words: give the client as --key CLIENT")
    if client is not None:
        if not client.strip():
            raise click.UsageError("--key is empty")
        refuse_whole_key(id_of_whole_key(key_store_of(state), client))
    backend = state.service(Backend)
    check_visible(backend)
    return backend


def _bans_of(backend: Backend, client: str, scopes: Sequence[str] = ()) -> list[Holding]:
    held = holdings(backend, client, scopes=scopes, unit=BAN)
    if not held:
        raise Failure(NOTHING_HELD, "this client is not banned; flask guard bans list shows who is")
    return held


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """End the command with its exit code if the store fails."""
    try:
        yield
    except ConfigError as error:
        raise Failure(NOT_VISIBLE, str(error)) from None
    except (StoreDown, KeyStoreUnavailable) as error:
        raise Failure(UNREACHABLE, f"the store is unreachable: {error}") from None


# Printing ---------------------------------------------------------------------------------------------------------


def _print(held: Sequence[Holding], as_json: bool, columns: Sequence[str], *, err: bool = False) -> None:
    facts = [each.describe() for each in held]
    if as_json:
        print_json(facts)
        return
    for each in facts:
        each["lasting"] = _span(each["seconds"])
        each["rate"] = each["rate"] or f"banned for {each['lasting']}"
        each["ends_in"] = each["available_in"] = _span(each["available_in"])
    print_table(columns, facts, err=err)


def _counted(held: Sequence[Holding]) -> str:
    return "this one" if len(held) == 1 else f"these {len(held)}"


def _span(seconds: int | None) -> str | None:
    """Return a duration in words, such as ``1h30m``."""
    if seconds is None:
        return None
    text = ""
    for unit, length in UNITS:
        number, seconds = divmod(seconds, length)
        text += f"{number}{unit}" if number else ""
    return text or "0s"
