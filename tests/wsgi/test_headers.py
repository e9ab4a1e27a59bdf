"""`Headers`: fields that are added, set, set by default and removed."""

from __future__ import annotations

from typing import Any

import pytest

from flask_guard.wsgi import Headers
from tests.cases import together
from tests.wsgi.driver import answering, send

app = answering([b"hello"], "text/html", X_One="1", x_two="2", Set_Cookie="a=1")


def fields(layer: Headers, name: str) -> list[str]:
    return [value for each, value in send(layer.around(app)).headers if each.lower() == name]


@together(
    ("options", "name", "expected"),
    [
        ({"add": {"X-New": "n"}}, "x-new", ["n"]),
        ({"add": [("Set-Cookie", "b=2"), ("Set-Cookie", "c=3")]}, "set-cookie", ["a=1", "b=2", "c=3"]),
        ({"set": {"x-one": "new"}}, "x-one", ["new"]),
        ({"set": {"X-Two": "new"}}, "x-two", ["new"]),
        ({"set": {"Content-Type": "text/plain"}}, "content-type", ["text/plain"]),
        ({"default": {"X-TWO": "new"}}, "x-two", ["2"]),
        ({"default": {"X-Three": "new"}}, "x-three", ["new"]),
        ({"default": {"X-One": "new"}, "set": {"X-Two": "9"}}, "x-one", ["1"]),
        ({"remove": ["X-ONE"]}, "x-one", []),
        ({"remove": ["X-One"]}, "x-two", ["2"]),
        ({"set": {"X-Name": "Zo\xeb \xa0!"}}, "x-name", ["Zo\xeb \xa0!"]),
        ({"set": {"X-Empty": ""}}, "x-empty", [""]),
    ],
)
def test_fields_are_changed_as_told(options: dict[str, Any], name: str, expected: list[str]) -> None:
    assert fields(Headers(**options), name) == expected


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_responses_without_content_get_no_field_that_describes_some(status: str) -> None:
    layer = Headers(default={"Content-Type": "text/plain", "X-A": "b"}, set={"Last-Modified": "now"})

    answer = send(layer.around(answering([], "", status)))

    assert (answer["Content-Type"], answer["Last-Modified"], answer["X-A"]) == (None, None, "b")


@together("option", ["add", "set", "default"])
@together(
    "value", ["a\r\nSet-Cookie: b=1", "a\nb", "a\x00", "a\x1b", "a\x7f", "a\x90b", "a\t", " a", "a ", "€", "\u2028"]
)
def test_values_that_a_header_cannot_carry_are_refused(option: str, value: str) -> None:
    with pytest.raises(ValueError, match=rf"Headers\({option}=…\): the value of X-A"):
        Headers(**{option: {"X-A": value}})  # type: ignore[arg-type]


@together("option", ["add", "set", "default", "remove"])
@together("name", ["", " ", "X A", "X:A", "X\r\nA", "X\x00", "É", "-X", "X-", "X_", "\nX", "X\n"])
def test_names_that_a_header_cannot_have_are_refused(option: str, name: str) -> None:
    given: Any = [name] if option == "remove" else {name: "x"}

    with pytest.raises(ValueError, match="is not the name of a header"):
        Headers(**{option: given})


@pytest.mark.parametrize(
    "name", ["Connection", "transfer-encoding", "Content-Length", "Keep-Alive", "Upgrade", "Status"]
)
def test_fields_of_the_server_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"only the server sets {name}"):
        Headers(set={name: "x"})


@together(
    ("options", "error", "message"),
    [
        ({"set": {"X-A": "1"}, "remove": ["x-a"]}, ValueError, "'x-a' twice"),
        ({"set": {"X-A": "1"}, "default": {"x-A": "2"}}, ValueError, "'x-a' twice"),
        ({"set": [("X-A", "1"), ("X-a", "2")]}, ValueError, "'x-a' twice"),
        ({"add": {"X-A": "1"}, "set": {"X-A": "2"}}, ValueError, "'x-a' twice"),
        ({"remove": ["Content-Type"]}, ValueError, "set another instead"),
        ({"set": {"X-A": None}}, TypeError, "must be a string, not None"),
        ({"set": {"X-A": b"x"}}, TypeError, "must be a string"),
        ({"set": {1: "x"}}, TypeError, "the name of a header must be a string"),
        ({"set": "X-A: 1"}, TypeError, "takes names and values"),
        ({"set": ["X-A: 1"]}, TypeError, "takes names and values"),
        ({"set": 5}, TypeError, "takes names and values"),
        ({"remove": "Server"}, TypeError, "takes a list of names"),
        ({"remove": None}, TypeError, "takes a list of names"),
        ({"sett": {}}, TypeError, "sett"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Headers(**options)
