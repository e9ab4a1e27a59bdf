"""What the package is made of: its imports, the size of its files, its public names and what it ships."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from importlib import import_module, metadata
from importlib.util import resolve_name
from itertools import pairwise
from pathlib import Path

import pytest
from werkzeug.local import LocalProxy

import flask_guard
from tests.cases import case, together

pytestmark = pytest.mark.slow

PACKAGE = Path(flask_guard.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
OPTIONAL = (
    "redis",
    "sqlalchemy",
    "prometheus_client",
    "flask_compress",
    "pythonjsonlogger",
    "joserfc",
    "cryptography",
    "opentelemetry",
    "valkey",
    "gunicorn",
    "hypothesis",
    "pytest",
)


def module_name(file: Path) -> str:
    """Return the dotted name of the module in `file`."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


@functools.cache
def tree_of(file: Path) -> ast.Module:
    """Return the syntax tree of a file, parsed once."""
    return ast.parse(file.read_text(encoding="utf-8"))


def imports_of(file: Path) -> set[str]:
    """Return the modules of the package that `file` imports, in functions and for types alone included."""
    name = module_name(file)
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            found.update(each if (each := f"{source}.{alias.name}") in MODULES else source for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found & set(MODULES)


def test_importing_the_package_imports_nothing_optional() -> None:
    program = f"import sys, flask_guard; print([name for name in {OPTIONAL!r} if name in sys.modules])"

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/")

    assert result.stdout.strip() == "[]"


def test_importing_the_package_says_and_starts_nothing() -> None:
    program = (
        "import logging, threading; before = list(logging.getLogger().handlers); import flask_guard;"
        "print(threading.active_count(), logging.getLogger().handlers == before,"
        " [name for name in logging.root.manager.loggerDict if name.startswith('flask_guard')"
        "  and logging.getLogger(name).handlers])"
    )

    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True, cwd="/"
    )

    assert (result.stdout.strip(), result.stderr) == ("1 True []", "")


@together("module", [name for name in MODULES if name.startswith("flask_guard.wsgi")])
def test_what_works_below_flask_imports_neither_flask_nor_the_rest(module: str) -> None:
    tree = tree_of(MODULES[module])
    imported = {
        resolve_name("." * node.level + (node.module or ""), "flask_guard.wsgi")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    } | {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

    for name in imported:
        assert not re.match(r"(flask|flask_\w+|werkzeug)(\.|$)", name) or name.startswith("flask_guard.wsgi"), name


def test_files_are_short() -> None:
    lengths = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in MODULES.items()}

    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


def test_files_say_what_they_are_for() -> None:
    docstrings = {name: ast.get_docstring(tree_of(file)) or "" for name, file in MODULES.items()}

    opened = {name: text.partition("\n")[0] for name, text in docstrings.items()}
    assert {name: line for name, line in opened.items() if not line.endswith((".", ":"))} == {}


def test_public_names_are_sorted_and_there() -> None:
    assert flask_guard.__all__ == sorted(flask_guard.__all__)
    assert len(set(flask_guard.__all__)) == len(flask_guard.__all__)
    assert all(hasattr(flask_guard, name) for name in flask_guard.__all__)


def documented_variables() -> set[str]:
    """Return the names of the package's variables that have a docstring on the line below."""
    bodies = [tree_of(file).body for file in FILES]
    return {
        ast.unparse(node.target)
        for body in bodies
        for node, below in pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


def test_public_name_has_a_docstring() -> None:
    variables = documented_variables()
    for name in flask_guard.__all__:
        with case(name):
            value = getattr(flask_guard, name)

            if type(value) is LocalProxy:
                assert name in variables
            else:
                assert (value.__doc__ or "").strip()
                assert not value.__doc__.startswith(f"{name}(")  # what dataclass writes by itself


def test_init_is_a_map_and_nothing_else() -> None:
    _docstring, *rest = tree_of(PACKAGE / "__init__.py").body
    future, typing, lazy, for_types, names, get = rest

    assert all(isinstance(each, ast.ImportFrom) for each in (future, typing, lazy))
    assert isinstance(for_types, ast.If)
    assert all(isinstance(each, ast.ImportFrom) for each in for_types.body)
    assert isinstance(names, ast.Assign)
    assert ast.unparse(names.targets[0]) == "__all__"
    assert isinstance(get, ast.AnnAssign)
    assert ast.unparse(get.target) == "__getattr__"


@pytest.mark.parametrize("package", ["flask_guard", "flask_guard.keys"])
def test_names_that_are_imported_on_demand_are_those_that_type_checkers_see(package: str) -> None:
    body = tree_of(MODULES[package]).body
    for_types = next(node for node in body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in for_types.body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    module = import_module(package)

    assert sorted(seen) == module.__all__
    for name, (home, original) in seen.items():
        found = getattr(module, name)
        assert found is getattr(import_module(f"{package}.{home}"), original, None) or found is sys.modules.get(
            f"{package}.{home}.{original}"
        )


def third_parties(file: Path) -> set[str]:
    """Return the packages that importing `file` imports, apart from this one and the standard library."""
    body = tree_of(file).body
    absolute = [node.module or "" for node in body if isinstance(node, ast.ImportFrom) and not node.level]
    absolute += [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
    return {name.partition(".")[0] for name in absolute} - sys.stdlib_module_names


def test_required_dependencies_are_the_packages_that_are_imported() -> None:
    requires = metadata.requires("flask-guard-kit") or []
    required = {re.split(r"[^A-Za-z0-9_.-]", each)[0].lower() for each in requires if "extra ==" not in each}
    imported = set().union(*map(third_parties, FILES)) - set(OPTIONAL)

    found_in_the_app = {"flask-limiter"}  # an adopted Limiter is found in app.extensions

    assert {name.replace("_", "-") for name in imported} | found_in_the_app == required


def test_extras_are_the_documented_ones() -> None:
    extras = metadata.metadata("flask-guard-kit").get_all("Provides-Extra") or []

    assert {"redis", "sql", "compress", "metrics", "json", "jwt", "test", "dev"} == set(extras)


def test_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_no_modules_import_each_other_not_even_for_a_type() -> None:
    left = {name: imports_of(file) for name, file in MODULES.items() if name != "flask_guard"}
    assert "flask_guard.core.policy" in left["flask_guard.core.plan"]

    while ready := [name for name, wanted in left.items() if not (wanted - {name}) & set(left)]:
        for name in ready:
            del left[name]

    assert left == {}, f"these modules import each other in a circle: {sorted(left)}"
