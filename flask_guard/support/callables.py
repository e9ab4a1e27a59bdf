"""Callbacks that may take the request, or nothing: found out once, from the signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError


def takes_request(callback: Callable[..., Any], what: str) -> Callable[[Any], Any]:
    """Return `callback` as a function of one argument, the request.

    :raises ConfigError: if it is ``async`` or needs several arguments.
    """
    if inspect.iscoroutinefunction(callback):
        raise ConfigError(f"{what}: {callback!r} is async; it is called while the request waits, so make it plain")
    try:
        signature = inspect.signature(callback)
    except ValueError:  # some builtins have none
        return callback
    for arguments, call in ((("request",), callback), ((), lambda _request: callback())):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return call
    raise ConfigError(f"{what}: {callback!r} must take the request, or nothing")
