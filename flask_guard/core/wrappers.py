"""Looking through other people's wrappers: from what is registered, or decorated, to the functions inside.

`functools.wraps` says what a wrapper wraps, and so do partials and methods. Others are opaque: what they wrap is found
in their closure or among their attributes.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from werkzeug.local import LocalProxy

from ..typing import Scaffold
from .marks import Site

DEEPEST = 6
"""Wrappers around a function that are looked through."""
MOST = 200
"""Objects that are looked at, from one view."""


class Found(NamedTuple):
    """A callable, and how it was found.

    :ivar through: the opaque wrapper that it was found in; None if every wrapper around it says what it wraps.
    """

    function: Any
    through: Any | None


def unwrapped(function: Any) -> Iterator[Any]:
    """Yield `function` and what it says that it wraps, outside in."""
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = _said(function)


def inside(function: Any, is_view: Callable[[Any], bool]) -> Iterator[Found]:
    """Yield `function` and every callable that can be found in it, the nearest first.

    :param is_view: whether a callable is registered as a view of its own: that is not what an opaque wrapper hides.
    """
    queue = deque([(Found(function, None), 0)])
    seen = {id(function)}
    while queue and len(seen) < MOST:
        found, depth = queue.popleft()
        yield found
        said = _said(found.function)
        inner = [Found(said, found.through)] if said is not None else []
        if not inner:
            inner = [Found(each, found.function) for each in _hidden(found.function) if not is_view(each)]
        if depth < DEEPEST:
            new = [each for each in inner if id(each.function) not in seen]
            seen.update(id(each.function) for each in new)
            queue.extend((each, depth + 1) for each in new)


def layers(function: Any) -> Iterator[Any]:
    """Yield `function` and what it wraps, outside in, as far as one leads to the next.

    What an opaque wrapper wraps is the first function that is found in it. A function that takes no arbitrary keyword
    arguments wraps nothing: what it has in its closure it merely uses.
    """
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = _said(function) or (next(_hidden(function), None) if _may_wrap(function) else None)


def _may_wrap(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is None or bool(code.co_flags & inspect.CO_VARKEYWORDS)


def _said(function: Any) -> Any | None:
    """Return what `function` says that it wraps."""
    if isinstance(function, functools.partial):
        return function.func
    if isinstance(function, MethodType):
        return function.__func__
    said = getattr(function, "__wrapped__", None)
    return said if said is not None and callable(said) else None


def _hidden(function: Any) -> Iterator[Any]:
    """Yield the callables in the closure of a function, or among the attributes of a callable object."""
    values: list[Any] = []
    if isinstance(function, FunctionType):
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty cell
                values.append(cell.cell_contents)
    elif not isinstance(function, type):
        values += getattr(function, "__dict__", {}).values()
        for cls in type(function).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                with contextlib.suppress(AttributeError):
                    values.append(getattr(function, name))
    for value in values:
        if not issubclass(type(value), (type, LocalProxy, Scaffold)) and callable(value):
            yield value


def stands_among_decorators(site: Site, function: object) -> bool:
    """Return whether `site` is among the lines of the decorators of `function`, or of a lambda."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None or code.co_filename != site.file or site.file.startswith("<"):
        return False
    first = code.co_firstlineno
    body = min((line for _, _, line in code.co_lines() if line is not None and line > first), default=first)
    return bool(first <= site.line <= body)
