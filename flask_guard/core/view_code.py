"""Facts from the code of views and hooks, without running it: the names in it, and whether a hook may answer."""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from werkzeug import exceptions

from ..typing import ViewFunction
from .views import method_functions
from .wrappers import inside

_REFUSING = frozenset(
    {"abort", "redirect", *(name for name in vars(exceptions) if name[:1].isupper() and not name.startswith("HTTP"))}
)
"""The names in a function that answers a request by an exception or a redirect."""


def methods_of(view: ViewFunction) -> tuple[str, ...]:
    """Return the declared methods of a class-based view."""
    methods = getattr(view, "methods", None)
    return tuple(methods) if methods else ()


def functions_in(view: ViewFunction, method: str | None = None) -> Iterator[Any]:
    """Yield the functions of a view, also inside decorators.

    :param method: one method of a class-based view; by default all of them.
    """
    methods = methods_of(view) if method is None else (method,)
    for root in (view, *(each for name in methods for each in method_functions(view, name))):
        for found in inside(root, is_view=lambda _: False):
            if hasattr(found.function, "__globals__"):
                yield found.function


def mentions(function: Callable[..., Any]) -> Iterator[str]:
    """Yield the names that the code of a function uses, and the text in it."""
    for code in codes_in(function):
        yield from code.co_names
        yield from (each for each in code.co_consts if isinstance(each, str))


def may_answer(function: Callable[..., Any]) -> bool:
    """Return whether a ``before_request`` hook may answer the request: it returns something, or aborts."""
    found = (each.function for each in inside(function, is_view=lambda _: False))
    codes = [each.__code__ for each in found if hasattr(each, "__code__")]
    return not codes or any(not _REFUSING.isdisjoint(each.co_names) or _returns_something(each) for each in codes)


def _returns_something(code: CodeType) -> bool:
    before: dis.Instruction | None = None
    for each in dis.get_instructions(code):
        if each.opname == "RETURN_CONST" and each.argval is not None:
            return True
        if each.opname == "RETURN_VALUE" and not (before and before.opname == "LOAD_CONST" and before.argval is None):
            return True
        before = each
    return False


def codes_in(function: Callable[..., Any]) -> Iterator[CodeType]:
    """Yield the code of a function, and of the functions that are written in it."""
    waiting = [code] if isinstance(code := getattr(function, "__code__", None), CodeType) else []
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]
