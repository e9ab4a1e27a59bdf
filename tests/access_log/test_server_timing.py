"""``Server-Timing``: the total, and what the view timed, to whom the policy allows."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flask_guard import ConfigError, Guard, LogTiming, exempt, log_timing, require_auth, timing
from flask_guard.access_log.server_timing import Timed
from tests.clock import Clock

FIELD = re.compile(r"""([!#$%&'*+.^_`|~0-9A-Za-z-]+);dur=(\d+\.\d)(?:;desc="((?:[^"\\]|\\.)*)")?""")


SENT = log_timing(server_timing=True)


def serve(app: Flask, view: Callable[..., Any], policy: LogTiming = SENT) -> Flask:
    app.add_url_rule("/", "index", view)
    Guard(app, policies=[policy])
    return app


def new_view() -> Callable[[], str]:
    """Return a view of its own for each test, as policies leave marks on it."""

    def hello() -> str:
        return "hello"

    return hello


def send(app: Flask, path: str = "/", **options: Any) -> TestResponse:
    return app.test_client().get(path, buffered=True, **options)


def metrics(response: TestResponse) -> dict[str, float]:
    """Return the header's metrics in milliseconds, by name, and fail if it is not well-formed."""
    (line,) = response.headers.getlist("Server-Timing")
    assert line.isascii()
    assert re.fullmatch(rf"{FIELD.pattern}(, {FIELD.pattern})*", line)
    return {name: float(milliseconds) for name, milliseconds, _ in FIELD.findall(line)}


def test_total_is_sent(app: Flask, clock: Clock) -> None:
    def slow() -> str:
        clock.advance(20)
        return "slow"

    serve(app, slow)

    assert metrics(send(app)) == {"total": 20}


def test_nothing_is_sent_unless_asked(app: Flask) -> None:
    def view() -> str:
        with timing("db"):
            return "hello"

    serve(app, view, log_timing)

    assert "Server-Timing" not in send(app).headers


# What the view times ---------------------------------------------------------------------------------------------


def test_block_is_timed(app: Flask, clock: Clock) -> None:
    def view() -> str:
        with timing("db"):
            clock.advance(20)
        clock.advance(30)
        return "hello"

    serve(app, view)

    sent = metrics(send(app))
    assert list(sent.items()) == [("total", 50), ("db", 20)]


def test_decorated_function_is_timed_each_time_and_stays_itself(app: Flask, clock: Clock) -> None:
    @timing("step")
    def step(milliseconds: int, *, times: int = 1) -> int:
        """Take a while."""
        clock.advance(milliseconds * times)
        return milliseconds

    serve(app, lambda: str(step(10) + step(10, times=2)))

    response = send(app)

    assert (response.text, step.__name__, step.__doc__) == ("20", "step", "Take a while.")
    assert metrics(response)["step"] == 30


def test_async_view_and_functions_are_timed(app: Flask, clock: Clock) -> None:
    @timing("fetch")
    async def fetch() -> str:
        await asyncio.sleep(0)  # until both have begun
        clock.advance(20)
        return "fetched"

    async def view() -> str:
        with timing("both"):
            return "".join(await asyncio.gather(fetch(), fetch()))

    serve(app, view)

    response = send(app)

    assert response.text == "fetchedfetched"
    assert inspect.iscoroutinefunction(fetch)
    assert metrics(response) == {"fetch": 20 + 40, "both": 40, "total": 40}


@pytest.mark.parametrize("copied", [True, False])
def test_thread_counts_if_it_runs_in_a_copy_of_the_context(app: Flask, clock: Clock, copied: bool) -> None:
    def work() -> None:
        with timing("work"):
            clock.advance(10)

    def view() -> str:
        contexts = [contextvars.copy_context() for _ in range(3)]
        threads = [threading.Thread(target=each.run if copied else work, args=(work,) * copied) for each in contexts]
        for thread in threads:
            thread.start()
            thread.join()
        return "hello"

    serve(app, view)

    assert metrics(send(app)) == {"total": 30, **({"work": 30} if copied else {})}


def test_block_that_raises_is_timed_and_the_500_says_so(app: Flask) -> None:
    def view() -> str:
        with timing("db"):
            raise ZeroDivisionError

    serve(app, view)

    response = send(app)

    assert response.status_code == 500
    assert list(metrics(response)) == ["total", "db"]


def test_requests_do_not_see_each_others_times(app: Flask) -> None:
    app.add_url_rule("/other", "other", lambda: "other")
    serve(app, timing("db")(new_view()))

    assert list(metrics(send(app))) == ["total", "db"]
    assert list(metrics(send(app, "/other"))) == ["total"]


def test_header_that_the_view_sets_is_kept_beside_it(app: Flask) -> None:
    serve(app, lambda: ("hello", {"Server-Timing": "cache;desc=hit"}))

    first, second = send(app).headers.getlist("Server-Timing")

    assert first == "cache;desc=hit"
    assert second.startswith("total;dur=")


@pytest.mark.parametrize(
    ("desc", "sent"),
    [
        ("Orders", "Orders"),
        ('say "hi" \\o/', r"say \"hi\" \\o/"),
        ("a\r\nSet-Cookie: b", r"a\\r\\nSet-Cookie: b"),
        ("bücher\u202e", r"b?cher\\u202e"),
        ("x" * 100_000, "x" * 128 + "?"),
    ],
)
def test_description_is_sent_as_a_quoted_string(app: Flask, desc: str, sent: str) -> None:
    serve(app, timing("db", desc=desc)(new_view()))

    response = send(app)

    assert list(metrics(response)) == ["total", "db"]
    assert response.headers["Server-Timing"].endswith(f';desc="{sent}"')


def test_endless_metrics_are_cut(app: Flask) -> None:
    def view() -> str:
        for number in range(1000):
            with timing(f"query-{number}"):
                pass
        return "hello"

    serve(app, view)

    assert len(metrics(send(app))) == 33


# To whom ---------------------------------------------------------------------------------------------------------


def test_header_goes_to_whom_the_function_allows(app: Flask) -> None:
    serve(app, lambda: "hello", log_timing(server_timing=lambda request: request.headers.get("X-Debug") == "yes"))

    assert "Server-Timing" in send(app, headers={"X-Debug": "yes"}).headers
    assert "Server-Timing" not in send(app).headers


def test_function_that_fails_allows_nobody_and_the_request_goes_on(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    serve(app, lambda: "hello", log_timing(server_timing=lambda: 1 / 0))

    for _ in range(2):
        response = send(app)
        assert (response.status_code, "Server-Timing" in response.headers) == (200, False)

    assert caplog.text.count("log_timing(server_timing=…) failed") == 1  # or any client could fill the log


def test_function_may_ask_who_is_logged_in(app: Flask) -> None:
    from flask_guard import current_principal

    login = require_auth(basic=lambda name, password: name if password == "sesame" else None)
    app.add_url_rule("/", "index", login(timing("db")(new_view())))
    Guard(app, policies=[log_timing(server_timing=lambda: current_principal == "ada")])

    assert list(metrics(send(app, auth=("ada", "sesame")))) == ["total", "db"]
    assert "Server-Timing" not in send(app, auth=("bob", "sesame")).headers
    assert "Server-Timing" not in send(app).headers


def test_early_answer_of_another_hook_has_its_total(app: Flask) -> None:
    app.before_request(lambda: "early")
    serve(app, lambda: "hello")

    assert list(metrics(send(app))) == ["total"]


# Where there is nothing to do ------------------------------------------------------------------------------------


def test_timing_outside_of_a_request_does_nothing(app: Flask) -> None:
    with timing("db"):
        pass
    with app.app_context():
        assert timing("db")(lambda: "done")() == "done"


def test_timing_does_nothing_where_it_is_exempt(app: Flask) -> None:
    def view() -> str:
        with timing("db"):
            return "hello"

    serve(app, exempt(log_timing)(view))

    assert (send(app).text, "Server-Timing" in send(app).headers) == ("hello", False)


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a,b", 'a"b', "é", "a\r\n", None, 7])
def test_name_that_is_no_token_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="such as 'db'"):
        timing(name)


def test_generator_is_refused_as_only_its_making_would_be_timed() -> None:
    def rows() -> Iterator[int]:
        yield 1

    with pytest.raises(ConfigError, match="use a with block inside"):
        timing("rows")(rows)


def test_function_that_takes_too_much_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"server_timing=…\).*must take the request, or nothing"):
        log_timing(server_timing=lambda one, two: True)


def test_record_is_made_as_ever(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="flask_guard.access")
    serve(app, timing("db")(new_view()))

    send(app)

    assert [vars(record)["status"] for record in caplog.records] == [200]
    assert isinstance(timing("db"), Timed)
