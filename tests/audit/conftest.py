"""What the tests of the audit share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_marks_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the view that the tests of a module share begin without the marks of policies, which stay on a function."""
    yield
    view = getattr(request.module, "fine", None)
    if view is not None:
        vars(view).clear()
