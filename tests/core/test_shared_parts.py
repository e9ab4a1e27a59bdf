"""Endpoints share the compiled calls of policies that do not depend on the endpoint."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import pytest
from flask import Flask, Response

from flask_guard import Guard, Phase, Policy, Run, Step, Target, protect
from flask_guard.core.policy import Scope

PATHS = ("/a", "/b", "/c")


@dataclass(frozen=True, kw_only=True, repr=False)
class Stamped(Policy):
    """Adds the endpoint that it was compiled for, and how often it was compiled, to responses."""

    kind: ClassVar[str] = "stamped"
    phase: ClassVar[Phase] = Phase.HEADERS
    compiled: ClassVar[list[str | None]] = []

    tags: object = ()

    def compile(self, target: Target) -> Step:
        self.compiled.append(target.endpoint)

        def leave(run: Run, response: Response) -> None:
            response.headers["X-Stamp"] = self.stamp(target)

        return Step(leave=leave)

    def stamp(self, target: Target) -> str:
        """Return the stamp for the endpoint."""
        return str(target.endpoint)


@dataclass(frozen=True, kw_only=True, repr=False)
class SharedStamp(Stamped):
    """The same, compiled once for each method."""

    def compile_key(self, target: Target, place: Scope) -> Hashable | None:
        return target.method

    def compile(self, target: Target) -> Step:
        return Stamped.compile(self, target)


@dataclass(frozen=True, kw_only=True, repr=False)
class OwnStamp(SharedStamp):
    """Has calls of its own, and says nothing of what they depend on."""

    def compile(self, target: Target) -> Step:
        return Stamped.compile(self, target)


@dataclass(frozen=True, kw_only=True, repr=False)
class OtherStamp(SharedStamp):
    """Changes a part of the calls, and says nothing of what they depend on."""

    def stamp(self, target: Target) -> str:
        return f"other {target.endpoint}"


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    Stamped.compiled.clear()


def stamps(app: Flask, *policies: Policy) -> list[str]:
    """Return the stamps of the paths."""
    Guard(app, policies=policies)
    for path in PATHS:
        app.add_url_rule(path, path[1:], lambda: "", methods=["GET", "POST"])
    client = app.test_client()
    return [client.open(path, method=method).headers["X-Stamp"] for method in ("GET", "POST") for path in PATHS]


@pytest.mark.parametrize("policy", [Stamped(), OwnStamp()])
def test_by_default_each_endpoint_has_calls_of_its_own(app: Flask, policy: Policy) -> None:
    assert stamps(app, policy) == ["a", "b", "c"] * 2


def test_class_that_changes_a_part_of_the_calls_shares_none(app: Flask) -> None:
    assert stamps(app, OtherStamp()) == ["other a", "other b", "other c"] * 2


def test_endpoints_with_the_same_key_share_the_calls(app: Flask) -> None:
    seen = stamps(app, SharedStamp())

    assert [len(set(seen[:3])), len(set(seen[3:])), len(Stamped.compiled)] == [1, 1, 2]


def test_policies_with_other_options_do_not_share(app: Flask) -> None:
    app.add_url_rule("/d", "d", protect(lambda: "", SharedStamp(tags=("mine",))))
    stamps(app, SharedStamp(tags=("all",)))

    assert (Stamped.compiled.count("d"), len(Stamped.compiled)) == (1, 3)


def test_an_option_without_a_hash_is_no_obstacle(app: Flask) -> None:
    assert stamps(app, SharedStamp(tags=["no hash"])) == ["a", "b", "c"] * 2
