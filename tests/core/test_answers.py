"""A policy that answers with a value of the wrong type: the message names the policy, and not the view."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from flask import Flask, Response, redirect
from werkzeug.wrappers import Response as PlainResponse

from flask_guard import Guard, Policy, Step, Target, log_timing, middleware, protect
from tests.cases import together
from tests.conftest import MakeApp


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Answering(Policy):
    """Answers with `value`, before the view or in place of its response."""

    kind: ClassVar[str] = "answering"

    value: object = None
    before: bool = True

    def compile(self, target: Target) -> Step:
        value: Any = self.value
        return Step(enter=lambda _run: value) if self.before else Step(leave=lambda _run, _response: value)


def by_policy(value: object, before: bool) -> Any:
    return Answering(value=value, before=before)


def by_middleware(value: object, before: bool) -> Any:
    @middleware
    def answering(_request: object) -> Generator[None, Response, object]:
        if before:
            return value
        yield
        return value

    return answering


by_both = pytest.mark.parametrize(
    ("made", "name"), [(by_policy, "policy answering"), (by_middleware, "middleware answering")], ids=["policy", "mw"]
)
at_both_times = pytest.mark.parametrize("before", [True, False], ids=["before", "after"])


def served(app: Flask, *policies: Policy) -> Flask:
    app.add_url_rule("/", "index", protect(lambda: "hello", *policies))
    Guard(app)
    return app


@by_both
@at_both_times
@together(
    ("value", "type_of_it"),
    [
        (42, "int"),
        (True, "bool"),
        (object(), "object"),
        ((), "tuple"),
        ((None, 400), r"\(NoneType, int\)"),
        (("secret", 1, 2, 3), r"\(str, int, int, int\)"),
        (("secret", object()), r"\(str, object\)"),
        (("secret", 200, 5), r"\(str, int, int\)"),
        (("secret", {"a": object()}, 200, 1), r"\(str, dict, int, int\)"),
    ],
)
def test_value_that_is_no_response_is_an_error_that_names_the_policy(
    make_app: MakeApp, made: Callable[..., Any], name: str, before: bool, value: object, type_of_it: str
) -> None:
    app = served(make_app(TESTING=True), log_timing(costs=True), made(value, before))

    with pytest.raises(TypeError, match=f"^{name} returned a value that is not a response: {type_of_it}. ") as raised:
        app.test_client().get("/")

    assert "secret" not in str(raised.value)


@by_both
@at_both_times
@together("status", ["no number", 99, 1000])
def test_status_that_is_none_is_an_error_that_names_the_policy(
    make_app: MakeApp, made: Callable[..., Any], name: str, before: bool, status: object
) -> None:
    app = served(make_app(TESTING=True), made(("hello", status), before))

    with pytest.raises(TypeError, match=f"^{name} returned a response with the status "):
        app.test_client().get("/")


@by_both
@at_both_times
@together(
    ("value", "status"),
    [
        ("hello", 200),
        ({"a": 1}, 200),
        ([1], 200),
        (("hello", 201, {"X-A": "b"}), 201),
        (Response("hello", 418), 418),
        (PlainResponse("hello", 418), 418),
        (redirect("/elsewhere", 302), 302),
    ],
)
def test_whatever_a_view_may_return_is_a_response(
    make_app: MakeApp, made: Callable[..., Any], name: str, before: bool, value: object, status: int
) -> None:
    app = served(make_app(TESTING=True), made(value, before))

    assert app.test_client().get("/").status_code == status
