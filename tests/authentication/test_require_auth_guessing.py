"""`require_auth`: passwords cannot be guessed past the limit on failures, and guesses lock nobody else out."""

from __future__ import annotations

import base64
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient

from flask_guard import Guard, protect, require_auth
from flask_guard.rate_limits.storage import Backend
from flask_guard.typing import Mode

from ..conftest import MakeApp

RIGHT = "the-right-one"
ANOTHER_ADDRESS = "203.0.113.99"


class Passwords:
    """The password check of an app, which notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, username: str, password: str) -> str | None:
        self.asked.append((username, password))
        return username if password == RIGHT else None


@pytest.fixture
def passwords() -> Passwords:
    return Passwords()


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def guess(client: FlaskClient, password: str, name: str = "ada", address: str = "203.0.113.1", path: str = "/") -> int:
    headers, overrides = basic(name, password), {"REMOTE_ADDR": address}
    return client.get(path, headers=headers, environ_overrides=overrides).status_code


@pytest.fixture
def client(app: Flask, passwords: Passwords) -> FlaskClient:
    Guard(app, policies=[require_auth(basic=passwords, bearer=lambda token: None, failures="3/minute")])
    app.add_url_rule("/", "view", lambda: "in")
    return app.test_client()


def test_a_right_password_past_the_limit_is_refused_and_never_reaches_the_app(
    client: FlaskClient, passwords: Passwords
) -> None:
    wrong = [guess(client, f"guess-{number}") for number in range(3)]

    answers = [guess(client, RIGHT) for _ in range(20)]

    assert wrong == [401] * 3
    assert answers == [429] * 20
    assert len(passwords.asked) == 3


def test_the_refusal_says_when_to_try_again(client: FlaskClient) -> None:
    for _ in range(3):
        guess(client, "wrong")

    answer = client.get("/", headers=basic("ada", RIGHT), environ_overrides={"REMOTE_ADDR": "203.0.113.1"})

    assert (answer.status_code, answer.content_type) == (429, "application/problem+json")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


def test_wrong_passwords_for_one_name_lock_out_neither_others_behind_the_address_nor_the_name_elsewhere(
    client: FlaskClient,
) -> None:
    for number in range(100):  # a program that goes on with an old password
        guess(client, f"old-{number}")

    assert guess(client, RIGHT) == 429
    assert guess(client, RIGHT, name="bob") == 200
    assert guess(client, RIGHT, address=ANOTHER_ADDRESS) == 200


def test_one_password_for_many_names_is_stopped_by_address(client: FlaskClient, passwords: Passwords) -> None:
    statuses = [guess(client, "summer", name=f"user-{number}") for number in range(40)]

    assert statuses == [401] * 15 + [429] * 25
    assert guess(client, RIGHT, name="bob") == 429
    assert guess(client, RIGHT, name="bob", address=ANOTHER_ADDRESS) == 200


def test_another_case_of_a_name_is_no_fresh_start(client: FlaskClient) -> None:
    assert [guess(client, "wrong", name=name) for name in ("ada", "Ada", "aDA", "ADA")] == [401, 401, 401, 429]


def test_right_passwords_use_nothing_up(client: FlaskClient) -> None:
    assert {guess(client, RIGHT) for _ in range(50)} == {200}


def test_invalid_tokens_and_wrong_passwords_are_counted_apart(client: FlaskClient) -> None:
    overrides = {"REMOTE_ADDR": "203.0.113.1"}
    tokens = [
        client.get("/", headers={"Authorization": "Bearer x"}, environ_overrides=overrides).status_code
        for _ in range(20)
    ]

    assert tokens == [401] * 3 + [429] * 17
    assert guess(client, RIGHT) == 200


def test_paths_that_do_not_exist_below_a_blueprint_are_no_way_round_the_limit(
    make_app: MakeApp, passwords: Passwords
) -> None:
    app = make_app()
    api = Blueprint("api", __name__, url_prefix="/api")
    protect(api, require_auth(basic=passwords, failures="3/minute"))
    api.add_url_rule("/there", "there", lambda: "in")
    app.register_blueprint(api)
    Guard(app)
    client = app.test_client()

    for number in range(3):
        guess(client, f"guess-{number}", path=f"/api/nowhere-{number}")

    assert guess(client, RIGHT, path="/api/nowhere") == 429
    assert guess(client, RIGHT, path="/api/there") == 429


@pytest.mark.slow
def test_one_thousand_guesses_do_not_find_the_password(client: FlaskClient, passwords: Passwords) -> None:
    statuses = [guess(client, RIGHT if number == 776 else f"guess-{number}") for number in range(1000)]

    assert 200 not in statuses
    assert len(passwords.asked) <= 6  # two windows may have begun


def test_of_guesses_at_the_same_moment_a_right_one_is_not_answered_past_the_limit(make_app: MakeApp) -> None:
    app = make_app()
    guesses = [f"guess-{number}" for number in range(9)]
    all_asked, wrong_answered = threading.Barrier(len(guesses) + 1), threading.Event()

    def check(username: str, password: str) -> str | None:
        all_asked.wait(30)  # every guess has passed the first look at the limit
        if password != RIGHT:
            return None
        wrong_answered.wait(30)
        return username

    Guard(app, policies=[require_auth(basic=check, failures="3/minute")])
    app.add_url_rule("/", "view", lambda: "in")
    with ThreadPoolExecutor(len(guesses) + 1) as pool:
        right = pool.submit(guess, app.test_client(), RIGHT)
        wrong = [pool.submit(guess, app.test_client(), each) for each in guesses]
        answers = sorted(each.result(30) for each in wrong)
        wrong_answered.set()

        assert answers == [401] * 3 + [429] * 6
        assert right.result(30) == 429


def test_a_right_password_that_comes_many_times_at_once_is_let_in_each_time(make_app: MakeApp) -> None:
    app = make_app()
    all_asked = threading.Barrier(10)

    def check(username: str, password: str) -> str | None:
        all_asked.wait(30)
        return username

    Guard(app, policies=[require_auth(basic=check, failures="3/minute")])
    app.add_url_rule("/", "view", lambda: "in")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: guess(app.test_client(), RIGHT), range(10)))

    assert answers == [200] * 10


def test_failures_none_asks_the_app_every_time(make_app: MakeApp, passwords: Passwords) -> None:
    app = make_app()
    Guard(app, policies=[require_auth(basic=passwords, failures=None)])
    app.add_url_rule("/", "view", lambda: "in")

    assert {guess(app.test_client(), "wrong") for _ in range(50)} == {401}


@pytest.mark.parametrize("mode", ["enforce", "report"])
def test_a_user_name_may_be_a_mistyped_password_so_it_is_neither_logged_nor_stored(
    app: Flask, passwords: Passwords, caplog: pytest.LogCaptureFixture, mode: Mode
) -> None:
    caplog.set_level(logging.DEBUG)
    Guard(app, policies=[require_auth(basic=passwords, failures="1/minute", mode=mode)])
    app.add_url_rule("/", "view", lambda: "in")

    for _ in range(3):
        guess(app.test_client(), "wrong", name="my-own-password")

    stored = [identity for _, identity in app.extensions["guard"].service(Backend).counter.find()]
    assert len(stored) == 2
    assert "my-own-password" not in caplog.text + repr(stored)


# Encodings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_password_beyond_ascii_works_in_utf_8_and_as_older_clients_send_it(make_app: MakeApp, encoding: str) -> None:
    def log_in(username: str, password: str) -> str | None:
        return username if password == "pässwörd" else None

    app = make_app()
    Guard(app, policies=[require_auth(basic=log_in)])
    app.add_url_rule("/", "view", lambda: "in")
    encoded = base64.b64encode("jürgen:pässwörd".encode(encoding)).decode()

    assert app.test_client().get("/", headers={"Authorization": f"Basic {encoded}"}).status_code == 200
