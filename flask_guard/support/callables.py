"""Callbacks, whose signature is checked once, where an app passes them."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Flask

from ..errors import ConfigError

T = TypeVar("T")


def is_async(call: Callable[..., Any]) -> bool:
    """Return whether `call` is an ``async`` function, or an object with an ``async`` method ``__call__``."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)


def synchronous(app: Flask, call: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Return `call` as a plain function. An ``async`` one runs as an ``async`` view of `app` does.

    :raises ConfigError: for an ``async`` one, if Flask lacks the extra for such functions.
    """
    if not is_async(call):
        return call
    try:  # Flask does not recognise an async object
        return app.ensure_sync(call) if inspect.iscoroutinefunction(call) else app.async_to_sync(call)
    except RuntimeError as error:
        raise ConfigError(f"{what} is async, and Flask needs an extra for that: pip install 'flask[async]'") from error


def while_alive(owner: T, call: Callable[[T], object]) -> Callable[[], None]:
    """Return a function that calls `call` with `owner`, for hooks of the process, which must not keep `owner` alive."""
    known = weakref.ref(owner)

    def call_if_alive() -> None:
        alive = known()
        if alive is not None:
            call(alive)

    return call_if_alive


def takes_request(callback: Callable[..., Any], what: str) -> Callable[[Any], Any]:
    """Return `callback`, which takes the request or nothing, as a function of the request.

    :raises ConfigError: if `callback` is not callable, is ``async``, or takes other arguments.
    """
    return fitting(callback, what, "request", "must take the request, or nothing", (("request",), ()))


def of_request(value: Any, what: str) -> Callable[..., Any]:
    """Check for a callable that takes the request, or nothing."""
    takes_request(value, what)
    return cast("Callable[..., Any]", value)


def of_response(value: Any, what: str) -> Callable[..., Any]:
    """Check for a callable that takes the response."""
    fitting(value, what, "response", "must take the response", (("response",),))
    return cast("Callable[..., Any]", value)


def fitting(
    callback: Callable[..., Any], what: str, waiting: str, wanted: str, offered: tuple[tuple[str, ...], ...]
) -> Callable[[Any], Any]:
    """Return `callback` as a function of one argument.

    :param waiting: the object that waits for the callback, for the message about an ``async`` one.
    :param wanted: the requirement, for the message about other arguments.
    :param offered: samples of the arguments with which the callback may be called.
    :raises ConfigError: if `callback` is not callable, is ``async``, or takes other arguments.
    """
    if not callable(callback):
        raise ConfigError(f"{what} must be a callable, not {callback!r}")
    refuse_async(callback, what, waiting)
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


def refuse_async(callback: Callable[..., Any], what: str, waiting: str) -> None:
    """Raise ConfigError for an ``async`` callback: the `waiting` object waits while the callback runs."""
    if inspect.iscoroutinefunction(callback):
        raise ConfigError(f"{what}: {callback!r} is async, but the {waiting} waits for it: write a plain function")
