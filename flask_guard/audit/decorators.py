"""Decorators of other packages and of the app itself around a view, recognised by their modules.

No package is imported for that: one that is not imported decorates no view.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import CodeType, FunctionType, MappingProxyType, MethodType
from typing import Any, TypeAlias

from flask import Flask

from ..core.facts import Foreign
from ..core.marks import applied_to
from ..core.views import method_functions
from ..core.wrappers import layers
from ..typing import ViewFunction


@dataclass(frozen=True, slots=True)
class Layer:
    """A wrapper around a view, or the view itself.

    :ivar code: the code that a call of the wrapper runs. None if the wrapper is not written in Python.
    :ivar foreign: the facts about the wrapper. None for the view itself, and for wrappers that never refuse.
    """

    function: Any
    code: CodeType | None
    foreign: Foreign | None = None


def layers_of(app: Flask, view: ViewFunction, method: str) -> list[Layer]:
    """Return the wrappers around the view of an endpoint, outside in, and then the function inside.

    :param method: the method of the requests, for a class-based view.
    """
    found = list(_layers(app, view))
    for function in method_functions(view, method):
        if getattr(function, "__module__", "") != "flask.views":
            found += _layers(app, function)
    return found


def innermost(view: ViewFunction, method: str) -> Any:
    """Return the function that serves `method`, without its decorators."""
    functions = method_functions(view, method)
    chain = _chain(functions[-1] if functions else view)
    return chain[-1] if chain else view


def _chain(function: ViewFunction) -> list[Any]:
    return [each for each in layers(function) if not _is_own(each) and not isinstance(each, (MethodType, partial))]


def _layers(app: Flask, function: ViewFunction) -> Iterator[Layer]:
    chain = _chain(function)
    for wrapper in chain[:-1]:
        yield Layer(wrapper, code_of(wrapper), _recognised(app, wrapper))
    for inner in chain[-1:]:
        yield Layer(inner, code_of(inner))


def _is_own(function: Any) -> bool:
    applied = applied_to(function)
    return applied is not None and applied.shim is function


def code_of(function: Any) -> CodeType | None:
    """Return the code that a call of `function` runs. None if it is not written in Python."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None and not isinstance(function, type):
        code = getattr(getattr(type(function).__call__, "__func__", type(function).__call__), "__code__", None)
    return code if isinstance(code, CodeType) else None


def module_of(function: Any) -> str:
    """Return the name of the module in which a function or class is written, whatever `functools.wraps` says."""
    if isinstance(function, type):
        return function.__module__
    written = getattr(function, "__func__", function)
    namespace = getattr(written, "__globals__", None)
    name = namespace.get("__name__") if namespace is not None else type(written).__module__
    return str(name or "")


def site_of_code(code: CodeType | None) -> str | None:
    """Return the ``file:line`` of code."""
    return f"{code.co_filename}:{max(code.co_firstlineno, 1)}" if code is not None else None


def closure_of(function: Any) -> dict[str, Any]:
    """Return the variables in the closure of a function, by name."""
    kept: dict[str, Any] = {}
    if isinstance(function, FunctionType):
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # an empty cell
                kept[name] = cell.cell_contents
    return kept


# Recognising them --------------------------------------------------------------------------------------------------

Recognise: TypeAlias = "Callable[[Flask, Any], Foreign | None]"


def _recognised(app: Flask, wrapper: Any) -> Foreign | None:
    """Return the facts about a wrapper. An unknown decorator may refuse requests."""
    module = module_of(wrapper)
    known = KNOWN.get(module.partition(".")[0])
    if known is not None:
        return known(app, wrapper)
    site = site_of_code(code_of(wrapper))
    return Foreign(f"{module}.{_decorator_name(wrapper)}", "unknown", "a decorator that may refuse", site=site)


def _decorator_name(wrapper: Any) -> str:
    """Return the name of the decorator that made `wrapper`."""
    if not isinstance(wrapper, FunctionType):
        return type(wrapper).__qualname__
    qualname: str = getattr(wrapper.__code__, "co_qualname", "") or _found_qualname(wrapper)
    return qualname.partition(".<locals>")[0].removesuffix(".__call__")


def _found_qualname(wrapper: FunctionType) -> str:
    """Return the name of the global function around a wrapper, whose code has no name before Python 3.11."""
    code = wrapper.__code__
    for name, value in wrapper.__globals__.items():
        outer = getattr(value, "__code__", None)
        if isinstance(outer, CodeType) and _contains(outer, code):
            return str(name)
    return code.co_name


def _contains(outer: CodeType, code: CodeType) -> bool:
    return any(each is code or _contains(each, code) for each in outer.co_consts if isinstance(each, CodeType))


def _flask_login(app: Flask, wrapper: Any) -> Foreign | None:
    if app.config.get("LOGIN_DISABLED"):
        return Foreign("Flask-Login", "unknown", "login_required, switched off by LOGIN_DISABLED", is_idle=True)
    name = "fresh_login_required" if "login_fresh" in wrapper.__code__.co_names else "login_required"
    return Foreign("Flask-Login", "authentication", name)


def _flask_jwt_extended(_app: Flask, wrapper: Any) -> Foreign | None:
    given = closure_of(wrapper)
    if given.get("optional"):
        detail = "jwt_required(optional=True): lets requests without a token in"
        return Foreign("Flask-JWT-Extended", "unknown", detail, is_idle=True)
    named = [f"{option}=True" for option in ("fresh", "refresh") if given.get(option)]
    return Foreign("Flask-JWT-Extended", "authentication", f"jwt_required({', '.join(named)})")


def _flask_httpauth(_app: Flask, wrapper: Any) -> Foreign | None:
    given = closure_of(wrapper)
    auth = given.get("self")
    scheme = type(auth).__name__ if auth is not None else "login_required"
    if given.get("optional"):
        detail = f"{scheme}, optional: lets requests without credentials in"
        return Foreign("Flask-HTTPAuth", "unknown", detail, is_idle=True)
    role = f", role {given['role']!r}" if given.get("role") is not None else ""
    return Foreign("Flask-HTTPAuth", "authentication", f"{scheme}{role}")


def _flask_cors(_app: Flask, wrapper: Any) -> Foreign | None:
    origins = (closure_of(wrapper).get("_options") or {}).get("origins")
    return Foreign("Flask-CORS", "cors", f"cross_origin, origins {shown_origins(origins)}")


def shown_origins(origins: Any) -> str:
    """Return the origins of Flask-CORS's options. Its default is every origin."""
    listed = origins if isinstance(origins, (list, tuple, set)) else [origins]
    shown = ["*" if each in (None, ".*", "*") else getattr(each, "pattern", each) for each in listed]
    return ", ".join("*" if each == ".*" else str(each) for each in shown) or "*"


def _no_facts(_app: Flask, _wrapper: Any) -> Foreign | None:
    """Return None: wrappers of this package are described elsewhere, or never refuse."""
    return None


KNOWN: Mapping[str, Recognise] = MappingProxyType(
    {
        "flask_login": _flask_login,
        "flask_jwt_extended": _flask_jwt_extended,
        "flask_httpauth": _flask_httpauth,
        "flask_cors": _flask_cors,
        "flask_limiter": _no_facts,
        "flask_compress": _no_facts,
        "flask": _no_facts,
        "asgiref": _no_facts,
    }
)
"""The packages whose decorators are known."""
