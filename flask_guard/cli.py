"""``flask guard …``: reads the command line and prints. The facts come from the stores."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import click
from flask import current_app
from flask.cli import AppGroup

from .errors import ConfigError, printable
from .keys import ApiKey, KeyStore, KeyStoreUnavailable, NewKey, StoredKeys, admin
from .policies.api_key import LONGEST_KEY
from .policies.credentials import text_of
from .state import AppState

T = TypeVar("T")
NOT_VALID = 1
NO_SUCH_KEY = 3
UNREACHABLE = 4
NOT_STORED = 5

_COLUMNS = ("id", "name", "scopes", "status", "expires", "last_used")

guard_group: AppGroup = AppGroup("guard", help="What guards this app.")
keys_group: AppGroup = AppGroup(
    "keys",
    help="""Make, list, rotate, revoke and verify the API keys of this app.

    They are those of Guard(app, keys=SQLKeys()), RedisKeys(…) or the first such store in chain(…). A secret is shown
    once, when it is made. Moments are ISO 8601 with a time zone (2031-01-31T12:00:00Z), or a date, which means its end
    in UTC; spans are numbers of weeks, days, hours, minutes and seconds, such as 90d, 12h or 1d12h.

    \b
    Exit codes:
      0  done, or the key is valid
      1  the key is not valid or not active (verify); the question was answered with no (revoke)
      2  the command line cannot be meant
      3  there is no such key
      4  the store cannot be reached
      5  the app has no keys that can be changed
    """,
)
guard_group.add_command(keys_group)


class _Failure(click.ClickException):
    """Ends the command with one line on standard error and an exit code of ours."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(printable(message, 1000))
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


# The command line -------------------------------------------------------------------------------------------------


def _reading(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return `read` as the type of an option, whose refusals are click's."""

    def convert(text: str) -> T:
        try:
            text.encode()
            return read(text)
        except UnicodeEncodeError:
            raise click.BadParameter("it is not text in UTF-8") from None
        except ConfigError as error:
            raise click.BadParameter(str(error)) from None

    return convert


_id_argument = click.argument("key_id", type=_reading(str), metavar="ID")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_repeatable = partial(click.option, multiple=True)


# The stores -------------------------------------------------------------------------------------------------------


def _key_store() -> KeyStore | None:
    return AppState.of(current_app._get_current_object()).key_store  # type: ignore[attr-defined]


def _stored() -> StoredKeys:
    """Return the keys of the app that can be changed, or end the command."""
    store = admin.stored_keys(_key_store())
    if store is None:
        raise _Failure(
            NOT_STORED,
            f"the API keys of {current_app.name!r} are not in a store that can be changed: write"
            " Guard(app, keys=SQLKeys()), or keys=chain(SQLKeys(), …) to go on accepting those that there are",
        )
    return store


def _checked_id(store: StoredKeys, key_id: str) -> str:
    """Return `key_id` unless it is a whole key, which no later message may show."""
    inner = store.format.id_of(key_id)
    if inner is not None:
        raise click.UsageError(
            f"this is a whole key, and not an id: give the id {inner!r}. The key may be in the history of your shell"
            " now: rotate it"
        )
    return key_id


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """End the command as its exit codes say if a store refuses."""
    try:
        yield
    except LookupError:  # its message has what was given as the id, which may be a secret that was pasted by mistake
        raise _Failure(NO_SUCH_KEY, "there is no such key; flask guard keys list shows those that there are") from None
    except (KeyStoreUnavailable, ConfigError) as error:
        raise _Failure(UNREACHABLE, str(error)) from None


def _look_up(presented: str) -> ApiKey | None:
    """Return what a request with `presented` would find."""
    store = _key_store()
    if store is None or len(presented) > LONGEST_KEY:
        return None
    try:
        return store.lookup(text_of(presented))
    except KeyStoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  # a callable of the app's: what it says may have the key in it
        raise _Failure(UNREACHABLE, f"looking the key up failed with {type(error).__name__}") from None


# Printing ---------------------------------------------------------------------------------------------------------


def _text(name: str, value: Any) -> str:
    if value is None and name in ("expires", "last_used"):
        return "never"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not value:
        return "-"
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    return printable(" ".join(value) if isinstance(value, list) else str(value), 1000)


def _print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, default=str))


def _print_facts(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(facts)
        return
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<12}{_text(name, value)}")


def _print_new(new: NewKey, as_json: bool) -> None:
    _print_facts({**admin.describe(new.key), "secret": new.secret}, as_json)
    click.echo("This is the only time that the secret is shown: it will not be shown again.", err=True)


def _print_table(keys: Iterable[dict[str, Any]]) -> None:
    rows = [[name.replace("_", " ").upper() for name in _COLUMNS]]
    rows += [[_text(name, facts[name]) for name in _COLUMNS] for facts in keys]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


# The commands -----------------------------------------------------------------------------------------------------


@keys_group.command("create")
@click.option("--name", type=_reading(str), default="", metavar="TEXT", help="Whose key it is, for people.")
@_repeatable("--scope", "scopes", type=_reading(admin.parse_scope), metavar="SCOPE", help="What it may do. Repeatable.")
@click.option(
    "--expires", type=_reading(admin.parse_when), metavar="WHEN", help="When it stops working; a span is from now."
)
@click.option("--not-before", type=_reading(admin.parse_when), metavar="WHEN", help="When it starts working.")
@click.option("--rate", type=_reading(admin.parse_rate), metavar="RATE", help="A rate of its own, such as 100/minute.")
@_repeatable(
    "--address", "addresses", type=_reading(admin.parse_address), metavar="NET", help="Where it works. Repeatable."
)
@_repeatable(
    "--claim", "claims", type=_reading(admin.parse_claim), metavar="NAME=VALUE", help="A note on it. Repeatable."
)
@_json_option
def create(claims: tuple[tuple[str, str], ...], as_json: bool, **options: Any) -> None:
    """Make a key, and show its secret, once."""
    if len(dict(claims)) < len(claims):
        raise click.UsageError("--claim has the same name twice")
    with _failures():
        new = _stored().create(claims=dict(claims), **options)
    _print_new(new, as_json)


@keys_group.command("list")
@click.option("--status", type=click.Choice(["active", "revoked", "expired"]), help="Only those in this state.")
@_json_option
def list_keys(status: str | None, as_json: bool) -> None:
    """List the keys, the oldest first."""
    with _failures():
        keys = [admin.describe(key) for key in _stored().list() if status in (None, key.status)]
    if as_json:
        _print_json(keys)
    else:
        _print_table(keys)


@keys_group.command("show")
@_id_argument
@_json_option
def show(key_id: str, as_json: bool) -> None:
    """Show all that is known of a key, but not its secret."""
    store = _stored()
    with _failures():
        key = store.get(_checked_id(store, key_id))
    _print_facts(admin.describe(key), as_json)


@keys_group.command("rotate")
@_id_argument
@click.option("--overlap", type=_reading(admin.parse_span), metavar="SPAN", help="How long the old secret still works.")
@_json_option
def rotate(key_id: str, overlap: timedelta | None, as_json: bool) -> None:
    """Give a key a new secret, and show that, once."""
    store = _stored()
    with _failures():
        if store.get(_checked_id(store, key_id)).revoked is not None:
            raise _Failure(NO_SUCH_KEY, "this key has been revoked, and cannot be rotated: create another")
        new = store.rotate(key_id, overlap=overlap or 0)
    _print_new(new, as_json)


@keys_group.command("revoke")
@_id_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json_option
def revoke(key_id: str, yes: bool, as_json: bool) -> None:
    """Make a key work no more. It asks first."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("revoking a key needs a terminal to ask on, or --yes")
    store = _stored()
    with _failures():
        key = store.get(_checked_id(store, key_id))
        if not yes:
            whose = f" ({printable(key.name)})" if key.name else ""
            click.confirm(f"Revoke key {printable(key.id)}{whose}? This cannot be undone", abort=True, err=True)
        key = store.revoke(key_id)
    _print_facts(admin.describe(key), as_json)


@keys_group.command("verify", context_settings={"allow_extra_args": True})
@_json_option
@click.pass_context
def verify(context: click.Context, as_json: bool) -> None:
    """Read a key from standard input, and say whether it is valid, and for what."""
    if context.args:  # click's own message would show it
        raise click.UsageError("the key is read from standard input, not from the command line, which others can see")
    presented = _read_key()
    with _failures():
        key = _look_up(presented)
    valid = key is not None and key.status == "active"
    if key is None and not as_json:
        click.echo("not valid")
    else:
        _print_facts({"valid": valid, **(admin.describe(key) if key is not None else {})}, as_json)
    if not valid:
        context.exit(NOT_VALID)


def _read_key() -> str:
    """Return the key on standard input, as the Latin-1 that WSGI would make of its bytes."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Key", hide_input=True, err=True)
        return typed.strip().encode("utf-8", "surrogateescape").decode("latin-1")
    piped = sys.stdin.buffer.read(LONGEST_KEY + 100)
    if not piped.strip():
        raise click.UsageError("there is no key on standard input; write: flask guard keys verify < key.txt")
    return piped.strip().decode("latin-1")
