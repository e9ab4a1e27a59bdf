"""`limit`: one shared budget is counted in one way; what a storage cannot do is said when the app is set up."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_guard import ConfigError, Guard, limit, protect

from ..conftest import MakeApp


def test_one_shared_budget_with_two_algorithms_is_refused(app: Flask) -> None:
    app.add_url_rule("/a", "a", limit("3/minute", shared="x", algorithm="fixed-window")(lambda: ""))
    app.add_url_rule("/b", "b", limit("3/minute", shared="x", algorithm="moving-window")(lambda: ""))

    with pytest.raises(ConfigError, match=r"limit\(shared='x'\) is counted by .* here and by .* elsewhere"):
        Guard(app)


@pytest.mark.parametrize("strategy", [None, "moving-window"])
def test_the_strategy_of_the_app_may_be_named(make_app: MakeApp, strategy: Any) -> None:
    app = make_app(**({"RATELIMIT_STRATEGY": strategy} if strategy else {}))
    named: Any = strategy or "fixed-window"
    app.add_url_rule("/a", "a", limit("2/minute", shared="x", algorithm=named)(lambda: ""))
    app.add_url_rule("/b", "b", limit("2/minute", shared="x")(lambda: ""))
    Guard(app)
    client = app.test_client()

    assert [client.get(path).status_code for path in ("/a", "/b", "/a")] == [200, 200, 429]


def test_places_of_requests_are_free_although_the_teardown_of_the_app_fails(app: Flask) -> None:
    Guard(app)
    app.add_url_rule("/", "view", protect(lambda: "", limit.concurrent(1)))

    @app.teardown_request
    def fail(_error: BaseException | None) -> None:
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            app.test_client().get("/")
    app.teardown_request_funcs.clear()
    assert app.test_client().get("/").status_code == 200
