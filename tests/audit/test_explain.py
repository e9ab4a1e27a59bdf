"""The explanation of a request: routing, each policy with its verdict, the answer, who decided, and what to do."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Generator
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from flask import Blueprint, Flask, Response, abort, redirect, request
from flask.views import MethodView
from flask_cors import CORS
from flask_httpauth import HTTPBasicAuth  # type: ignore[import-untyped]
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, login_required  # type: ignore[import-untyped]
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_guard import (
    Guard,
    cors,
    exempt,
    limit,
    log_timing,
    middleware,
    protect,
    require_api_key,
    require_auth,
    secure_headers,
)
from flask_guard.audit.explain import explain
from flask_guard.audit.rehearsal import Asked
from tests.cases import together
from tests.conftest import MakeApp
from tests.flask_versions import needs_trusted_hosts

KEY = "a long secret key"


def fine() -> str:
    return "fine"


def explained(app: Flask, method: str, path: str, *headers: tuple[str, str], **options: Any) -> dict[str, Any]:
    return explain(app, Asked(method, path, headers), **options)


def verdicts(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["name"], each["verdict"]) for each in document["policies"]]


@pytest.fixture
def shop(make_app: MakeApp) -> Flask:
    """Return an app in which policies replace, merge with and exempt each other."""
    app = make_app(GUARD_API_KEYS={"k": KEY})
    Guard(app, policies=[log_timing, secure_headers(frame_options="SAMEORIGIN")])
    api = Blueprint("api", __name__, url_prefix="/api")
    protect(api, cors(origins="https://a.example"), limit("100/minute"), require_api_key)
    api.add_url_rule("/orders", "orders", fine)
    api.add_url_rule(
        "/orders",
        "create",
        require_api_key(scopes="orders:write")(limit("10/minute")(secure_headers(referrer_policy="origin")(fine))),
        methods=["POST"],
    )
    api.add_url_rule("/health", "health", exempt(require_api_key, limit)(fine))
    app.register_blueprint(api)
    app.add_url_rule("/folder/", "folder", fine)
    return app


# The plan ------------------------------------------------------------------------------------------------------------


def test_each_policy_has_its_verdict_options_and_place(shop: Flask) -> None:
    document = explained(shop, "POST", "/api/orders")

    assert verdicts(document) == [
        ("log_timing", "allowed"),
        ("cors", "response only"),
        ("secure_headers", "response only"),
        ("limit", "allowed"),
        ("require_api_key", "denied"),
    ]
    denied = document["policies"][4]
    assert (denied["reason"], denied["status"], denied["options"]) == ("missing", 401, {"scopes": ["orders:write"]})
    assert denied["scope"] == "view api.create"
    assert denied["site"].startswith(f"{__file__}:")
    assert all(each["enter_us"] is not None for each in document["policies"] if each["verdict"] == "allowed")


def test_fields_that_each_policy_added_and_removed_are_told(shop: Flask) -> None:
    @middleware
    def tidy(_request: object) -> Generator[None, Response, None]:
        response = yield
        del response.headers["X-Old"]
        response.headers["X-New"] = "2"

    def view() -> Response:
        return Response("fine", headers={"X-Old": "1", "X-New": "1"})

    shop.add_url_rule("/tidy", "tidy", tidy(view))
    document = explained(shop, "GET", "/tidy")
    changed = document["policies"][-1]

    assert changed["added"] == [["X-New", "2"]]
    assert changed["removed"] == [["X-Old", "1"], ["X-New", "1"]]
    assert ["X-Frame-Options", "sameorigin"] in document["policies"][1]["added"]


def test_policies_that_are_not_in_force_are_told_with_the_reason(shop: Flask) -> None:
    def left_out(method: str, path: str) -> list[tuple[str, str, str | None]]:
        found = explained(shop, method, path)["left_out"]
        return [(each["text"], each["why"], each["by"]) for each in found]

    assert set(left_out("POST", "/api/orders")) == {
        ("secure_headers(frame_options=sameorigin)", "merged", "secure_headers(referrer_policy=origin)"),
        ("limit(100/minute)", "replaced", "limit(10/minute)"),
        ("require_api_key", "replaced", "require_api_key(scopes=orders:write)"),
    }
    assert set(left_out("GET", "/api/health")) == {
        ("require_api_key", "exempt", "exempt(require_api_key, limit)"),
        ("limit(100/minute)", "exempt", "exempt(require_api_key, limit)"),
    }
    assert set(left_out("OPTIONS", "/api/orders")) == {
        ("limit(100/minute)", "not concerned", None),
        ("require_api_key", "not concerned", None),
    }


def test_merged_policy_is_marked_and_shows_both(shop: Flask) -> None:
    document = explained(shop, "POST", "/api/orders")
    merged = next(each for each in document["policies"] if each["name"] == "secure_headers")

    assert merged["merged"]
    assert {"frame_options", "referrer_policy"} <= set(merged["options"])


def test_every_site_of_what_is_left_out_is_told(shop: Flask) -> None:
    for each in explained(shop, "POST", "/api/orders")["left_out"]:
        assert each["site"].startswith(f"{__file__}:")
        assert each["by_site"].startswith(f"{__file__}:")


def test_limits_in_one_step_share_its_cost(app: Flask) -> None:
    app.add_url_rule("/", "view", limit("1/minute")(limit("9/hour")(fine)))
    Guard(app)

    one, two = explained(app, "GET", "/")["policies"]

    assert (one["with_previous"], two["with_previous"]) == (False, True)
    assert one["enter_us"] is not None
    assert two["enter_us"] is None


# The way of the request ----------------------------------------------------------------------------------------------


def test_not_found_is_explained_with_rules_that_are_alike(app: Flask) -> None:
    for rule in ("/orders", "/orders/<int:number>", "/static-things", "/api/v1/users/<name>"):
        app.add_url_rule(rule, rule, fine)
    Guard(app)

    assert explained(app, "GET", "/ordres")["routing"]["suggestions"] == ["/orders"]
    assert explained(app, "GET", "/order/7")["routing"]["suggestions"][0] == "/orders/<int:number>"
    assert explained(app, "GET", "/nothing-like-it/at/all")["routing"]["suggestions"] == []
    decision = explained(app, "GET", "/ordres")["decision"]
    assert (decision["by"], decision["fix"]) == ("routing", ["Did you mean /orders?"])


def test_not_found_below_a_guarded_prefix_says_that_a_refusal_hides_it(shop: Flask) -> None:
    document = explained(shop, "GET", "/api/ordrs")

    assert (document["answer"]["status"], document["decision"]["by"]) == (401, "policy")
    assert "No rule matches /api/ordrs." in document["decision"]["why"]
    assert "Did you mean /api/orders?" in document["decision"]["fix"]


def test_wrong_method_is_explained_with_those_that_the_path_takes(shop: Flask) -> None:
    document = explained(shop, "DELETE", "/api/health")

    assert (document["routing"]["outcome"], document["answer"]["status"]) == ("wrong method", 405)
    assert document["decision"]["why"] == "/api/health takes GET, HEAD, OPTIONS, and not DELETE."


def test_redirect_is_explained_with_its_target(shop: Flask) -> None:
    document = explained(shop, "GET", "/folder?mail=ada@site.example")

    assert (document["routing"]["outcome"], document["answer"]["status"]) == ("redirect", 308)
    assert document["routing"]["location"] == "http://localhost/folder/?mail=…"
    assert document["decision"]["why"] == "Routing sends /folder to http://localhost/folder/?mail=…."
    assert "ada" not in json.dumps(document)


def test_mount_of_another_app_is_explained(shop: Flask) -> None:
    shop.wsgi_app = DispatcherMiddleware(shop.wsgi_app, {"/other": Flask("other")})  # type: ignore[method-assign]

    document = explained(shop, "GET", "/other/page")

    assert document["routing"]["mount"] == {"path": "/other", "app": "the Flask app 'other'"}
    assert "policies" not in document
    assert explained(shop, "GET", "/api/health")["answer"]["status"] == 200


def test_options_that_flask_answers_is_told_from_a_view(shop: Flask) -> None:
    document = explained(shop, "OPTIONS", "/folder/")

    assert (document["routing"]["outcome"], document["decision"]["by"]) == ("automatic", "Flask")


@needs_trusted_hosts
def test_trusted_hosts_are_explained(make_app: MakeApp) -> None:
    app = make_app(TRUSTED_HOSTS=["shop.example"])
    app.add_url_rule("/", "view", fine)
    Guard(app)

    document = explained(app, "GET", "/", ("Host", "evil.example"))

    assert (document["routing"]["outcome"], document["answer"]["status"]) == ("refused", 400)
    assert document["decision"]["fix"] == ["Send a Host that TRUSTED_HOSTS allows."]


# Who decided ---------------------------------------------------------------------------------------------------------


def decided(app: Flask, path: str = "/", *headers: tuple[str, str], method: str = "GET") -> tuple[int, str, str]:
    document = explained(app, method, path, *headers, run_view="always")
    return document["answer"]["status"], document["decision"]["by"], document["decision"]["name"]


def test_a_hook_that_answers_is_named_with_its_line(app: Flask) -> None:
    def gate() -> tuple[str, int]:
        return "closed", 403

    app.before_request(gate)
    Guard(app)
    app.add_url_rule("/", "view", fine)

    document = explained(app, "GET", "/")

    assert document["decision"]["by"] == "hook"
    assert document["decision"]["name"].endswith("test_a_hook_that_answers_is_named_with_its_line.gate")
    assert document["decision"]["site"] == f"{__file__}:{gate.__code__.co_firstlineno}"
    assert document["hooks"][0]["status"] == 403


def with_logins(app: Flask) -> Any:
    LoginManager(app).user_loader(lambda _id: None)
    return login_required(fine)


@pytest.mark.parametrize(
    ("build", "status", "by"),
    [
        (with_logins, 401, "Flask-Login"),
        (lambda app: HTTPBasicAuth().login_required(fine), 401, "Flask-HTTPAuth"),
    ],
    ids=["Flask-Login", "Flask-HTTPAuth"],
)
def test_a_decorator_of_another_package_is_named(
    app: Flask, build: Callable[[Flask], Any], status: int, by: str
) -> None:
    app.add_url_rule("/", "view", build(app))
    Guard(app)

    document = explained(app, "GET", "/")

    assert decided(app) == (status, "decorator", by)
    assert document["view"]["outcome"] == "not reached"
    assert len(document["decision"]["fix"]) == 1


def test_a_decorator_of_the_apps_own_is_named_with_its_line(app: Flask) -> None:
    app.add_url_rule("/", "view", only_on_sundays(fine))
    Guard(app)

    document = explained(app, "GET", "/")

    assert (document["decision"]["by"], document["answer"]["status"]) == ("decorator", 403)
    assert document["decision"]["name"].endswith(".only_on_sundays")
    assert document["decision"]["site"].startswith(f"{__file__}:")


def test_async_views_and_decorators_are_watched_in_their_event_loop(app: Flask) -> None:
    async def view() -> str:
        return "fine"

    @functools.wraps(view)
    async def never() -> tuple[str, int]:
        return "closed", 403

    app.add_url_rule("/open", "open", log_timing(view))
    app.add_url_rule("/closed", "closed", never)
    Guard(app)

    assert explained(app, "GET", "/open")["view"]["outcome"] == "ran"
    assert decided(app, "/open") == (200, "view", "open")
    assert explained(app, "GET", "/closed")["view"]["outcome"] == "not reached"
    assert decided(app, "/closed")[:2] == (403, "decorator")


def only_on_sundays(view: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return abort(403) if request.method else view(*args, **kwargs)

    wrapper.__wrapped__ = view  # type: ignore[attr-defined]
    return wrapper


def test_a_limit_of_flask_limiter_is_explained(make_app: MakeApp) -> None:
    app = make_app()
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    app.add_url_rule("/", "view", limiter.limit("1/hour")(fine))
    app.test_client().get("/")

    document = explained(app, "GET", "/")

    assert document["answer"]["status"] == 429
    assert document["decision"]["fix"] == ["Wait until the limit of Flask-Limiter is reset."]


def test_csrf_protection_is_explained(app: Flask) -> None:
    CSRFProtect(app)
    app.add_url_rule("/", "view", fine, methods=["POST"])

    document = explained(app, "POST", "/", run_view="always")

    assert document["answer"]["status"] == 400
    assert "CSRF token" in document["decision"]["fix"][0]


def read_json() -> str:
    return str(request.json)


@pytest.mark.parametrize(
    ("view", "status", "fix"),
    [
        (read_json, 415, "Send the body as JSON, with 'Content-Type: application/json'."),
        (lambda: abort(404), 404, "The view found nothing at this path: check the ids in the path."),
        (lambda: ("no", 403), 403, "The view denies the request itself: read its code."),
        (lambda: abort(401), 401, "The view asks for credentials itself: read its code."),
        (lambda: abort(429), 429, "The view limits requests itself."),
        (lambda: str(request.form["name"]), 400, "Send the form field or query parameter that the view reads."),
    ],
    ids=["415", "404", "403", "401", "429", "400"],
)
def test_a_refusal_of_the_view_itself_is_explained(app: Flask, view: Any, status: int, fix: str) -> None:
    app.add_url_rule("/", "view", view, methods=["POST"])
    Guard(app)

    document = explained(app, "POST", "/", run_view="always")

    assert (document["answer"]["status"], document["decision"]["by"]) == (status, "view")
    assert document["decision"]["fix"] == [fix]


def test_an_exception_is_explained_with_its_line(app: Flask) -> None:
    app.add_url_rule("/", "view", fails)
    Guard(app)

    decision = explained(app, "GET", "/")["decision"]

    assert "ZeroDivisionError (division by zero)" in decision["why"]
    assert decision["site"] == f"{__file__}:{fails.__code__.co_firstlineno + 1}"


def fails() -> str:
    return str(1 / 0)


@pytest.mark.parametrize(
    ("policy", "headers", "reason", "fix"),
    [
        (require_api_key, [], "missing", "Send a key: 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."),
        (require_api_key(in_="query:key"), [], "missing", "Send a key: ?key=KEY."),
        (
            require_api_key,
            [("X-API-Key", "wrong-key")],
            "unknown",
            "Send a key that the app knows: those of GUARD_API_KEYS, or of 'flask guard keys list'.",
        ),
        (
            require_api_key(scopes="a", any_scope=["b", "c"]),
            [("X-API-Key", KEY)],
            "insufficient_scope",
            "Send a key with the scope a and one of b, c.",
        ),
        (
            require_auth(bearer=lambda _: None),
            [],
            "missing",
            "Send 'Authorization: Bearer TOKEN'.",
        ),
        (
            require_auth(bearer=lambda _: {"sub": "ada", "roles": []}, roles="staff"),
            [("Authorization", "Bearer x")],
            "missing_role",
            "Act as a principal with the role staff.",
        ),
    ],
    ids=["no key", "no key in the query", "unknown key", "scope", "no token", "role"],
)
def test_a_denial_says_what_would_let_the_request_through(
    make_app: MakeApp, policy: Any, headers: list[tuple[str, str]], reason: str, fix: str
) -> None:
    app = make_app(GUARD_API_KEYS={"k": KEY})
    app.add_url_rule("/", "view", policy(fine))
    Guard(app)

    document = explained(app, "GET", "/", *headers)

    assert document["policies"][-1]["reason"] == reason
    assert document["decision"]["fix"] == [fix]


def test_a_used_up_limit_says_how_long_to_wait(app: Flask) -> None:
    app.add_url_rule("/", "view", limit("1/hour")(fine))
    Guard(app)
    app.test_client().get("/")

    (fix,) = explained(app, "GET", "/")["decision"]["fix"]

    assert fix.startswith("Wait 3")
    assert "flask guard limits reset --key CLIENT" in fix


def test_report_mode_tells_what_would_have_been_denied(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"k": KEY}, GUARD_MODES={"require_api_key": "report"})
    app.add_url_rule("/", "view", require_api_key(fine))
    Guard(app)

    document = explained(app, "GET", "/")

    assert (document["answer"]["status"], verdicts(document)) == (200, [("require_api_key", "would deny")])
    assert document["would_deny"] == [{"policy": "require_api_key", "reason": "missing"}]


def test_an_app_without_a_guard_is_explained(app: Flask) -> None:
    CORS(app, origins="https://a.example")
    app.add_url_rule("/", "view", fine)

    document = explained(app, "GET", "/")

    assert (document["guard"], document["policies"], document["answer"]["status"]) == (False, [], 200)
    assert [each["by"] for each in document["others"]] == ["Flask-CORS"]


def test_guard_that_is_switched_off_is_said(make_app: MakeApp) -> None:
    app = make_app(GUARD_ENABLED=False, GUARD_API_KEYS={"k": KEY})
    app.add_url_rule("/", "view", require_api_key(fine))
    Guard(app)

    document = explained(app, "GET", "/")

    assert (document["enabled"], document["policies"], document["answer"]["status"]) == (False, [], 200)


# The view ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "run_view", "ran"),
    [
        ("GET", "if safe", True),
        ("POST", "if safe", False),
        ("POST", "always", True),
        ("GET", "never", False),
        ("DELETE", "if safe", False),
    ],
)
def test_views_of_methods_that_change_state_run_only_if_asked(
    app: Flask, method: str, run_view: Any, ran: bool
) -> None:
    calls: list[str] = []

    def view() -> str:
        calls.append(request.method)
        return "fine"

    app.add_url_rule("/", "view", limit("9/hour")(view), methods=["GET", "POST", "DELETE"])
    Guard(app)

    document = explained(app, method, "/", run_view=run_view)

    assert calls == ([method] if ran else [])
    assert document["view"]["outcome"] == ("ran" if ran else "left out")
    assert verdicts(document) == [("limit", "allowed")]


def test_a_class_based_view_is_explained(app: Flask) -> None:
    class Orders(MethodView):
        decorators: ClassVar[list[Any]] = [limit("9/minute")]

        def get(self) -> str:
            return "fine"

        @require_api_key
        def post(self) -> str:
            return "fine"

    app.add_url_rule("/", view_func=Orders.as_view("orders"))
    Guard(app)

    assert [each["scope"] for each in explained(app, "POST", "/")["policies"]] == [
        "view orders",
        f"method {Orders.__qualname__}.post",
    ]
    assert explained(app, "GET", "/")["routing"]["site"] == f"{__file__}:{Orders.get.__code__.co_firstlineno}"


# Secrets -------------------------------------------------------------------------------------------------------------

SECRET = "hunter2-" + "Zx9" * 9


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.slow
@together(
    "header",
    [
        ("Authorization", f"Bearer {SECRET}"),
        ("Authorization", basic("ada", SECRET)),
        ("Authorization", SECRET),
        ("X-API-Key", SECRET),
        ("X-Our-Own", SECRET),
        ("Cookie", f"session={SECRET}; theme=dark"),
        ("Proxy-Authorization", f"Bearer {SECRET}"),
        ("X-CSRF-Token", SECRET),
    ],
)
@together("run_view", ["always", "never"])
def test_no_secret_of_the_request_is_shown_whatever_repeats_it(app: Flask, header: Any, run_view: Any) -> None:
    def view(kind: str) -> Any:
        sent = request.headers[header[0]]
        told = {"/header": Response("x", headers={"X-Echo": sent}), "/redirect": redirect(f"/{SECRET}?key={SECRET}")}
        if kind in told:
            return told[kind]
        raise ValueError(f"bad credentials: {sent}, {request.authorization and request.authorization.password}")

    places: Any = ("bearer", "x-api-key", "header:X-Our-Own")
    for path in ("/header", "/redirect", "/error"):
        app.add_url_rule(path, path, require_api_key(in_=places, mode="report")(lambda path=path: view(path)))
        app.add_url_rule(f"{path}/denied", f"{path}/denied", require_api_key(in_=places, failures=None)(fine))
    Guard(app, keys={"k": KEY}, policies=[log_timing])

    for path in ("/header", "/redirect", "/error", "/header/denied", "/none"):
        text = json.dumps(explained(app, "GET", path, header, run_view=run_view))

        assert SECRET not in text
        assert base64.b64encode(f"ada:{SECRET}".encode()).decode() not in text


def test_values_of_queries_are_not_shown(app: Flask) -> None:
    app.add_url_rule("/", "view", require_api_key(in_="query:key")(fine))
    Guard(app, keys={"k": KEY})

    assert SECRET not in json.dumps(explained(app, "GET", f"/?key={SECRET}"))


@pytest.mark.parametrize("name", ["key", "token", "api_key"])
@pytest.mark.parametrize("value", [KEY, "a secret/of&the query"], ids=["valid", "with spaces"])
def test_no_credential_of_the_query_is_shown_whatever_repeats_it(app: Flask, name: str, value: str) -> None:
    def view(kind: str) -> Any:
        sent = request.args[name]
        if kind == "error":
            raise ValueError(f"invalid: {sent}")
        return redirect(f"/{quote(sent)}?{name}={sent}") if kind == "redirect" else ("", {"X-Echo": sent})

    policy = require_api_key(in_="query:key", mode="report")
    for kind in ("error", "redirect", "echo"):
        app.add_url_rule(f"/{kind}", kind, policy(lambda kind=kind: view(kind)))
    Guard(app, keys={"k": KEY})

    for kind in ("error", "redirect", "echo"):
        text = json.dumps(explained(app, "GET", f"/{kind}?{name}={quote(value, safe='')}"))
        assert not [form for form in (value, quote(value), quote(value, safe="")) if form in text]


@pytest.mark.parametrize("raises", ["exception", "abort", "hook", "middleware"])
def test_no_part_of_the_body_is_shown_by_the_text_of_an_exception(app: Flask, raises: str) -> None:
    def fail(kind: str) -> str:
        sent = request.get_json()["card"]
        if raises == kind == "abort":
            abort(422, f"no such card: {sent.upper()}")
        if raises in (kind, "exception"):
            raise ValueError(f"no such card: {sent.upper()}")
        return "fine"

    @middleware
    def policy(_request: Any) -> None:
        fail("middleware")

    app.config["GUARD_PROBLEMS"] = "all"
    Guard(app)
    app.before_request(lambda: fail("hook") and None)
    app.add_url_rule("/", "view", policy(lambda: fail("abort")), methods=["POST"])
    asked = Asked("POST", "/", (("Content-Type", "application/json"),), b'{"card": "blue-4711"}')

    document = explain(app, asked, run_view="always")

    assert document["decision"]["why"].count("Unprocessable" if raises == "abort" else "ValueError") == 1
    assert "4711" not in json.dumps(document)


def test_no_value_of_the_query_is_shown_by_the_text_of_an_exception(app: Flask) -> None:
    app.add_url_rule("/", "view", lambda: str(int(request.args["page"])))
    Guard(app)

    document = explained(app, "GET", "/?page=blue%204711")

    assert "invalid literal for int() with base 10: '…'" in document["decision"]["why"]


def test_no_value_of_the_query_is_shown_by_the_detail_of_a_view(app: Flask) -> None:
    def view() -> Response:
        detail = json.dumps({"detail": f"unknown: {request.args['mail']}"})
        return Response(detail, 400, content_type="application/problem+json")

    app.add_url_rule("/", "view", view)
    Guard(app)

    assert explained(app, "GET", "/?mail=ada%40site.example")["answer"]["detail"] == "unknown: …"


@pytest.mark.parametrize("name", ["X-Forwarded-Authorization", "X-Forwarded-Uri", "Sec-WebSocket-Protocol"])
def test_a_field_that_may_carry_a_credential_is_masked(app: Flask, name: str) -> None:
    app.add_url_rule("/", "view", fine)
    Guard(app)

    assert explained(app, "GET", "/", (name, KEY))["request"]["headers"] == [[name, "…"]]


def test_an_authorization_that_the_app_repeats_is_masked(app: Flask) -> None:
    app.add_url_rule("/", "view", lambda: Response("x", headers={"X-Authorization": KEY}))
    Guard(app)

    assert ["X-Authorization", "…"] in explained(app, "GET", "/")["answer"]["headers"]


def test_an_invalid_url_in_a_field_is_masked(app: Flask) -> None:
    app.add_url_rule("/", "view", fine)
    Guard(app)

    document = explained(app, "GET", "/", ("Referer", "http://["))

    assert document["request"]["headers"] == [["Referer", "…"]]


def test_a_short_secret_is_masked_as_a_word_and_leaves_others_whole(app: Flask) -> None:
    app.add_url_rule("/orders", "view", lambda: Response("x", headers={"X-Echo": "or=or"}))
    Guard(app)

    document = explained(app, "GET", "/orders", ("X-API-Key", "or"))

    assert document["routing"]["rule"] == "/orders"
    assert ["X-Echo", "…=…"] in document["answer"]["headers"]


@pytest.mark.parametrize("word", ["wrong", "left out", "not reached", "denied", "routing", "enforce"])
def test_a_secret_that_is_a_word_of_the_document_leaves_it_readable(shop: Flask, word: str) -> None:
    def outcomes(document: dict[str, Any]) -> list[Any]:
        return [
            document["routing"]["outcome"],
            document["view"]["outcome"],
            document["decision"]["by"],
            *((each["verdict"], each["mode"]) for each in document["policies"]),
        ]

    for method, path in (("DELETE", "/api/orders"), ("POST", "/api/orders"), ("GET", "/none")):
        with_it, without_it = (explained(shop, method, path, ("X-API-Key", each)) for each in (word, "other"))
        assert outcomes(with_it) == outcomes(without_it)


def test_fields_without_credentials_are_shown(app: Flask) -> None:
    Guard(app)

    document = explained(app, "GET", "/", ("Origin", "https://a.example"), ("X-Tenant", "acme"))

    assert document["request"]["headers"] == [["Origin", "https://a.example"], ["X-Tenant", "…"]]
