"""Attacks over many connections to a real server, each by clients with addresses of their own."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from tests.serving import GUNICORN, Serving, serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("attacks on a server")]

APP = """
import threading
import time
from flask import Blueprint, Flask, Response, copy_current_request_context, request
from flask_guard import Guard, ban, limit, protect, require_api_key, require_auth, require_request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import Rule

app = Flask("attacked")
app.wsgi_app = ProxyFix(app.wsgi_app)
app.config["GUARD_API_KEYS"] = {"ci": "a long random secret"}
guard = Guard(app)
counted = {"passwords": 0, "at work": 0, "most at work": 0}
lock, inside, leave = threading.Lock(), threading.Event(), threading.Event()


def log_in(name, password):
    with lock:
        counted["passwords"] += 1
    return name if password == "guess-1377" else None


api = Blueprint("api", __name__, url_prefix="/api")
protect(api, require_auth(basic=log_in, failures="10/hour"), ban(after="100000/hour"), limit("100000/hour"))
api.add_url_rule("/there", "there", lambda: "in")
api.add_url_rule("/own", "own", lambda: "in", methods=["GET", "OPTIONS"], provide_automatic_options=False)
app.register_blueprint(api)
app.add_url_rule("/counted", "counted", lambda: counted)

app.add_url_rule("/limited", "limited", limit("5/hour")(lambda: ""))
app.add_url_rule("/keyed", "keyed", require_api_key(failures="5/hour")(lambda: ""))
app.add_url_rule("/banning", "banning", ban(after="5/hour", on=418, lasting="1h")(lambda: ("", 418)))
app.add_url_rule("/inner", "inner", require_request(addresses=["203.0.113.0/24"])(lambda: ""))


@app.get("/alone")
@limit.concurrent(1, by=lambda: "everybody")
def alone():
    thread = threading.Thread(target=copy_current_request_context(lambda: request.path))
    thread.start()
    thread.join()
    with lock:
        counted["at work"] += 1
        counted["most at work"] = max(counted["most at work"], counted["at work"])
    time.sleep(0.001)
    with lock:
        counted["at work"] -= 1
    return ""


@app.get("/stream")
@limit.concurrent(1, lease=600, by=lambda: "everybody")
def stream():
    def endless():
        while True:
            yield b"more"
            time.sleep(0.01)

    return Response(endless())


app.add_url_rule("/guarded", "guarded", require_api_key(failures=None)(lambda: "in"))


@app.get("/switching-off")
def switching_off():
    with guard.disabled():
        inside.set()
        leave.wait(30)
        return app.test_client().get("/guarded").text


@app.get("/leave")
def let_it_leave():
    leave.set()
    return ""


@app.get("/inside")
def wait_until_inside():
    return str(inside.wait(30))


app.url_map.add(Rule("/any", endpoint="any"))
app.view_functions["any"] = lambda: ""
app.add_url_rule("/plans", "plans", lambda: str(len(app.extensions["guard"].plans)))
"""
THREADS = 8
LIMIT = 10
RIGHT = 1377


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder: Path = tmp_path_factory.mktemp("attacked")
    (folder / "served.py").write_text(APP, encoding="utf-8")
    command = [*GUNICORN, "--threads", str(2 * THREADS), "--keep-alive", "30", "served:app"]
    with serving(command, folder) as started:
        yield started


clients = count(1)


def new_address() -> str:
    """Return an address that nobody has used yet."""
    return f"198.51.100.{next(clients)}"


def flood(server: Serving, times: int, asked: Callable[[int], tuple[str, str, Mapping[str, str]]]) -> Counter[int]:
    """Send requests over several connections at once; return how often each status was the answer.

    :param asked: returns the method, the path and the header fields of a request.
    """
    numbers = iter(range(times))

    def send(_connection: int) -> list[int]:
        statuses = []
        with contextlib.closing(server.connect()) as connection:
            for number in numbers:
                method, path, headers = asked(number)
                connection.request(method, path, headers=headers)
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)
        return statuses

    with ThreadPoolExecutor(THREADS) as pool:
        return Counter(status for statuses in pool.map(send, range(THREADS)) for status in statuses)


def counted(server: Serving, what: str) -> int:
    """Return what the server has counted."""
    found: int = json.loads(server.get("/counted")[1])[what]
    return found


# Guessing passwords --------------------------------------------------------------------------------------------------


def guesses(address: str, method: str, path: str, **fields: str) -> Callable[[int], tuple[str, str, Mapping[str, str]]]:
    """Return the requests that guess one password after another."""

    def guess(number: int) -> tuple[str, str, Mapping[str, str]]:
        credentials = base64.b64encode(f"ada:guess-{number}".encode()).decode()
        return method, path, {"X-Forwarded-For": address, "Authorization": f"Basic {credentials}", **fields}

    return guess


PREFLIGHT = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}


@pytest.mark.parametrize("fields", [{}, PREFLIGHT], ids=["options", "preflight"])
def test_of_thousands_of_guesses_by_options_none_is_verified(server: Serving, fields: Mapping[str, str]) -> None:
    guess, before = guesses(new_address(), "OPTIONS", "/api/there", **fields), counted(server, "passwords")

    statuses = flood(server, 2000, guess)

    assert statuses == {200: 2000}
    assert counted(server, "passwords") == before


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("OPTIONS", "/api/own", {}),
        ("OPTIONS", "/api/own", {**PREFLIGHT, "Access-Control-Request-Method": "OPTIONS"}),
        ("GET", "/api/there", {}),
        ("HEAD", "/api/there", {}),
        ("GET", "/api/nowhere", {}),
        ("DELETE", "/api/there", {}),
    ],
    ids=["options", "preflight", "get", "head", "404", "405"],
)
def test_of_hundreds_of_guesses_at_once_exactly_the_limit_is_told(
    server: Serving, method: str, path: str, fields: Mapping[str, str]
) -> None:
    guess, before = guesses(new_address(), method, path, **fields), counted(server, "passwords")

    statuses = flood(server, 300, lambda number: guess(RIGHT - 150 + number))

    assert statuses == {401: LIMIT, 429: 300 - LIMIT}
    assert counted(server, "passwords") - before < LIMIT + THREADS  # and those at the same time as the last of these


# Addresses with a port -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelled",
    [
        "{0}:{1}",
        "[::ffff:{0}]:{1}",
        "[64:ff9b::{0}]:{1}",
        "[2001:db8:{2}::1]:{1}",
        "[2001:db8:{2}::{3:x}]:{1}",
        "2001:db8:{2}::{3:x}",
    ],
)
@pytest.mark.parametrize(
    ("path", "fields", "told", "most"),
    [
        ("/limited", {}, 200, 5),
        ("/keyed", {"X-API-Key": "wrong"}, 401, 5),
        ("/banning", {}, 418, 4 + THREADS),  # a ban is for what comes after the response that brings it about
    ],
)
def test_a_fresh_port_or_interface_is_no_fresh_budget(
    server: Serving, spelled: str, path: str, fields: Mapping[str, str], told: int, most: int
) -> None:
    address, network = new_address(), next(clients)

    def ask(number: int) -> tuple[str, str, Mapping[str, str]]:
        return "GET", path, {"X-Forwarded-For": spelled.format(address, 40_001 + number, network, number), **fields}

    statuses = flood(server, 60, ask)

    assert 5 <= statuses[told] <= most
    assert statuses[429] == 60 - statuses[told]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("203.0.113.7:40001", 200),
        ("[::ffff:203.0.113.7]:40001", 200),
        ("203.0.114.7:40001", 403),
        ("203.0.113.7:x", 403),
        ("[203.0.113.7", 403),
        ("203.0.113.7, 203.0.114.7", 403),
    ],
)
def test_a_list_of_addresses_looks_at_the_address_alone(server: Serving, address: str, status: int) -> None:
    assert server.get("/inner", headers={"X-Forwarded-For": address})[0].status == status


# Places --------------------------------------------------------------------------------------------------------------


def test_threads_with_a_copy_of_the_request_let_nobody_else_in(server: Serving) -> None:
    statuses = flood(server, 200, lambda _number: ("GET", "/alone", {}))

    assert {*statuses} <= {200, 429}
    assert counted(server, "most at work") == 1
    assert server.get("/alone")[0].status == 200


def status_of(client: socket.socket, method: str) -> bytes:
    """Ask for the stream, and return the status as soon as it is there."""
    client.sendall(f"{method} /stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client.recv(1024).split()[1]


def test_head_of_a_stream_holds_no_place_while_its_connection_stays(server: Serving) -> None:
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20)) for _ in range(6)
        ]

        assert [status_of(each, "HEAD") for each in connections] == [b"200"] * 6
        assert status_of(connections[0], "GET") == b"200"
        assert status_of(connections[1], "HEAD") == b"429"
        connections[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connections[0].close()

        deadline = time.monotonic() + 20
        while server.get("/stream", "HEAD")[0].status != 200:  # the server finds out with its next chunk
            assert time.monotonic() < deadline
            time.sleep(0.02)


# The guard itself ----------------------------------------------------------------------------------------------------


def test_a_guard_that_one_thread_has_disabled_is_shut_for_all_others(server: Serving) -> None:
    with ThreadPoolExecutor(1) as pool:
        switched_off = pool.submit(server.get, "/switching-off")
        try:
            assert server.get("/inside")[1] == b"True"
            meanwhile = flood(server, 100, lambda _number: ("GET", "/guarded", {}))
        finally:
            server.get("/leave")

    assert meanwhile == {401: 100}
    assert switched_off.result()[1] == b"in"


def test_methods_that_preflights_invent_keep_a_bounded_number_of_plans(server: Serving) -> None:
    statuses = flood(
        server, 600, lambda number: ("OPTIONS", "/any", {**PREFLIGHT, "Access-Control-Request-Method": f"X{number}"})
    )

    assert statuses == {200: 600}
    assert int(server.get("/plans")[1]) < 200
