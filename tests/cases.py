"""Tables of cases that one test goes through, where a test for each would cost more than what it tests."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from .ids import shown

Test = TypeVar("Test", bound=Callable[..., None])


@contextmanager
def case(*named: object) -> Iterator[None]:
    """Name the case of a table for which the block fails."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"the case {' / '.join(map(shown, named))} fails: {error}") from error


def together(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Run a test for each of the `cases`, as ``pytest.mark.parametrize`` does, but as one test.

    Each case gets a new `app`, where the test asks for that fixture. All other fixtures are shared. The first case that
    fails is named, and ends the test.
    """
    one = isinstance(names, str)
    keys = [names] if isinstance(names, str) else list(names)
    rows = [dict(zip(keys, (each,) if one else each, strict=True)) for each in cases]
    if not rows:
        raise ValueError("there is no case to test")

    def decorate(test: Test) -> Test:
        wanted = dict.fromkeys(inspect.signature(test).parameters)
        shared = [name for name in wanted if name not in (*keys, "app")]
        needs_app = "app" in wanted and "app" not in keys
        fixtures = list(dict.fromkeys([*shared, *(["make_app"] if needs_app else [])]))

        @functools.wraps(test)
        def run(**given: Any) -> None:
            for row in rows:
                made = {"app": given["make_app"]()} if needs_app else {}
                with case(*row.values()):
                    test(**{name: given[name] for name in shared}, **made, **row)

        parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in fixtures]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate
