"""The schemes of credentials: Basic and Bearer in the Authorization field, and the app's login session."""

from __future__ import annotations

import base64
import functools
import hashlib
import inspect
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from flask import Flask, Request

from ..core.app_state import AppState
from ..core.request_run import Run
from ..errors import ConfigError
from ..rate_limits.failures import FailureLimit
from ..rate_limits.identity import address_of
from ..support.callables import is_async, synchronous, takes_request
from ..support.http_credentials import text_of
from ..support.options import Check
from ..support.orders import plain
from .principal import principal_from
from .refusals import Refusals

LONGEST = 16384
"""The longest credentials, in characters. Longer ones are refused unread."""

TIMES_BY_ADDRESS = 5
"""The wrong passwords that one address may send for all user names, as a multiple of those for one name."""

CheckBasic: TypeAlias = Callable[[str, str], Any]
"""Returns the principal with this username and password, or None. Plain or ``async``."""

CheckBearer: TypeAlias = Callable[[str], Any]
"""Returns the principal that a token stands for, or None. Plain or ``async``."""

FindSession: TypeAlias = Callable[..., Any]
"""Returns the principal that is logged in, or None. Takes the request, or nothing. Plain or ``async``."""

Verify: TypeAlias = Callable[[Run, str], object]
"""Returns the principal with these credentials, which follow the scheme in the Authorization field, or refuses them."""


def bearer(call: CheckBearer, state: AppState, failures: str | None, refusals: Refusals) -> Verify:
    """Return the check of a token (RFC 6750).

    Invalid tokens are counted by address. A valid token passes, however many were counted.
    """
    find = _as_plain(call, state.app)
    limit = FailureLimit(state, failures, {"auth": 1}, policy=Refusals.KIND, credentials="credentials")

    def verify(run: Run, presented: str) -> object:
        if not presented:
            raise refusals.malformed()
        token = text_of(presented)
        is_readable = len(presented) <= LONGEST and not _has_control_character(token)
        principal = principal_from(find(token), "require_auth(bearer=…)") if is_readable else None
        if principal is None:
            limit.count(address_of(run))
            raise refusals.invalid("bearer")
        return principal

    return verify


def basic(call: CheckBasic, state: AppState, failures: str | None, refusals: Refusals) -> Verify:
    """Return the check of a username and a password (RFC 7617).

    Passwords can be guessed, so a guess past the limit is refused, even a right one. The limit is checked before the
    app is asked, and again before a right password is accepted: simultaneous guesses all pass the first check. Nothing
    is reserved in advance, because a page may send the right password many times at once.

    The limit holds for a user name at an address and, a few times as high, for the address. A program that repeats an
    old password therefore locks out that name, and nobody else behind the same address.
    """
    find = _as_plain(call, state.app)
    budgets = {"password": TIMES_BY_ADDRESS, "password-name": 1}
    limit = FailureLimit(state, failures, budgets, policy=Refusals.KIND, credentials="credentials")

    def verify(run: Run, presented: str) -> object:
        found = username_and_password(presented) if len(presented) <= LONGEST else None
        counted_by = _identities(address_of(run), found[0] if found is not None else "")
        limit.check(*counted_by)
        principal = principal_from(find(*found), "require_auth(basic=…)") if found is not None else None
        if principal is None:
            limit.count(*counted_by)
            raise refusals.invalid("basic")
        limit.check(*counted_by)
        return principal

    return verify


def _identities(address: str, username: str) -> tuple[str, str]:
    """Return the identities that wrong passwords are counted by.

    A name is hashed, because people type their password there. Upper and lower case count as one name, as in many apps.
    """
    name = hashlib.sha256(username.casefold().encode()).hexdigest()[:32]
    return address, f"{address}+{name}"


def username_and_password(presented: str) -> tuple[str, str] | None:
    """Return both, or None if `presented` is malformed: not base64, without a colon, or with a control character.

    The challenge asks for UTF-8 (RFC 7617, section 2.1). Older clients send Latin-1.
    """
    try:
        raw = base64.b64decode(presented, validate=True)
    except ValueError:
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    username, colon, password = text.partition(":")
    return (username, password) if colon and not _has_control_character(text) else None


def session(call: FindSession, state: AppState) -> Callable[[Request], object | None]:
    """Return a function that asks `call` for the principal that is logged in."""
    find = takes_request(_as_plain(call, state.app), SESSION)
    return lambda request: principal_from(find(request), SESSION)


def _has_control_character(text: str) -> bool:
    return not text.isprintable() and any(c < " " or "\x7f" <= c <= "\x9f" for c in text)


def _as_plain(call: Callable[..., Any], app: Flask | None) -> Callable[..., Any]:
    """Return `call`, or for an ``async`` callable a plain function with the same signature."""
    if not is_async(call):
        return call
    plain = synchronous(app, call, "a function of require_auth") if app is not None else call
    return functools.wraps(call)(lambda *arguments: plain(*arguments))


# The options ------------------------------------------------------------------------------------------------------

SESSION = "require_auth(session=…)"


def callable_with(*arguments: str) -> Check[Callable[..., Any]]:
    """Return a check for a callable that takes `arguments` and returns a principal or None."""

    def check(call: Any, what: str) -> Callable[..., Any]:
        wanted = f"a callable ({', '.join(arguments)}) -> principal or None"
        if isinstance(call, type):  # calling a class makes an object, which is a principal whatever the credentials
            raise ConfigError(f"{what} must be {wanted}; {call.__qualname__} is a class: give one of its instances")
        if not callable(call):
            raise ConfigError(f"{what} must be {wanted}, not a {type(call).__name__}")
        try:
            inspect.signature(call).bind(*arguments)
        except ValueError:  # some builtins have no signature
            pass
        except TypeError:
            raise ConfigError(f"{what} must be {wanted}; the {plain(call)} takes other arguments") from None
        return cast("Callable[..., Any]", call)

    return check


def finds_session(call: Any, what: str) -> FindSession:
    """Check for a callable that takes the request, or nothing, and returns a principal or None."""
    if isinstance(call, type) or not callable(call):
        callable_with("request")(call, what)
    takes_request(_as_plain(call, None), what)
    return cast("FindSession", call)
