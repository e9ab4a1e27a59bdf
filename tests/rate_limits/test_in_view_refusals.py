"""`hit()`, `peek()` and ``with`` where they cannot work, and where limits are switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask, Response, stream_with_context
from flask.testing import FlaskClient

from flask_guard import ConfigError, Guard, LimitStatus, NotGuarded, Policy, limit, secure_headers

from ..conftest import MakeApp
from ..flask_versions import needs_streams_that_end

ONCE = limit("1/day", shared="once")


def enter_limit() -> LimitStatus:
    with ONCE as status:
        return status


def enter_place() -> LimitStatus:
    with limit.concurrent(1, shared="places") as status:
        return status


USES: dict[str, Callable[[], LimitStatus]] = {
    "hit()": ONCE.hit,
    "peek()": ONCE.peek,
    "with": enter_limit,
    "with concurrent": enter_place,
}


def serve(app: Flask, use: Callable[[], LimitStatus]) -> FlaskClient:
    app.add_url_rule("/", "view", lambda: repr(use()))
    return app.test_client()


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_without_a_guard_the_view_is_no_further_run(
    app: Flask, use: Callable[[], LimitStatus], caplog: pytest.LogCaptureFixture
) -> None:
    assert serve(app, use).get("/").status_code == 500
    (record,) = [each for each in caplog.records if each.exc_info]
    assert record.exc_info
    assert isinstance(record.exc_info[1], NotGuarded)
    assert "call Guard(app)" in str(record.exc_info[1])


FOR_VIEWS_AND_IN_VIEWS = pytest.mark.parametrize(
    ("policy", "use"),
    [(limit("9/day"), r"limit(…).hit(), or 'with limit(…):'"), (limit.concurrent(9), "'with limit.concurrent(…):'")],
    ids=["limit", "limit.concurrent"],
)


@FOR_VIEWS_AND_IN_VIEWS
def test_a_limited_helper_that_a_view_calls_is_refused_with_what_to_write_there(
    app: Flask, caplog: pytest.LogCaptureFixture, policy: Policy, use: str
) -> None:
    Guard(app)

    @policy
    def send_mail() -> str:
        return "sent"

    helpers = {"send_mail": send_mail}  # not in the closure of the view, which might wrap it then
    app.add_url_rule("/", "view", lambda: helpers["send_mail"]())

    assert app.test_client().get("/").status_code == 500
    refused = [each for each in caplog.messages if "was not served" in each]
    assert [f"use the policy inside the view: {use}" in each for each in refused] == [True]


@FOR_VIEWS_AND_IN_VIEWS
def test_a_limited_view_that_another_view_calls_is_refused_with_what_to_write_there(
    app: Flask, caplog: pytest.LogCaptureFixture, policy: Policy, use: str
) -> None:
    Guard(app)

    @app.get("/mail")
    @policy
    def send_mail() -> str:
        return "sent"

    views = {"send_mail": send_mail}
    app.add_url_rule("/", "view", lambda: views["send_mail"]())

    assert app.test_client().get("/").status_code == 500
    refused = [each for each in caplog.messages if "was not served" in each]
    assert [f"use the policy inside the view: {use}" in each for each in refused] == [True]


def test_a_guarded_helper_whose_policy_is_for_views_is_told_of_none(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    Guard(app)
    helpers: dict[str, Callable[[], str]] = {"greet": secure_headers(lambda: "")}
    app.add_url_rule("/", "view", lambda: helpers["greet"]())

    assert app.test_client().get("/").status_code == 500
    assert "inside the view" not in caplog.text


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_outside_a_request_it_says_so(app: Flask, use: Callable[[], LimitStatus]) -> None:
    Guard(app)

    with pytest.raises(RuntimeError, match="is about the current request, and there is none"):
        use()
    with app.app_context(), pytest.raises(RuntimeError, match="there is none"):
        use()


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_request_of_a_guarded_app_lends_nothing_to_the_context_of_another(
    make_app: MakeApp, use: Callable[[], LimitStatus]
) -> None:
    guarded, bare = make_app(), make_app()
    Guard(guarded)

    def view() -> str:
        with bare.test_request_context("/"), pytest.raises(NotGuarded):
            use()
        return repr(use())

    guarded.add_url_rule("/", "view", view)

    assert "allowed=True" in guarded.test_client().get("/").text


@needs_streams_that_end
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_body_that_is_streamed_after_the_request_is_over_cannot_count(
    app: Flask, use: Callable[[], LimitStatus]
) -> None:
    def chunks() -> Iterator[str]:
        yield "begun"
        with pytest.raises(NotGuarded, match="the request is over"):
            use()

    Guard(app)
    app.add_url_rule("/", "view", lambda: Response(stream_with_context(chunks())))

    assert app.test_client().get("/").text == "begun"


@pytest.mark.parametrize("use", [USES["hit()"], USES["with"]], ids=["hit()", "with"])
def test_while_a_guard_is_disabled_nothing_is_counted(app: Flask, use: Callable[[], LimitStatus]) -> None:
    guard = Guard(app)
    client = serve(app, use)

    with guard.disabled():
        off = [client.get("/").status_code for _ in range(3)]

    assert off == [200] * 3
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("key", ["RATELIMIT_ENABLED", "GUARD_ENABLED"])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_where_limits_are_switched_off_nothing_is_counted(
    make_app: MakeApp, key: str, use: Callable[[], LimitStatus]
) -> None:
    app = make_app(**{key: False})
    Guard(app)
    client = serve(app, use)

    answers = [client.get("/") for _ in range(3)]

    assert {each.text for each in answers} == {repr(LimitStatus())}
    assert "RateLimit" not in answers[0].headers


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: limit.hit(), "limit needs a rate"),
        (lambda: limit.peek(), "limit needs a rate"),
        (lambda: limit("1/day", deduct_when=lambda response: True).hit(), "deduct_when.*is for decorators"),
        (lambda: limit.concurrent.__enter__(), "limit.concurrent needs a number"),
    ],
    ids=["hit", "peek", "deduct_when", "concurrent"],
)
def test_what_cannot_be_counted_inside_a_view_says_so(app: Flask, use: Callable[[], LimitStatus], message: str) -> None:
    Guard(app)

    def view() -> str:
        with pytest.raises(ConfigError, match=message):
            use()
        return "refused"

    app.add_url_rule("/", "view", view)

    assert app.test_client().get("/").text == "refused"
