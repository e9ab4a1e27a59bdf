"""Write your own policy as a function: it acts on the request before its ``yield``, and on the response after it.

::

    @middleware
    def tenant(request, *, header="X-Tenant"):
        if header not in request.headers:
            return {"error": "no tenant"}, 400      # the view does not run
        g.tenant = request.headers[header]
        response = yield                            # the view, and every inner policy
        response.headers[header] = g.tenant

    @app.get("/orders")
    @tenant(header="X-Org")
    def orders(): ...
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from dataclasses import dataclass, replace
from inspect import Parameter
from typing import TYPE_CHECKING, Any, ClassVar, overload

from werkzeug.exceptions import HTTPException

from .core.denials import Denied
from .core.flask_versions import handle_user_exception
from .core.hooks import made_response
from .core.policy import DenyingPolicy, Phase, Step, Target
from .core.report_mode import note_denial, note_report
from .core.request_run import Enter, Run, Slot
from .errors import ConfigError
from .support.callables import synchronous
from .support.orders import plain, represented
from .support.text import did_you_mean
from .typing import Flask, Mode, Response, TargetT

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Middleware(DenyingPolicy):
    """A policy made from a function by :func:`middleware`. Its options are the function's keyword-only parameters.

    A response or ``abort`` with a status from 400 to 499 is a refusal. With ``mode="report"`` a refusal is logged, and
    the request continues.
    """

    kind: ClassVar[str] = "middleware"

    function: Callable[..., Any]
    options: tuple[tuple[str, Any], ...] = ()
    when: Phase = Phase.CUSTOM

    if TYPE_CHECKING:

        @overload
        def __call__(self, target: TargetT, /) -> TargetT: ...
        @overload
        def __call__(self, **options: Any) -> Middleware: ...
        def __call__(self, *args: Any, **options: Any) -> Any: ...

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def key(self) -> Hashable:
        return self.function

    @property
    def phase(self) -> Phase:  # type: ignore[override]  # it depends on an option
        return self.when

    def refine(self, *args: Any, **options: Any) -> Self:
        if args:
            raise TypeError(
                f"{self.name}() takes options by keyword, or one view, View class, blueprint or app: {args!r}"
            )
        known = _options(self.function)
        mode = options.pop("mode", self.mode)
        for name in options:
            if name not in known:
                raise TypeError(f"{self.name}() has no option {name!r}{did_you_mean(name, [*known, 'mode'])}")
        return replace(self, options=tuple({**dict(self.options), **options}.items()), mode=mode)

    def check_target(self, target: object) -> None:
        known, given = _options(self.function), dict(self.options)
        missing = [name for name, default in known.items() if default is Parameter.empty and name not in given]
        if missing:
            raise ConfigError(f"{self.name} needs the option {missing[0]!r}: @{self.name}({missing[0]}=…)")

    def plain_options(self) -> dict[str, Any]:
        values = {**_options(self.function), **dict(self.options)}
        given = {name: value for name, value in values.items() if value is not Parameter.empty}
        return {"mode": self.mode, **{name: plain(value, name) for name, value in given.items()}}

    @classmethod
    def default_options(cls) -> dict[str, Any]:
        return {"mode": None}

    def compile(self, target: Target) -> Step:
        options = dict(self.options)
        mode = self.mode_in(target.state)
        if _yields(self.function):
            around = _Around(self.name, self.function, options, target.app)
            return Step(_refusing(around.enter, self.name, mode), around.leave, around.teardown)
        call = synchronous(target.app, self.function, f"middleware {self.name}")
        return Step(_refusing(lambda run: call(run.request, **options), self.name, mode))

    def __repr__(self) -> str:
        mode = {"mode": self.mode} if self.mode is not None else {}
        options = ", ".join(
            f"{name}={represented(name, value)}" for name, value in {**dict(self.options), **mode}.items()
        )
        return f"{self.name}({options})" if options else self.name


@overload
def middleware(function: Callable[..., Any], /) -> Middleware: ...
@overload
def middleware(*, phase: Phase = Phase.CUSTOM) -> Callable[[Callable[..., Any]], Middleware]: ...
def middleware(
    function: Callable[..., Any] | None = None, /, *, phase: Phase = Phase.CUSTOM
) -> Middleware | Callable[[Callable[..., Any]], Middleware]:
    """Make a policy of a function that takes the request and keyword-only options.

    Without a ``yield`` the function runs before the view. A return value is the response, and the view does not run.

    A ``yield`` gives the response of the view and of every inner policy, error responses included. The function may
    change the response, or return another. An exception is handled like an exception of the view, so ``abort(403)``
    answers from anywhere. A ``finally:`` always runs, at the latest when the request is torn down.

    The function may be ``async``. Python does not let an async generator return a value, so it yields a response::

        @middleware
        async def tenant(request):
            if "X-Tenant" not in request.headers:
                yield {"error": "no tenant"}, 400       # the view does not run
                return
            response = yield
            if response.status_code == 404:
                yield {"error": "no such thing"}, 404   # in place of the response

    :param phase: the phase in which the policy acts; see :class:`Phase`.
    :raises ConfigError: if the function does not take one positional argument, the request.
    """
    if function is None:
        return lambda function: middleware_in(function, phase)
    return middleware_in(function, phase)


def middleware_in(function: Callable[..., Any], phase: Phase) -> Middleware:
    """Return the policy of `function`, acting in `phase`."""
    if not isinstance(phase, Phase):
        raise ConfigError(f"@middleware(phase=…) must be a Phase such as Phase.LIMIT, not {phase!r}")
    if not callable(function) or isinstance(function, type):
        raise ConfigError(f"@middleware goes on a function that takes the request, not on {function!r}")
    _options(function)
    return Middleware(function=function, when=phase)


def _options(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the options of `function`, each with its default, or ``Parameter.empty`` if it must be given."""
    parameters = list(inspect.signature(function).parameters.values())
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if len(positional) != 1 or any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters):
        name = getattr(function, "__name__", repr(function))
        raise ConfigError(
            f"middleware {name} must take the request, and options as keyword-only parameters:"
            f" def {name}(request, *, option=default)"
        )
    if any(each.name == "mode" for each in parameters):
        raise ConfigError(
            f"middleware {function!r} has a parameter named mode, an option of every middleware: rename it"
        )
    return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


def _yields(function: Callable[..., Any]) -> bool:
    written = inspect.unwrap(_written(function))
    return inspect.isgeneratorfunction(written) or inspect.isasyncgenfunction(written)


def _written(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the code of `function`: for a callable object, its method ``__call__``."""
    if inspect.isroutine(function) or isinstance(function, functools.partial):
        return function
    method: Callable[..., Any] = function.__call__  # type: ignore[operator]
    return method


def _refusing(enter: Enter, name: str, mode: Mode) -> Enter:
    """Return `enter` of a middleware, with its refusals logged, signalled and named in verdicts; or only reported."""

    def goes_on(run: Run, status: int, reason: str) -> bool:
        """Note a refusal. Return whether the request continues."""
        if not 400 <= status < 500:  # a middleware that is closed for maintenance refuses nobody
            return False
        denial = Denied("A middleware refused the request.", policy=name, reason=reason)
        denial.code = status
        (note_report if mode == "report" else note_denial)(run, denial)
        return mode == "report"

    def enter_or_refuse(run: Run) -> Response | None:
        try:
            answer = enter(run)
        except Denied:
            raise
        except HTTPException as error:
            if goes_on(run, error.get_response(run.request.environ).status_code, "aborted"):
                return None
            raise
        if answer is None:
            return None
        response = made_response(run.state.app, f"middleware {name}", answer)
        return None if goes_on(run, response.status_code, "answered") else response

    return enter_or_refuse


class _Around:
    """Runs one middleware's generator around the rest of each request."""

    def __init__(self, name: str, function: Callable[..., Any], options: dict[str, Any], app: Flask) -> None:
        self._name = name
        self._generator: Slot[Any] = Slot(f"middleware.{name}")
        self._function = function
        self._options = options
        self._app = app
        self._is_async = inspect.isasyncgenfunction(inspect.unwrap(_written(function)))
        if self._is_async:
            synchronous(app, _step, f"middleware {name}")  # so that a missing extra is found now

    def enter(self, run: Run) -> Any:
        """Run the part before the ``yield``."""
        made = self._function(run.request, **self._options)
        generator = _Synchronous(made, self._app) if self._is_async else made
        try:
            yielded = next(generator)
        except StopIteration as returned:
            return returned.value
        if yielded is not None:
            generator.close()
            if self._is_async:
                return yielded
            raise TypeError(
                f"middleware {self._name} must yield nothing; to answer without the view, return a response"
            )
        self._generator.put(run, generator)
        return None

    def leave(self, run: Run, response: Response) -> Response | None:
        """Run the part after the ``yield``."""
        generator = self._generator.take(run)
        if generator is None:
            return None
        try:
            replaced = self._send(generator, response)
        except Exception as error:  # noqa: BLE001  # else Flask would make a 500 of abort(403)
            replaced = handle_user_exception(self._app, error)
        return None if replaced is None else made_response(self._app, f"middleware {self._name}", replaced)

    def _send(self, generator: Any, response: Response) -> Any:
        """Return what takes the place of `response`, or None."""
        try:
            yielded = generator.send(response)
        except StopIteration as returned:
            return returned.value
        generator.close()
        if self._is_async and yielded is not None:
            return yielded
        raise RuntimeError(f"middleware {self._name} yielded twice; it must yield once")

    def teardown(self, run: Run, error: BaseException | None) -> None:
        """End a generator that has not ended."""
        generator = self._generator.take(run)
        if generator is not None:
            generator.close()


async def _step(step: Awaitable[Any]) -> tuple[bool, Any]:
    """Return whether an async generator has ended, and the value that it yields."""
    try:
        return False, await step
    except StopAsyncIteration:
        return True, None


class _Synchronous:
    """An async generator driven from synchronous code.

    Each step runs in a new event loop. A loop closes the generators that were begun in it when it ends, so each step is
    begun outside of its loop. The end of the generator is a value and not an exception: asgiref would keep an
    exception, and with it the response, until the garbage is collected.
    """

    def __init__(self, generator: AsyncGenerator[Any, Any], app: Flask) -> None:
        self._generator = generator
        self._wait = app.async_to_sync(_step)

    def send(self, value: Any) -> Any:
        is_done, yielded = self._wait(self._generator.asend(value))
        if is_done:
            raise StopIteration
        return yielded

    def __next__(self) -> Any:
        return self.send(None)

    def close(self) -> None:
        self._wait(self._generator.aclose())
