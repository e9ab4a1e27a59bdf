"""Attacks on credentials by many threads at once: guessing passwords, and asking for keys while their store hangs."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from flask import Blueprint, Flask

from flask_guard import Guard, ban, limit, protect, require_api_key, require_auth
from flask_guard.keys import RedisKeys, SignedKeys, SQLKeys, chain

THREADS = 16
GUESSES = 600
RIGHT = "guess-377"
LIMIT = 10

pytestmark = pytest.mark.slow


def at_once(work: Callable[[int], int], times: int) -> Counter[int]:
    """Return how often each status was the answer to `work`, done by many threads at once."""
    with ThreadPoolExecutor(THREADS) as pool:
        return Counter(pool.map(work, range(times)))


class Passwords:
    """The password check of an app, which takes a while and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self._lock = threading.Lock()

    def __call__(self, username: str, password: str) -> str | None:
        with self._lock:
            self.asked += 1
        time.sleep(0.002)
        return username if password == RIGHT else None


@pytest.fixture
def passwords() -> Passwords:
    return Passwords()


@pytest.fixture
def site(app: Flask, passwords: Passwords) -> Flask:
    """Return an app whose pages below /api want a password, and whose limits would let many requests through."""
    api = Blueprint("api", __name__, url_prefix="/api")
    protect(api, require_auth(basic=passwords, failures=f"{LIMIT}/hour"), limit("100000/hour"))
    api.add_url_rule("/there", "there", lambda: "in")
    api.add_url_rule("/own-options", "own", lambda: "in", methods=["OPTIONS"], provide_automatic_options=False)
    app.register_blueprint(api)
    Guard(app, policies=[ban(after="100000/hour")])
    return app


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/there"), ("GET", "/api/nowhere"), ("OPTIONS", "/api/own-options")]
)
def test_the_right_guess_among_hundreds_is_never_told(
    site: Flask, passwords: Passwords, method: str, path: str
) -> None:
    def guess(number: int) -> int:
        encoded = base64.b64encode(f"ada:guess-{number}".encode()).decode()
        return site.test_client().open(path, method=method, headers={"Authorization": f"Basic {encoded}"}).status_code

    statuses = at_once(guess, GUESSES)

    assert set(statuses) <= {401, 429}
    assert passwords.asked <= LIMIT + THREADS  # those that were asked at the same time as the last allowed one
    assert guess(377) == 429


def test_options_that_flask_answers_itself_asks_for_no_password(site: Flask, passwords: Passwords) -> None:
    encoded = base64.b64encode(f"ada:{RIGHT}".encode()).decode()
    headers = {
        "Authorization": f"Basic {encoded}",
        "Access-Control-Request-Method": "GET",
        "Origin": "https://x.example",
    }

    answers = {site.test_client().options("/api/there", headers=headers).status_code for _ in range(50)}

    assert (answers, passwords.asked) == ({200}, 0)


def test_one_password_for_hundreds_of_names_stops_at_the_limit_of_the_address(
    site: Flask, passwords: Passwords
) -> None:
    def guess(number: int) -> int:
        encoded = base64.b64encode(f"user-{number}:{RIGHT if number == 377 else 'summer'}".encode()).decode()
        return site.test_client().get("/api/there", headers={"Authorization": f"Basic {encoded}"}).status_code

    statuses = at_once(guess, GUESSES)

    assert statuses[200] == 0
    assert passwords.asked <= 5 * LIMIT + THREADS


# A store that hangs -----------------------------------------------------------------------------------------------


@pytest.fixture
def black_hole() -> Iterator[int]:
    """Return the port of a server that takes connections, reads, and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=512)) as listener:
        port: int = listener.getsockname()[1]
        yield port


TIMEOUT = 0.5


@pytest.mark.parametrize("kind", ["redis", "postgresql"])
def test_hundreds_of_unknown_keys_do_not_tie_up_an_app_whose_store_hangs(
    app: Flask, black_hole: int, kind: str
) -> None:
    if kind == "redis":
        hanging: RedisKeys | SQLKeys = RedisKeys(f"redis://127.0.0.1:{black_hole}/0", timeout=TIMEOUT)
    else:
        hanging = SQLKeys(f"postgresql+psycopg://guard@127.0.0.1:{black_hole}/keys", timeout=TIMEOUT)
    signed = SignedKeys.of(app)
    Guard(app, keys=chain(hanging, signed), policies=[require_api_key(failures=None)])
    app.add_url_rule("/", "view", lambda: "served")

    def ask(number: int) -> int:
        secret = hanging.format.new(f"{number:010}")
        return app.test_client().get("/", headers={"X-API-Key": secret}).status_code

    started = time.monotonic()
    statuses = at_once(ask, GUESSES)
    took = time.monotonic() - started

    assert statuses == {503: GUESSES}
    assert took < GUESSES / THREADS * TIMEOUT / 2  # a third of a minute, if each thread waited each time
    assert app.test_client().get("/", headers={"X-API-Key": signed.issue("ci")}).status_code == 200
