"""Credentials that are not API keys: where a request presents them, whose they are, and how they are asked for."""

from __future__ import annotations

import base64
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Number
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from werkzeug.local import LocalProxy
from werkzeug.wrappers import Response

from ..errors import ConfigError
from ..support.callables import takes_request
from ..support.http_credentials import quoted, text_of

if TYPE_CHECKING:
    from flask import Flask, Request

LONGEST = 16384
"""Characters of credentials beyond which they are refused without being looked at (bytes, for what is in ASCII)."""

CheckBasic: TypeAlias = Callable[[str, str], Any]
"""Returns the principal whose username and password these are, or None. Plain or ``async``."""

CheckBearer: TypeAlias = Callable[[str], Any]
"""Returns the principal whose token this is, or None. Plain or ``async``."""

FindSession: TypeAlias = Callable[..., Any]
"""Returns the principal who is logged in, or None. Takes the request, or nothing. Plain or ``async``."""

Check: TypeAlias = Callable[[str], "object | None"]
"""Returns the principal whose credentials these are: what the Authorization field holds after the scheme."""


# Principals ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was authenticated, for apps that have no class for that.

    :param id: what names the principal in logs and limits.
    :param roles: what they may do; see ``require_auth(roles=…)``.
    :param claims: what else is known about them, such as the claims of a token.
    :raises TypeError: for an `id` that is no string or empty, and for roles that are no strings.
    """

    id: str
    roles: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise TypeError(f"the id of a principal must be a string that is not empty, not {self.id!r}")
        roles = frozenset((self.roles,) if isinstance(self.roles, str) else self.roles)
        if not all(isinstance(role, str) for role in roles):
            raise TypeError(f"the roles of principal {self.id!r} must be strings")
        object.__setattr__(self, "roles", roles)


def principal_from(value: object, option: str) -> object | None:
    """Return the principal that a callable of the app's returned, or None for nobody.

    Nobody is None, and also a user who says ``is_authenticated = False``, as that of Flask-Login does.

    :raises TypeError: if it is none: a bare True, for one, or a query that was not run, must not open a door.
    """
    if isinstance(value, LocalProxy):
        value = value._get_current_object()
    if value is None or getattr(value, "is_authenticated", True) is False:
        return None
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that it was never awaited
    if not value or isinstance(value, _NO_PRINCIPALS) or _is_a_mere_collection(value):
        raise TypeError(f"{option} must return a principal (an object, a mapping or an id) or None, not {_kind(value)}")
    return value


_NO_PRINCIPALS = (Number, type, FunctionType, MethodType, Response, BaseException)


def _is_a_mere_collection(value: object) -> bool:
    return (
        (isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) and not hasattr(value, "id"))
        or isinstance(value, (bytes, bytearray))
        or inspect.isawaitable(value)
    )


def _kind(value: object) -> str:
    return repr(value) if isinstance(value, bool) else f"a {type(value).__name__}"


def id_of(principal: object) -> str | None:
    """Return what names `principal`: its ``id`` (attribute or key), or itself if it is a string; else None."""
    name = principal if isinstance(principal, str) else _member(principal, "id")
    if name is None or isinstance(name, bool) or callable(name):
        return None
    return str(name) or None


def roles_of(principal: object) -> frozenset[Any]:
    """Return the ``roles`` (attribute or key) of `principal`: one string, or several in any collection.

    :raises TypeError: if they are neither.
    """
    roles = None if isinstance(principal, str) else _member(principal, "roles")
    if roles is None:
        return frozenset()
    return frozenset((roles,) if isinstance(roles, str) else cast("Iterable[Any]", roles))


def _member(principal: object, name: str) -> object:
    return principal.get(name) if isinstance(principal, Mapping) else getattr(principal, name, None)


def role_names(roles: str | Iterable[str], what: str) -> tuple[str, ...]:
    """Return `roles` as a tuple; a single string is one role.

    :raises ConfigError: if one is no string or empty.
    """
    if not isinstance(roles, Iterable):
        raise ConfigError(f"{what} must be a list of roles, not {roles!r}")
    listed = (roles,) if isinstance(roles, str) else tuple(roles)
    for role in listed:
        if not isinstance(role, str) or not role.strip():
            raise ConfigError(f"{what}: {role!r} is not a role; write several as a list: ['editor', 'admin']")
    return listed


# The app's callables ---------------------------------------------------------------------------------------------


def check_callable(call: object, option: str, *arguments: str) -> None:
    """Raise ConfigError unless `call` can be called with `arguments`."""
    wanted = f"a callable ({', '.join(arguments)}) -> principal or None"
    if isinstance(call, type):  # what it makes would be a principal, whatever the credentials
        raise ConfigError(f"{option} must be {wanted}; {call.__qualname__} is a class: give one of its instances")
    if not callable(call):
        raise ConfigError(f"{option} must be {wanted}, not {call!r}")
    try:
        inspect.signature(call).bind(*arguments)
    except ValueError:  # some builtins have no signature
        return
    except TypeError:
        raise ConfigError(f"{option} must be {wanted}; {call!r} takes other arguments") from None


def check_session(call: object) -> None:
    """Raise ConfigError unless `call` can be called with the request, or with nothing."""
    option = "require_auth(session=…)"
    if isinstance(call, type) or not callable(call):
        check_callable(call, option, "request")
    takes_request(_as_plain(cast("FindSession", call), lambda call: call), option)


def _as_plain(call: Callable[..., Any], to_plain: Callable[..., Any]) -> Callable[..., Any]:
    """Return `call`, or for an ``async`` one a plain function of the same signature that calls ``to_plain(call)``."""
    if not (inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)):
        return call
    plain = to_plain(call)
    return functools.wraps(call)(lambda *arguments: plain(*arguments))


# The schemes -----------------------------------------------------------------------------------------------------


def basic(call: CheckBasic, app: Flask) -> Check:
    """Return what hands the credentials of the Basic scheme (RFC 7617) to `call`."""
    verify = _as_plain(call, app.async_to_sync)

    def check(presented: str) -> object | None:
        found = username_and_password(presented)
        return None if found is None else principal_from(verify(*found), "require_auth(basic=…)")

    return check


def username_and_password(presented: str) -> tuple[str, str] | None:
    """Return the two, or None if `presented` is malformed (RFC 7617, section 2: UTF-8, no control characters)."""
    try:
        text = base64.b64decode(presented, validate=True).decode("utf-8")
    except ValueError:
        return None
    username, colon, password = text.partition(":")
    return (username, password) if colon and not _has_control_character(text) else None


def bearer(call: CheckBearer, app: Flask) -> Check:
    """Return what hands the token of the Bearer scheme (RFC 6750) to `call`."""
    verify = _as_plain(call, app.async_to_sync)

    def check(presented: str) -> object | None:
        token = text_of(presented)
        return None if _has_control_character(token) else principal_from(verify(token), "require_auth(bearer=…)")

    return check


def session(call: FindSession, app: Flask) -> Callable[[Request], object | None]:
    """Return what asks `call` who is logged in."""
    find = takes_request(_as_plain(call, app.async_to_sync), "require_auth(session=…)")
    return lambda request: principal_from(find(request), "require_auth(session=…)")


def _has_control_character(text: str) -> bool:
    return not text.isprintable() and any(c < " " or c == "\x7f" for c in text)


def challenges(schemes: Iterable[str], realm: str, bearer_error: str = "") -> list[tuple[str, str]]:
    """Return a WWW-Authenticate field for each of `schemes` (RFC 9110, section 11.6.1).

    Where there is none, as a login session has no scheme of HTTP's, the challenge is ``Session``: a 401 must carry one,
    and browsers take no notice of a scheme that they do not know.
    """
    shown = quoted(realm)
    words = {"basic": f'Basic realm={shown}, charset="UTF-8"', "bearer": f"Bearer realm={shown}{bearer_error}"}
    return [("WWW-Authenticate", words[scheme]) for scheme in schemes] or [
        ("WWW-Authenticate", f"Session realm={shown}")
    ]
