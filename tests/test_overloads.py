"""What an editor shows of a policy's options is what they are."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
from typing import Any

import pytest

from flask_guard import Policy
from flask_guard.concerns import ALL_SETTINGS, built_in_policies
from flask_guard.support.options import INHERIT
from tests.cases import together

POLICIES: dict[str, Policy] = {policy.name: policy for policy in built_in_policies()}


def overload_of(policy: Policy) -> ast.FunctionDef:
    """Return the overload of ``__call__`` that takes options."""
    (cls,) = ast.parse(textwrap.dedent(inspect.getsource(type(policy)))).body
    assert isinstance(cls, ast.ClassDef)
    calls = [node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__call__"]
    return next(each for each in calls if each.args.kwonlyargs)


def real_defaults(policy: Policy) -> dict[str, Any]:
    """Return the default of each option: that of the configuration, where an option is inherited from there."""
    settings = {each.key: each.default for each in ALL_SETTINGS}
    return {
        each.name: settings.get(f"GUARD_{policy.name}_{each.name}".upper(), INHERIT)
        if each.default is INHERIT
        else each.default
        for each in dataclasses.fields(policy)
    }


def shown_defaults(policy: Policy) -> dict[str, Any]:
    arguments = overload_of(policy).args
    names = vars(sys.modules[type(policy).__module__])
    return {
        arg.arg: eval(compile(ast.Expression(default), "overload", "eval"), names)  # noqa: S307
        for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    }


@pytest.mark.slow
@together("name", POLICIES)
def test_overload_shows_every_option_with_its_real_default(name: str) -> None:
    real, shown = real_defaults(POLICIES[name]), shown_defaults(POLICIES[name])
    positional = {"cache": "control", "limit": "rates", "limit.concurrent": "amount", "secure_headers": "preset"}
    by_position = positional.get(name)

    assert shown == {each: default for each, default in real.items() if each != by_position}


@pytest.mark.slow
@together("name", POLICIES)
def test_help_of_a_policy_tells_each_of_its_options(name: str) -> None:
    text = type(POLICIES[name]).__call__.__doc__ or ""

    assert [each for each in shown_defaults(POLICIES[name]) if f":param {each}:" not in text] == []
