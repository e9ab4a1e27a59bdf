"""The functions inside wrappers, from the outermost one inwards.

A wrapper made with `functools.wraps`, a partial and a method name the function inside. Other wrappers are opaque: their
closure or their attributes are searched.
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
"""The largest number of wrappers around a function."""
MOST = 200
"""The largest number of objects in the search from one view."""


class Found(NamedTuple):
    """A callable, and how it was found.

    :ivar through: the opaque wrapper that it was found in; None without one.
    """

    function: Any
    through: Any | None


def unwrapped(function: Any) -> Iterator[Any]:
    """Yield `function` and the functions that its wrappers name, outside in."""
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = _named(function)


def inside(function: Any, is_view: Callable[[Any], bool]) -> Iterator[Found]:
    """Yield `function` and every callable that can be found in it, the nearest first.

    :param is_view: returns whether a callable is registered as another view. Such a callable is left out of an opaque
        wrapper.
    """
    queue = deque([(Found(function, None), 0)])
    seen = {id(function)}
    while queue and len(seen) < MOST:
        found, depth = queue.popleft()
        yield found
        named = _named(found.function)
        inner = [Found(named, found.through)] if named is not None else []
        if not inner:
            inner = [Found(each, found.function) for each in _hidden(found.function) if not is_view(each)]
        if depth < DEEPEST:
            new = [each for each in inner if id(each.function) not in seen]
            seen.update(id(each.function) for each in new)
            queue.extend((each, depth + 1) for each in new)


def layers(function: Any) -> Iterator[Any]:
    """Yield `function` and the functions that it wraps, outside in.

    An opaque wrapper wraps the first function that is found in it. A function without arbitrary keyword arguments wraps
    nothing: it only uses the functions of its closure.
    """
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = _named(function) or (next(_hidden(function), None) if _may_wrap(function) else None)


def _may_wrap(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is None or bool(code.co_flags & inspect.CO_VARKEYWORDS)


def _named(function: Any) -> Any | None:
    """Return the function that a wrapper names."""
    if isinstance(function, functools.partial):
        return function.func
    if isinstance(function, MethodType):
        return function.__func__
    named = getattr(function, "__wrapped__", None)
    return named if named is not None and callable(named) else None


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
