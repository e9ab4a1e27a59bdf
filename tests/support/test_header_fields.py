"""Header fields are written into the list inside Werkzeug's Headers, and none of them is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from flask_guard.support.header_fields import add_vary, append, drop, pairs_of, put
from tests.cases import together


def test_headers_of_werkzeug_still_wrap_a_list_of_pairs() -> None:
    headers = Headers([("X-One", "1")])

    assert hasattr(headers, "_list"), (
        "werkzeug.datastructures.Headers has no _list any more: give flask_guard.support.header_fields.pairs_of another"
        " way to the pairs, or let its functions use the public methods"
    )
    append(headers, [("X-Two", "2")])
    drop(headers, ["x-one"])
    put(headers, ("x-two", "3"))

    assert pairs_of(headers) == list(headers) == [("x-two", "3")]


@together(
    ("lines", "expected"),
    [
        ([], ["Origin"]),
        ([""], ["Origin"]),
        (["Cookie"], ["Cookie, Origin"]),
        (["Cookie", "Accept-Encoding"], ["Cookie", "Accept-Encoding, Origin"]),
        (["Cookie", "origin", "Accept"], ["Cookie", "origin", "Accept"]),
        (["Accept,ORIGIN ,Cookie"], ["Accept,ORIGIN ,Cookie"]),
        (["*"], ["*"]),
        (["Cookie", "*"], ["Cookie", "*"]),
        (["Cookie, *"], ["Cookie, *"]),
        (["X-Origin"], ["X-Origin, Origin"]),
    ],
)
def test_vary_is_added_to_whatever_form_it_has(lines: list[str], expected: list[str]) -> None:
    headers = Headers([("X-Before", "1"), *(("vary", line) for line in lines), ("X-After", "2")])

    add_vary(headers, "Origin")

    assert headers.getlist("Vary") == expected
    assert (headers["X-Before"], headers["X-After"]) == ("1", "2")


@pytest.mark.slow
@given(st.lists(st.lists(st.sampled_from(["Cookie", "Accept", "*", "Origin", " ", "X-Tenant"]), min_size=1)))
def test_no_field_of_vary_is_ever_lost(lines: list[list[str]]) -> None:
    headers = Headers([("Vary", ", ".join(line)) for line in lines])
    before = {name.strip() for value in headers.getlist("Vary") for name in value.split(",")}

    add_vary(headers, "Origin")
    add_vary(headers, "Origin")

    after = [name.strip() for value in headers.getlist("Vary") for name in value.split(",")]
    assert before - {""} <= set(after)
    assert "Origin" in after or "*" in after
    assert after.count("Origin") == max(1 if "*" not in before else 0, sum(line.count("Origin") for line in lines))
