"""The public names are those of the list, each with its parameters, its defaults and a docstring."""

from __future__ import annotations

import inspect
from difflib import unified_diff
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flask_guard import Policy

from .public_api import OF_MODULES, PACKAGES, is_class, listing, public_members, public_names

LIST = Path(__file__).parent / "data" / "public_api.txt"


def test_the_public_names_and_their_parameters_are_those_of_the_list() -> None:
    differences = list(
        unified_diff(LIST.read_text().splitlines(), list(listing()), "the list", "the package", "", "", 0)
    )

    if differences:
        pytest.fail("\n".join(["After a wanted change, see tests/public_api.py.", *differences]), pytrace=False)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_object_has_a_docstring(package: str) -> None:
    silent = [name for name, value in documented_objects(import_module(package)) if not (inspect.getdoc(value) or "")]

    assert silent == []


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_of_a_package_and_what_it_exports_agree(package: str) -> None:
    module = import_module(package)

    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert len(set(module.__all__)) == len(module.__all__)


def documented_objects(module: ModuleType) -> list[tuple[str, Any]]:
    """Return the public objects of a module that can have a docstring, by name."""
    found: list[tuple[str, Any]] = []
    for name, value in public_names(module):
        if isinstance(value, ModuleType):
            within = [pair for pair in documented_objects(value) if pair[0] in OF_MODULES.get(name, pair)]
            found += [(name, value), *((f"{name}.{each}", inner) for each, inner in within)]
        elif isinstance(value, Policy):
            found.append((name, type(value).__call__))
        elif is_class(value):
            members = ((f"{name}.{each}", inspect.getattr_static(value, each)) for each in public_members(value))
            found += [(name, value), *members]
        elif inspect.isroutine(value) and value.__name__ == name:  # not a value, such as an order that another makes
            found.append((name, value))
    return found
