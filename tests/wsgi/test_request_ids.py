"""Request ids: the client's where it is well-formed, a new one where it is not."""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_guard.wsgi.request_ids import RequestIds, trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
NEW = re.compile(r"[0-9a-f]{32}")


def id_of(request_id: str | None = None, traceparent: str | None = None) -> str:
    fields = {"HTTP_X_REQUEST_ID": request_id, "HTTP_TRACEPARENT": traceparent}
    return RequestIds().of({name: value for name, value in fields.items() if value is not None})


@pytest.mark.parametrize("given_id", ["a", "7", "ab-CD_12.x", "8c5a2c38-9f0e-4a1b-8f6d-3c1f0b8b7e11", "a" * 128])
def test_well_formed_request_id_is_taken(given_id: str) -> None:
    assert id_of(given_id) == given_id


MALFORMED = [
    "",
    " ",
    "a b",
    "a" * 129,
    "a" * 100_000,
    "a\r\nb",
    "a\x00b",
    "a\x1b[31mb",
    "a\x7fb",
    "a,b",
    "a;b",
    "a/b",
    'a"b',
    "<b>",
    "%0d%0a",
    "\xe9",
    "a\xa0b",
    "٣",
]


@pytest.mark.parametrize("given_id", MALFORMED)
def test_malformed_request_id_is_replaced(given_id: str) -> None:
    assert NEW.fullmatch(id_of(given_id))


@pytest.mark.parametrize("given_id", [None, *MALFORMED])
def test_trace_id_stands_in_for_a_request_id(given_id: str | None) -> None:
    assert id_of(given_id, TRACEPARENT) == TRACE


def test_request_id_goes_before_the_trace_id() -> None:
    assert id_of("from-the-client", TRACEPARENT) == "from-the-client"


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        TRACE,
        TRACEPARENT.upper(),
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-",
        f"00-{TRACE}-{PARENT}-01 ",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00_{TRACE}_{PARENT}_01",
        f"00-{PARENT}-{TRACE}-01",
        f"00-{TRACE}-{PARENT}-\r\n",
        f"0-0{TRACE}-{PARENT}-01",
        "-" * 55,
        TRACEPARENT * 2000,
    ],
)
def test_malformed_trace_context_is_ignored(traceparent: str) -> None:
    assert trace_id(traceparent) is None
    new = id_of(traceparent=traceparent)
    assert NEW.fullmatch(new)
    assert new != TRACE


def test_new_ids_differ() -> None:
    ids = RequestIds()

    assert len({ids.new() for _ in range(10_000)}) == 10_000


def test_new_ids_differ_between_apps_that_seed_the_random_module_alike() -> None:
    ids = []
    state = random.getstate()
    for _ in range(2):
        random.seed(1)
        ids.append(RequestIds().new())
    random.setstate(state)

    assert ids[0] != ids[1]


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_whatever_comes_in_only_plain_characters_go_out(request_id: str, traceparent: str) -> None:
    taken = id_of(request_id, traceparent)

    assert 1 <= len(taken) <= 128
    assert set(taken) <= set(string.ascii_letters + string.digits + "-_.")
