"""`limit(deduct_when=…)`: only responses that it is true for are charged, such as failed logins."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, abort, request
from flask.testing import FlaskClient

from flask_guard import ConfigError, Guard, Policy, ban, limit, protect, require_api_key, store_available

from ..conftest import MakeApp
from .structured_fields import fields, whole

ALGORITHMS = ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"]


def failed(response: Response) -> bool:
    return response.status_code == 401


def login() -> str:
    if "bad" in request.args:
        abort(401)
    if "broken" in request.args:
        raise ZeroDivisionError
    return "welcome"


def limited(app: Flask, *policies: Policy, view: Callable[[], Any] = login) -> FlaskClient:
    Guard(app)
    app.add_url_rule("/", "view", protect(view, *policies))
    return app.test_client()


def statuses(client: FlaskClient, *paths: str) -> list[int]:
    return [client.get(path).status_code for path in paths]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_only_failed_logins_are_charged_and_then_everybody_is_refused(app: Flask, algorithm: Any) -> None:
    client = limited(app, limit("2/day", deduct_when=failed, algorithm=algorithm))

    assert statuses(client, "/", "/", "/", "/?bad", "/", "/?bad") == [200, 200, 200, 401, 200, 401]
    assert statuses(client, "/", "/?bad") == [429, 429]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_fields_tell_what_is_left_after_the_charge(app: Flask, algorithm: Any) -> None:
    client = limited(app, limit("3/day", deduct_when=failed, algorithm=algorithm), limit("50/day"))

    answers = [client.get(path) for path in ("/", "/?bad", "/", "/?bad", "/?bad", "/")]

    left = [{item[0]: whole(item, "r") for item in fields(each)[1]} for each in answers]
    assert [each["3-per-day"] for each in left] == [3, 2, 2, 1, 0, 0]
    assert [each["50-per-day"] for each in left] == [49, 48, 47, 46, 45, 45]


def test_it_charges_the_cost(app: Flask) -> None:
    client = limited(app, limit("10/day", deduct_when=failed, cost=4))

    assert statuses(client, "/?bad", "/", "/?bad", "/", "/?bad") == [401, 200, 401, 429, 429]


def test_it_sees_the_response_of_an_error(app: Flask) -> None:
    client = limited(app, limit("1/day", deduct_when=lambda response: response.status_code == 500))

    assert statuses(client, "/?bad", "/?broken", "/") == [401, 500, 429]


def test_what_raises_is_charged_and_logged(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    def broken(response: Response) -> bool:
        raise LookupError("no such thing")

    client = limited(app, limit("2/day", deduct_when=broken))

    assert statuses(client, "/", "/", "/") == [200, 200, 429]
    (first, _) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert first.exc_info
    assert "limit(deduct_when=…) failed: the request is charged" in first.getMessage()


@pytest.mark.parametrize("shared", [None, "logins"])
def test_two_such_limits_on_one_view_are_both_charged(app: Flask, shared: str | None) -> None:
    def limits(*rates: str) -> list[Policy]:
        return [limit(rate, deduct_when=failed, shared=shared) for rate in rates]

    client = limited(app, *limits("2/minute", "100/day"))

    answers = [client.get("/?bad") for _ in range(4)]

    assert [each.status_code for each in answers] == [401, 401, 429, 429]
    assert [[whole(item, "r") for item in fields(each)[1]] for each in answers] == [[1, 99], [0, 98], [0, 98], [0, 98]]


def test_two_such_limits_of_one_name_charge_what_each_is_for(app: Flask) -> None:
    broken = limit("9/hour", deduct_when=lambda response: response.status_code == 500, shared="logins")
    client = limited(app, limit("9/day", deduct_when=failed, shared="logins"), broken)

    statuses(client, "/?bad", "/?broken", "/?bad")

    left = {item[0]: whole(item, "r") for item in fields(client.get("/"))[1]}
    assert left == {"logins-9-per-day": 7, "logins-9-per-hour": 8}


REFUSALS: dict[str, tuple[list[Policy], dict[str, Any]]] = {
    "itself": ([], {}),
    "its neighbour": ([limit("1/hour")], {}),
    "a ban": ([ban(after="1/hour", on=401)], {}),
    "a limit after authentication": ([require_api_key(optional=True), limit("1/hour", by="api_key")], {}),
    "itself, in shadow": ([], {"mode": "report"}),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_request_that_is_refused_by_a_limit_or_a_ban_is_not_charged(app: Flask, refusal: str) -> None:
    others, options = REFUSALS[refusal]
    rate = "1/day" if "itself" in refusal else "5/day"
    client = limited(app, limit(rate, deduct_when=lambda response: response.status_code != 200, **options), *others)

    answers = [client.get("/?bad") for _ in range(4)]

    left = [whole(item, "r") for each in answers for item in fields(each)[1] if "-per-day" in item[0]]
    assert left == ([0] * 4 if "itself" in refusal else [4] * 4)
    assert answers[-1].status_code == (401 if "shadow" in refusal else 429)


def test_what_would_not_fit_is_not_charged_in_shadow_either(app: Flask) -> None:
    client = limited(app, limit("5/day", deduct_when=failed, cost=3, mode="report"))

    answers = [client.get("/?bad") for _ in range(3)]

    assert [each.status_code for each in answers] == [401] * 3
    assert [whole(fields(each)[1][0], "r") for each in answers] == [2, 2, 2]


def test_what_could_not_be_counted_in_report_mode_is_not_charged_once_the_store_is_back(
    make_app: MakeApp, tmp_path: Path
) -> None:
    folder, back = tmp_path / "folder", threading.Event()
    app = make_app(RATELIMIT_STORAGE_URI=f"sqlite:///{folder}/limits.db")
    Guard(app)

    @app.get("/")
    @limit("5/day", deduct_when=failed, mode="report", on_store_error="deny")
    def view() -> str:
        folder.mkdir(exist_ok=True)
        deadline = time.monotonic() + 10
        while not back.is_set():  # requests ask whether the store is back
            assert time.monotonic() < deadline
            limit("1/day", shared="others", on_store_error="allow").peek()
            time.sleep(0.01)
        abort(401)

    def listen(_sender: object) -> None:
        back.set()

    with store_available.connected_to(listen, app):
        answers = [app.test_client().get("/") for _ in range(2)]

    assert [each.status_code for each in answers] == [401, 401]
    assert [whole(each, "r") for each in fields(answers[1])[1]] == [4]


def test_what_authentication_refuses_may_be_charged(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    client = limited(app, limit("2/day", deduct_when=failed), require_api_key(failures=None))

    assert statuses(client, "/", "/", "/") == [401, 401, 429]


def test_a_when_that_is_false_means_no_charge(app: Flask) -> None:
    client = limited(app, limit("1/day", deduct_when=failed, when=lambda: "free" not in request.args))

    assert statuses(client, "/?bad&free", "/?bad", "/?bad&free", "/?bad") == [401, 401, 401, 429]


async def asynchronous(response: Response) -> bool:
    return True


@pytest.mark.parametrize(
    ("deduct_when", "message"),
    [
        (401, "must be a callable, not 401"),
        (asynchronous, "is async"),
        (lambda: True, "must take the response"),
        (lambda response, request: True, "must take the response"),
    ],
    ids=["number", "async", "nothing", "two"],
)
def test_what_cannot_be_asked_is_refused_where_it_is_written(deduct_when: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"limit\(deduct_when=…\).*{message}"):
        limit("1/day", deduct_when=deduct_when)


def test_charge_that_a_limit_in_report_mode_refuses_is_not_made_by_another_on_the_response(app: Flask) -> None:
    shadow = limit("5/hour", shared="logins", cost=3, mode="report")
    client = limited(app, shadow, limit("5/hour", shared="logins", deduct_when=lambda _response: True))

    assert statuses(client, *["/"] * 4) == [200] * 4  # the first takes four, and the shadow has no room for the others
