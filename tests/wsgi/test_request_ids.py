"""Request ids: the client's where it is well-formed, a new one where it is not."""

from __future__ import annotations

import os
import random
import re
import string
import subprocess
import sys
from contextvars import copy_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_guard.wsgi.request_ids import CURRENT, ENVIRON_KEY, RequestIds, trace_id
from tests.cases import together

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


@together("given_id", MALFORMED)
def test_malformed_request_id_is_replaced(given_id: str) -> None:
    assert NEW.fullmatch(id_of(given_id))


@together("given_id", [None, *MALFORMED])
def test_trace_id_stands_in_for_a_request_id(given_id: str | None) -> None:
    assert id_of(given_id, TRACEPARENT) == TRACE


def test_request_id_goes_before_the_trace_id() -> None:
    assert id_of("from-the-client", TRACEPARENT) == "from-the-client"


@together(
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


FORK = """
import os
from flask_guard.wsgi.request_ids import RequestIds

ids = RequestIds()
ids.new()
child = os.fork()
made = [ids.new() for _ in range(200)]
os.write(1, ("".join(id + chr(10) for id in made)).encode())
if child:
    os.waitpid(child, 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_worker_makes_no_id_that_its_parent_makes() -> None:
    run = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=60)

    assert len(set(run.stdout.split())) == 400


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_whatever_comes_in_only_plain_characters_go_out(request_id: str, traceparent: str) -> None:
    taken = id_of(request_id, traceparent)

    assert 1 <= len(taken) <= 128
    assert set(taken) <= set(string.ascii_letters + string.digits + "-_.")


# Once for each request -------------------------------------------------------------------------------------------


def test_environ_carries_the_id_from_the_first_call_on() -> None:
    environ: dict[str, Any] = {}

    first = RequestIds().of(environ)

    assert environ == {"flask_guard.request_id": first}
    assert RequestIds().of(environ) == first


def test_id_that_an_outer_layer_gave_goes_before_all_others() -> None:
    environ = {ENVIRON_KEY: "of the layer", "HTTP_X_REQUEST_ID": "of-the-client", "HTTP_TRACEPARENT": TRACEPARENT}

    assert RequestIds().of(environ) == "of the layer"


def test_there_is_no_current_id_unless_somebody_sets_it() -> None:
    assert CURRENT.get() is None
    assert copy_context().run(CURRENT.get) is None


# Trust -----------------------------------------------------------------------------------------------------------

FROM_OUTSIDE = {"HTTP_X_REQUEST_ID": "from-the-client", "HTTP_TRACEPARENT": TRACEPARENT}


@together(
    ("trust", "peer", "taken"),
    [
        (True, "203.0.113.9", True),
        (False, "127.0.0.1", False),
        ([], "127.0.0.1", False),
        (["10.0.0.0/8"], "10.1.2.3", True),
        (["10.0.0.0/8"], "11.1.2.3", False),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["192.0.2.7", "2001:db8::/32"], "2001:db8::1", True),
        (["192.0.2.7", "2001:db8::/32"], "192.0.2.7", True),
        (["192.0.2.7", "2001:db8::/32"], "192.0.2.8", False),
        (["0.0.0.0/0"], "", False),
        (["0.0.0.0/0"], "no address", False),
        (["0.0.0.0/0"], "1" * 100_000, False),
    ],
)
@together("header", FROM_OUTSIDE)
def test_ids_are_taken_from_the_trusted_only(trust: Any, peer: str, taken: bool, header: str) -> None:
    environ = {header: FROM_OUTSIDE[header], "REMOTE_ADDR": peer}

    assert (RequestIds(trust=trust).of(environ) in ("from-the-client", TRACE)) is taken


def test_trust_is_in_the_peer_that_connected_not_in_the_client_that_it_names() -> None:
    ids = RequestIds(trust=["10.0.0.0/8"])
    behind_proxy = {"REMOTE_ADDR": "203.0.113.9", "werkzeug.proxy_fix.orig": {"REMOTE_ADDR": "10.0.0.1"}}
    spoofed = {"REMOTE_ADDR": "10.0.0.1", "werkzeug.proxy_fix.orig": {"REMOTE_ADDR": "203.0.113.9"}}

    assert ids.of({**FROM_OUTSIDE, **behind_proxy}) == "from-the-client"
    assert NEW.fullmatch(ids.of({**FROM_OUTSIDE, **spoofed}))


def test_length_and_alphabet_are_those_that_are_asked_for() -> None:
    ids = RequestIds(longest=8, alphabet="abc=/")

    def taken(given_id: str) -> bool:
        return ids.of({"HTTP_X_REQUEST_ID": given_id}) == given_id

    assert [taken(each) for each in ("abc=/abc", "abc=/abca", "abcd", "a-b")] == [True, False, False, False]


@pytest.mark.parametrize(
    ("given_id", "span", "expected"),
    [("from-the-client", "of-the-span", "from-the-client"), (None, "of-the-span", "of-the-span"), (None, None, TRACE)],
)
def test_current_span_goes_before_the_trace_that_the_client_names(
    given_id: str | None, span: str | None, expected: str
) -> None:
    environ = {"HTTP_TRACEPARENT": TRACEPARENT} | ({"HTTP_X_REQUEST_ID": given_id} if given_id else {})

    assert RequestIds(trace=lambda: span).of(environ) == expected


@together(
    "options",
    [
        {"trust": None},
        {"trust": "10.0.0.0/8"},
        {"trust": ["ten"]},
        {"trust": ["10.0.0.1/8"]},
        {"trust": [10]},
        {"longest": 0},
        {"longest": 5000},
        {"longest": True},
        {"longest": "128"},
        {"alphabet": ""},
        {"alphabet": "abc "},
        {"alphabet": "abc\n"},
        {"alphabet": "abcé"},
        {"alphabet": ["a"]},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must (be|list)"):
        RequestIds(**options)
