"""Tables of cases that one test goes through, where a test for each would cost more than what it tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .ids import shown


@contextmanager
def case(*named: object) -> Iterator[None]:
    """Name the case of a table for which the block fails."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"the case {' / '.join(map(shown, named))} fails: {error}") from error
