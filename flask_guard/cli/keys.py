"""``flask guard keys …``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, get_args

import click
from flask import current_app
from flask.cli import AppGroup

from ..errors import ConfigError
from ..keys import ApiKey, KeyStoreUnavailable, NewKey, StoredKeys, admin
from ..keys.concern import key_store_of
from ..keys.model import Status
from ..keys.require_api_key import LONGEST_KEY
from ..support.http_credentials import text_of
from ..support.text import printable
from .common import (
    Failure,
    app_state,
    check_can_ask,
    json_option,
    print_facts,
    print_json,
    print_table,
    reading,
    refuse_whole_key,
    repeatable,
    yes_option,
)

NOT_VALID = 1
NO_SUCH_KEY = 3
UNREACHABLE = 4
NOT_STORED = 5

COLUMNS = ("id", "name", "scopes", "status", "expires", "last_used", "retiring")

keys_group: AppGroup = AppGroup(
    "keys",
    help="""Create, list, rotate, revoke and verify API keys.

    The keys are those of Guard(app, keys=SQLKeys()), RedisKeys(…) or the first such store in chain(…). A secret is
    shown once, when it is created. A timestamp is ISO 8601 with a time zone (2031-01-31T12:00:00Z), or a date in UTC.
    A date is the beginning of the day for --not-before, and its end for --expires. Durations are numbers of weeks,
    days, hours, minutes and seconds, such as 90d, 12h or 1d12h.

    \b
    Exit codes:
      0  done, or the key is valid
      1  the key is not valid or not active (verify); the question was answered with no (revoke)
      2  the command line is invalid
      3  there is no such key
      4  the store is unreachable, or the record of the key is damaged
      5  the app has no keys that can be changed
    """,
)

_id_argument = click.argument("key_id", type=reading(str), metavar="ID")


# The stores -------------------------------------------------------------------------------------------------------


def _stored() -> StoredKeys:
    """Return the keys of the app that can be changed, or end the command."""
    store = admin.stored_keys(key_store_of(app_state()))
    if store is None:
        raise Failure(
            NOT_STORED,
            f"the API keys of {current_app.name!r} are not in a store that can be changed: write"
            " Guard(app, keys=SQLKeys()), or keys=chain(SQLKeys(), …) to keep the present keys",
        )
    return store


def _checked_id(store: StoredKeys, key_id: str) -> str:
    """Return `key_id`. A whole key ends the command, as no message may show it."""
    refuse_whole_key(store.format.id_of(key_id))
    return key_id


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """End the command with its exit code if a store fails."""
    try:
        yield
    except LookupError:  # its message has the typed id, which may be a secret that was pasted by mistake
        raise Failure(NO_SUCH_KEY, "there is no such key: 'flask guard keys list' shows all keys") from None
    except (KeyStoreUnavailable, ConfigError) as error:
        raise Failure(UNREACHABLE, str(error)) from None


def _look_up(presented: str) -> ApiKey | None:
    """Return the key that a request with `presented` would find."""
    store = key_store_of(app_state())
    if store is None or len(presented) > LONGEST_KEY:
        return None
    try:
        return store.lookup(text_of(presented))
    except KeyStoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  # by a callable of the app, whose message may contain the key
        raise Failure(UNREACHABLE, f"the look-up of the key failed with {type(error).__name__}") from None


def _print_new(new: NewKey, as_json: bool) -> None:
    print_facts({**admin.describe(new.key), "secret": new.secret}, as_json)
    click.echo("Save the secret now: it is not shown again.", err=True)


# The commands -----------------------------------------------------------------------------------------------------


@keys_group.command("create")
@click.option(
    "--name", type=reading(str), default="", metavar="TEXT", help="A name for people, such as the owner of the key."
)
@repeatable("--scope", "scopes", type=reading(admin.parse_scope), metavar="SCOPE", help="A scope. Repeatable.")
@click.option(
    "--expires",
    type=reading(admin.parse_end),
    metavar="WHEN",
    help="The end of the key: a timestamp, or a duration from now.",
)
@click.option(
    "--not-before", type=reading(admin.parse_start), metavar="WHEN", help="The start of the key: a timestamp."
)
@click.option("--rate", type=reading(admin.parse_rate), metavar="RATE", help="The rate of the key, such as 100/minute.")
@repeatable(
    "--address",
    "addresses",
    type=reading(admin.parse_address),
    metavar="NET",
    help="A network from which the key is valid. Repeatable.",
)
@repeatable(
    "--claim",
    "claims",
    type=reading(admin.parse_claim),
    metavar="NAME=VALUE",
    help="A further fact about the key. Repeatable.",
)
@json_option
def create(claims: tuple[tuple[str, str], ...], as_json: bool, **options: Any) -> None:
    """Create a key, and show its secret, once."""
    if len(dict(claims)) < len(claims):
        raise click.UsageError("--claim has the same name twice")
    starts: datetime | None = options["not_before"]
    ends: datetime | None = options["expires"]
    if starts is not None and ends is not None and ends <= starts:
        raise click.UsageError("--expires is before --not-before: write a later --expires")
    with _failures():
        new = _stored().create(claims=dict(claims), **options)
    _print_new(new, as_json)


@keys_group.command("list")
@click.option("--status", type=click.Choice(get_args(Status)), help="Only the keys in this state.")
@json_option
def list_keys(status: str | None, as_json: bool) -> None:
    """List the keys, the oldest first."""
    with _failures():
        keys = [admin.describe(key) for key in _stored().list() if status in (None, key.status)]
    if as_json:
        print_json(keys)
    else:
        print_table(COLUMNS, keys)


@keys_group.command("show")
@_id_argument
@json_option
def show(key_id: str, as_json: bool) -> None:
    """Show all facts about a key without its secret."""
    store = _stored()
    with _failures():
        key = store.get(_checked_id(store, key_id))
    print_facts(admin.describe(key), as_json)


@keys_group.command("rotate")
@_id_argument
@click.option(
    "--overlap",
    type=reading(admin.parse_overlap),
    metavar="DURATION",
    help="The duration for which the previous secret stays valid.",
)
@json_option
def rotate(key_id: str, overlap: timedelta | None, as_json: bool) -> None:
    """Give a key a new secret, and show the secret, once.

    Without --overlap, all earlier secrets end at once.
    """
    store = _stored()
    with _failures():
        if store.get(_checked_id(store, key_id)).revoked is not None:
            raise Failure(NO_SUCH_KEY, "this key is revoked and cannot be rotated: create another key")
        new = store.rotate(key_id, overlap=overlap or 0)
    _print_new(new, as_json)


@keys_group.command("revoke")
@_id_argument
@yes_option
@json_option
def revoke(key_id: str, yes: bool, as_json: bool) -> None:
    """Revoke a key. The command asks first."""
    check_can_ask(yes, "revoking a key")
    store = _stored()
    with _failures():
        key = store.get(_checked_id(store, key_id))
        if not yes:
            whose = f" ({printable(key.name)})" if key.name else ""
            click.confirm(f"Revoke key {printable(key.id)}{whose}? This cannot be undone", abort=True, err=True)
        key = store.revoke(key_id)
    print_facts(admin.describe(key), as_json)


@keys_group.command("verify", context_settings={"allow_extra_args": True})
@json_option
@click.pass_context
def verify(context: click.Context, as_json: bool) -> None:
    """Read a key from standard input, and print whether it is valid, and its facts."""
    if context.args:  # click's own message would show the key
        raise click.UsageError(
            "others can see the command line: give the key on standard input, as in flask guard keys verify < key.txt"
        )
    presented = _read_key()
    with _failures():
        key = _look_up(presented)
    valid = key is not None and key.status == "active"
    if key is None and not as_json:
        click.echo("not valid")
    else:
        print_facts({"valid": valid, **(admin.describe(key) if key is not None else {})}, as_json)
    if not valid:
        context.exit(NOT_VALID)


def _read_key() -> str:
    """Return the key on standard input in Latin-1, as WSGI decodes header fields."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Key", hide_input=True, err=True)
        return typed.strip().encode("utf-8", "surrogateescape").decode("latin-1")
    piped = sys.stdin.buffer.read(LONGEST_KEY + 100)
    if not piped.strip():
        raise click.UsageError("standard input is empty: write flask guard keys verify < key.txt")
    return piped.strip().decode("latin-1")
