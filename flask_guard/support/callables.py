"""Callbacks: their signature is looked at once, where they are given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ..errors import ConfigError

if TYPE_CHECKING:
    from flask import Flask


def is_async(call: Callable[..., Any]) -> bool:
    """Return whether `call` is an ``async`` function, or an object with an ``async`` method ``__call__``."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)


def synchronous(app: Flask, call: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Return `call` as a plain function: an ``async`` one as `app` runs its ``async`` views.

    :raises ConfigError: if it is ``async``, and Flask lacks the extra that runs such functions.
    """
    if not is_async(call):
        return call
    try:  # Flask does not see that an object is async
        return app.ensure_sync(call) if inspect.iscoroutinefunction(call) else app.async_to_sync(call)
    except RuntimeError as error:
        raise ConfigError(f"{what} is async, and Flask needs an extra for that: pip install 'flask[async]'") from error


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
