"""The app's own hooks beside the policies: who comes first, who sees the response last, what runs at teardown."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any, ClassVar

import pytest
from flask import Blueprint, Flask, Request, Response, abort, request

from flask_guard import (
    Guard,
    Phase,
    Policy,
    Run,
    Step,
    Target,
    cors,
    current_request_id,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
    secure_headers,
)

this_request: Any = request


@pytest.fixture
def trace() -> list[str]:
    """Return the list in which hooks, policies and views note that they ran."""
    return []


def note(trace: list[str], word: str) -> Callable[..., Any]:
    """Return a hook that notes `word`, and returns the response if it was given one."""

    def hook(*args: Any) -> Any:
        trace.append(word)
        return args[0] if args and isinstance(args[0], Response) else None

    return hook


def noting(trace: list[str]) -> Any:
    """Return a middleware that notes what it does."""

    @middleware
    def policy(request: Request) -> Generator[None, Response, None]:
        trace.append("policy")
        try:
            yield
            trace.append("/policy")
        finally:
            trace.append("finally")

    return policy


def test_hooks_registered_before_the_guard_run_before_the_policies_and_later_ones_after(
    app: Flask, trace: list[str]
) -> None:
    app.before_request(note(trace, "earlier"))
    app.after_request(note(trace, "/earlier"))
    Guard(app, policies=[noting(trace)])
    app.before_request(note(trace, "later"))
    app.after_request(note(trace, "/later"))
    api = Blueprint("api", __name__)
    api.before_request(note(trace, "blueprint"))
    api.after_request(note(trace, "/blueprint"))
    api.add_url_rule("/a", "a", note(trace, "view"))
    app.register_blueprint(api)

    app.test_client().get("/a")

    before, after = trace[: trace.index("view")], trace[trace.index("view") + 1 :]
    assert before == ["earlier", "policy", "later", "blueprint"]
    assert [word for word in after if word != "finally"] == ["/blueprint", "/later", "/policy", "/earlier"]


@pytest.mark.parametrize("when", ["before_request", "after_request"])
@pytest.mark.parametrize("policies", [(), (cors(origins="*"),)], ids=["no policies", "cors"])
def test_hooks_may_look_at_the_view_of_a_preflight_on_a_path_of_two_views(
    app: Flask, when: str, policies: tuple[Policy, ...]
) -> None:
    seen: list[Any] = []
    app.add_url_rule("/", "read", require_api_key(lambda: "read"))
    app.add_url_rule("/", "write", require_api_key(lambda: "written"), methods=["POST"])
    Guard(app, policies=policies)

    def look(*response: Response) -> Response | None:
        seen.append(app.view_functions[this_request.endpoint])
        return response[0] if response else None

    getattr(app, when)(look)
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    answer = app.test_client().options("/", headers=preflight)

    assert answer.status_code in (200, 204)
    assert seen == [dict.get(app.view_functions, "read")] * (when == "after_request" or not policies)


def test_views_can_be_looked_up_outside_of_a_request(app: Flask) -> None:
    app.add_url_rule("/", "view", lambda: "hello")
    Guard(app)

    with app.app_context():
        within = app.view_functions["view"]

    assert within is app.view_functions["view"]


@pytest.mark.parametrize("when", ["before", "after", "never"])
def test_a_policy_that_asks_for_the_outgoing_response_sees_it_after_every_hook(app: Flask, when: str) -> None:
    seen: list[str] = []

    class LastLook(Policy):
        kind: ClassVar[str] = "last_look"

        def compile(self, target: Target) -> Step:
            def look(run: Run, response: Response) -> None:
                seen.append(response.headers["X-Hook"])

            def leave(run: Run, response: Response) -> None:
                response.headers["X-Hook"] = "none"
                run.outgoing += (look,)

            return Step(leave=leave)

    def change(response: Response) -> Response:
        response.headers["X-Hook"] = when
        return response

    app.get("/")(lambda: "view")
    if when == "before":
        app.after_request(change)
    Guard(app, policies=[LastLook()])
    if when == "after":
        app.after_request(change)

    app.test_client().get("/")

    assert seen == ["before" if when == "before" else "none"]


def test_later_hook_that_answers_has_been_through_the_policies(app: Flask) -> None:
    Guard(app, policies=[require_api_key, secure_headers])
    app.before_request(lambda: "answered")

    response = app.test_client().get("/a")

    assert response.status_code == 401


@pytest.mark.parametrize("how", ["answers", "aborts", "breaks"])
@pytest.mark.parametrize("scope", ["app", "view"])
def test_request_that_an_earlier_hook_ends_still_gets_headers_and_a_log_record(
    app: Flask, caplog: pytest.LogCaptureFixture, how: str, scope: str
) -> None:
    def hook() -> str:
        if how == "aborts":
            abort(418)
        if how == "breaks":
            raise ZeroDivisionError
        return "answered"

    policies = (log_timing, secure_headers, cors(origins="https://app.example.com"), limit("1/hour"), require_api_key)
    app.before_request(hook)
    Guard(app, policies=policies if scope == "app" else ())
    app.add_url_rule("/a", "a", (lambda: "a") if scope == "app" else protect(lambda: "a", *policies))

    with caplog.at_level(logging.INFO, logger="flask_guard.access"):
        response = app.test_client().get("/a", headers={"Origin": "https://app.example.com"})

    status = {"answers": 200, "aborts": 418, "breaks": 500}[how]
    assert response.status_code == status
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert [vars(r)["status"] for r in caplog.records if r.name == "flask_guard.access"] == [status]


def test_log_record_and_request_id_are_those_of_the_whole_request_earlier_hooks_included(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def slow_hook() -> None:
        seen.append(str(current_request_id))
        time.sleep(0.05)

    app.before_request(slow_hook)
    Guard(app, policies=[log_timing])

    with caplog.at_level(logging.INFO, logger="flask_guard.access"):
        response = app.test_client().get("/a")

    assert seen == [response.headers["X-Request-ID"]]
    assert [vars(r)["duration_ms"] >= 50 for r in caplog.records if r.name == "flask_guard.access"] == [True]


def test_value_preprocessor_that_aborts_before_the_guard_still_gets_headers(app: Flask) -> None:
    app.url_value_preprocessor(lambda endpoint, values: abort(404))
    Guard(app, policies=[secure_headers, require_api_key])
    app.add_url_rule("/a", "a", lambda: "a")

    response = app.test_client().get("/a")

    assert response.status_code == 404
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_view_that_an_earlier_hook_kept_from_running_was_not_counted(app: Flask) -> None:
    answers = iter(["from the hook", None, None])
    app.before_request(lambda: next(answers))
    Guard(app)
    app.add_url_rule("/a", "a", limit("1/hour")(lambda: "a"))

    assert [app.test_client().get("/a").status_code for _ in range(3)] == [200, 200, 429]


def test_error_handlers_of_the_app_render_denials_and_keep_what_these_must_carry(app: Flask) -> None:
    Guard(app, policies=[require_api_key, secure_headers])

    @app.errorhandler(401)
    def unauthorized(error: Exception) -> tuple[dict[str, str], int]:
        return {"error": "who are you?"}, 401

    response = app.test_client().get("/a")

    assert response.get_json() == {"error": "who are you?"}
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_error_handler_that_turns_a_denial_into_a_redirect_gets_no_challenge(app: Flask) -> None:
    Guard(app, policies=[require_api_key])
    app.register_error_handler(401, lambda error: ("", 302, {"Location": "/login"}))

    response = app.test_client().get("/a")

    assert response.status_code == 302
    assert "WWW-Authenticate" not in response.headers


def test_error_handlers_of_a_blueprint_render_its_denials(app: Flask) -> None:
    api = protect(Blueprint("api", __name__, url_prefix="/api"), require_api_key)
    api.add_url_rule("/a", "a", lambda: "a")
    api.register_error_handler(401, lambda error: ({"error": "api"}, 401))
    app.register_blueprint(api)
    Guard(app)

    assert app.test_client().get("/api/a").get_json() == {"error": "api"}


# Whatever happens --------------------------------------------------------------------------------------------------


def breaks() -> str:
    raise ZeroDivisionError("broken on purpose")


def aborts() -> str:
    abort(409)


VIEWS: dict[str, Callable[[], str]] = {"answers": lambda: "a", "aborts": aborts, "breaks": breaks}


@pytest.mark.parametrize("view", VIEWS)
def test_finally_of_a_middleware_runs_once_whatever_the_view_does(app: Flask, trace: list[str], view: str) -> None:
    Guard(app, policies=[noting(trace)])
    app.add_url_rule("/a", "a", VIEWS[view])

    app.test_client().get("/a")

    assert trace == ["policy", "/policy", "finally"]


def test_finally_runs_when_the_exception_is_left_to_the_server(app: Flask, trace: list[str]) -> None:
    app.testing = True
    Guard(app, policies=[noting(trace)])
    app.add_url_rule("/a", "a", breaks)

    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/a")

    assert trace == ["policy", "finally"]


def test_finally_runs_when_a_nearer_policy_refuses(app: Flask, trace: list[str]) -> None:
    @middleware
    def refuses(request: Request) -> tuple[str, int]:
        trace.append("refuses")
        return "refused", 409

    Guard(app, policies=[noting(trace), refuses])

    assert app.test_client().get("/a").status_code == 409
    assert trace == ["policy", "refuses", "/policy", "finally"]


def test_teardown_of_one_policy_that_fails_does_not_keep_others_from_theirs(
    app: Flask, trace: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    @middleware
    def fails(request: Request) -> Generator[None, Response, None]:
        try:
            yield
        finally:
            raise ZeroDivisionError("in finally")

    app.testing = True
    app.teardown_request(note(trace, "teardown"))
    Guard(app, policies=[noting(trace), fails])
    app.add_url_rule("/a", "a", breaks)

    with pytest.raises(ZeroDivisionError, match="broken on purpose"):
        app.test_client().get("/a")

    assert trace == ["policy", "finally", "teardown"]
    assert "a policy failed while the request was torn down" in caplog.messages


@pytest.mark.parametrize("where", ["before", "after"])
def test_policy_that_breaks_is_a_500_with_the_headers_of_the_others(
    app: Flask, trace: list[str], caplog: pytest.LogCaptureFixture, where: str
) -> None:
    @middleware(phase=Phase.AUTHENTICATE)
    def broken(request: Request) -> Generator[None, Response, None]:
        if where == "before":
            raise ZeroDivisionError
        yield
        raise ZeroDivisionError

    Guard(app, policies=[log_timing, secure_headers, noting(trace), broken])
    app.add_url_rule("/a", "a", lambda: "a")

    with caplog.at_level(logging.INFO, logger="flask_guard.access"):
        response = app.test_client().get("/a")

    assert response.status_code == 500
    assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert [vars(r)["status"] for r in caplog.records if r.name == "flask_guard.access"] == [500]
    assert trace == ([] if where == "before" else ["policy", "/policy", "finally"])
