"""The examples in docstrings of the package return what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import flask_guard

pytestmark = pytest.mark.slow


def test_examples_in_docstrings_return_what_they_show() -> None:
    modules = [
        flask_guard.__name__,
        *(each.name for each in pkgutil.walk_packages(flask_guard.__path__, "flask_guard.")),
    ]

    results = {name: doctest.testmod(importlib.import_module(name)) for name in modules}

    assert {name: each for name, each in results.items() if each.failed} == {}
    assert sum(each.attempted for each in results.values()) > 1
