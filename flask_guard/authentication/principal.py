"""Principals: the callers that the app's callables recognise, each with an id and roles."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Number
from types import FunctionType, MethodType
from typing import Any, cast

from werkzeug.local import LocalProxy
from werkzeug.wrappers import Response

from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, for apps that have no class of their own for one.

    :param id: the name of the principal in logs and limits.
    :param roles: the roles that ``require_auth(roles=…)`` asks for.
    :param claims: other facts about the principal, such as the claims of a token.
    :raises TypeError: for an `id` that is empty or not a string, and for a role that is not a string.
    """

    id: str
    roles: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise TypeError(f"the id of a principal must be a non-empty string, not {self.id!r}")
        roles = frozenset((self.roles,) if isinstance(self.roles, str) else self.roles)
        if not all(isinstance(role, str) for role in roles):
            raise TypeError(f"the roles of principal {self.id!r} must be strings")
        object.__setattr__(self, "roles", roles)


def principal_from(value: object, option: str) -> object | None:
    """Return the principal that a callable of the app returned, or None if the callable recognised nobody.

    A user with ``is_authenticated = False``, as Flask-Login has, counts as nobody: an attribute, a method or a key.

    :raises TypeError: for any other value. A bare True, or a query that was not run, must let nobody in.
    """
    if isinstance(value, LocalProxy):
        value = value._get_current_object()
    if value is None or not _is_authenticated(value):
        return None
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that the coroutine was never awaited
    if not value or isinstance(value, _NO_PRINCIPALS) or _is_a_mere_collection(value):
        shown = repr(value) if isinstance(value, bool) else f"a {type(value).__name__}"
        raise TypeError(f"{option} must return a principal (an object, a mapping or an id) or None, not {shown}")
    return value


def _is_authenticated(value: object) -> bool:
    found = _member(value, "is_authenticated", True)
    return bool(found() if callable(found) else found)


_NO_PRINCIPALS = (Number, type, FunctionType, MethodType, Response, BaseException)


def _is_a_mere_collection(value: object) -> bool:
    return (
        (isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) and not hasattr(value, "id"))
        or isinstance(value, (bytes, bytearray))
        or inspect.isawaitable(value)
    )


def id_of(principal: object) -> str | None:
    """Return the name of `principal`: its ``id`` (attribute or key), or itself if it is a string; else None."""
    name = principal if isinstance(principal, str) else _member(principal, "id")
    if name is None or isinstance(name, bool) or callable(name):
        return None
    return str(name) or None


def roles_of(principal: object) -> frozenset[Any]:
    """Return the ``roles`` (attribute or key) of `principal`: one string, or a collection.

    Of a mapping, as ``{"admin": False}``, those whose value is true count.

    :raises TypeError: if the roles are neither.
    """
    roles = None if isinstance(principal, str) else _member(principal, "roles")
    if roles is None:
        return frozenset()
    if isinstance(roles, Mapping):
        return frozenset(role for role, has in roles.items() if has)
    return frozenset((roles,) if isinstance(roles, str) else cast("Iterable[Any]", roles))


def _member(principal: object, name: str, default: object = None) -> Any:
    return principal.get(name, default) if isinstance(principal, Mapping) else getattr(principal, name, default)


# The option ``roles`` ----------------------------------------------------------------------------------------------


def role_names(roles: object, what: str) -> tuple[str, ...]:
    """Check for roles; a single string is one role. Return a tuple."""
    if not isinstance(roles, Iterable):
        raise ConfigError(f"{what} must be a list of roles, not {roles!r}")
    listed = (roles,) if isinstance(roles, str) else tuple(roles)
    for role in listed:
        if not isinstance(role, str) or not role.strip() or "," in role:
            raise ConfigError(f"{what}: {role!r} is not a role; write several as a list: ['editor', 'admin']")
    return listed


def roles_check(every: Iterable[str], any_of: Iterable[str]) -> Callable[[object], bool]:
    """Return a function that checks a principal for every role of one set, and for at least one of another."""
    every, any_of = frozenset(every), frozenset(any_of)
    if not every and not any_of:
        return lambda _principal: True

    def may_pass(principal: object) -> bool:
        roles = roles_of(principal)
        return every <= roles and not (any_of and any_of.isdisjoint(roles))

    return may_pass
