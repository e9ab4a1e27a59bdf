"""Callbacks: their signature is looked at once, where they are given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

from ..errors import ConfigError


def takes_request(callback: Callable[..., Any], what: str) -> Callable[[Any], Any]:
    """Return `callback`, which may take the request or nothing, as a function of one argument, the request.

    :raises ConfigError: if it is not callable, is ``async`` or needs several arguments.
    """
    return _fitting(callback, what, "request", "must take the request, or nothing", (("request",), ()))


def of_request(value: Any, what: str) -> Callable[..., Any]:
    """Check for a callable that takes the request, or nothing."""
    takes_request(value, what)
    return cast("Callable[..., Any]", value)


def of_response(value: Any, what: str) -> Callable[..., Any]:
    """Check for a callable that takes the response."""
    _fitting(value, what, "response", "must take the response", (("response",),))
    return cast("Callable[..., Any]", value)


def _fitting(
    callback: Callable[..., Any], what: str, waiting: str, wanted: str, offered: tuple[tuple[str, ...], ...]
) -> Callable[[Any], Any]:
    if not callable(callback):
        raise ConfigError(f"{what} must be a callable, not {callback!r}")
    if inspect.iscoroutinefunction(callback):
        raise ConfigError(f"{what}: {callback!r} is async; it is called while the {waiting} waits, so make it plain")
    try:
        signature = inspect.signature(callback)
    except ValueError:  # some builtins have none
        return callback
    for arguments in offered:
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return callback if arguments else lambda _request: callback()
    raise ConfigError(f"{what}: {callback!r} {wanted}")
