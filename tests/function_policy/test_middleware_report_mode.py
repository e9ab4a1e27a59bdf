"""`@middleware` policies that refuse: in verdicts, signals and metrics like any other, and in report mode."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from flask import Flask, Request, Response, abort, redirect

from flask_guard import (
    ConfigError,
    Denied,
    Guard,
    Middleware,
    log_timing,
    metrics,
    metrics_view,
    middleware,
    request_denied,
    request_would_be_denied,
)
from tests.conftest import MakeApp


@middleware
def answering(request: Request) -> tuple[str, int] | None:
    return ("no tenant", 400) if "tenant" not in request.args else None


@middleware
def aborting(request: Request) -> None:
    if "tenant" not in request.args:
        abort(403)


@middleware
def answering_around(request: Request) -> Generator[None, Response, Any]:
    if "tenant" not in request.args:
        return {"error": "no tenant"}, 400
    response = yield
    response.headers["X-Tenant"] = request.args["tenant"]
    return None


@middleware
async def answering_async(request: Request) -> AsyncGenerator[Any, Response]:
    if "tenant" not in request.args:
        yield "no tenant", 400
        return
    yield


@middleware
def raising(request: Request) -> None:
    if "tenant" not in request.args:
        raise Denied("No tenant.", policy="raising", reason="tenant")


REFUSING = {each.name: each for each in (answering, aborting, answering_around, answering_async, raising)}
every_way = pytest.mark.parametrize("name", REFUSING)


def guarded(app: Flask, policy: Middleware) -> None:
    Guard(app, policies=[log_timing, metrics])
    app.add_url_rule("/", "index", policy(lambda: "served"))
    app.add_url_rule("/metrics", view_func=metrics_view)


def verdicts(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    return [vars(each)["verdicts"] for each in caplog.records if each.name == "flask_guard.access"]


@every_way
def test_refusal_is_in_verdicts_signals_and_metrics(app: Flask, caplog: pytest.LogCaptureFixture, name: str) -> None:
    guarded(app, REFUSING[name])
    heard: list[str] = []

    with (
        caplog.at_level(logging.INFO, logger="flask_guard"),
        request_denied.connected_to(lambda _app, denial, request: heard.append(denial.policy), app),
    ):
        statuses = [app.test_client().get(path).status_code for path in ("/", "/?tenant=a")]

    assert statuses == [400 if "answering" in name else 403, 200]
    assert [each[name] for each in verdicts(caplog)] == ["denied", "allowed"]
    assert heard == [name]
    assert f"GET / denied by {name}" in caplog.text
    page = app.test_client().get("/metrics").text
    assert f'flask_guard_denials_total{{mode="enforce",policy="{name}"' in page


@every_way
@pytest.mark.parametrize("by_config", [False, True])
def test_in_report_mode_a_refusal_is_reported_and_the_request_goes_on(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, name: str, by_config: bool
) -> None:
    app = make_app(GUARD_MODES={name: "report"} if by_config else {})
    guarded(app, REFUSING[name] if by_config else REFUSING[name](mode="report"))
    heard: list[str] = []

    with (
        caplog.at_level(logging.INFO, logger="flask_guard"),
        request_would_be_denied.connected_to(lambda _app, denial, request: heard.append(denial.policy), app),
    ):
        answer = app.test_client().get("/")

    assert (answer.status_code, answer.text) == (200, "served")
    assert [each[name] for each in verdicts(caplog)] == ["would deny"]
    assert heard == [name]
    assert f"GET / would be denied by {name}" in caplog.text
    assert f'flask_guard_denials_total{{mode="report",policy="{name}"' in app.test_client().get("/metrics").text


@pytest.mark.parametrize("mode", ["enforce", "report"])
def test_answer_that_is_no_refusal_is_an_answer_in_both_modes(
    app: Flask, caplog: pytest.LogCaptureFixture, mode: Any
) -> None:
    @middleware
    def elsewhere(request: Request) -> Any:
        if "down" in request.args:
            return "closed", 503
        return redirect("/login", code=302)

    guarded(app, elsewhere(mode=mode))

    with caplog.at_level(logging.INFO, logger="flask_guard"):
        statuses = [app.test_client().get(path).status_code for path in ("/", "/?down")]

    assert statuses == [302, 503]
    assert "denied" not in caplog.text


def test_mode_is_no_name_for_an_option_of_ones_own() -> None:
    with pytest.raises(ConfigError, match="named mode"):

        @middleware
        def fashion(request: Request, *, mode: str = "haute couture") -> None: ...


def test_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"answering\(mode=…\) must be one of 'enforce', 'report'"):
        answering(mode="shadow")


def test_repr_shows_the_mode() -> None:
    assert repr(answering(mode="report")) == "answering(mode='report')"
