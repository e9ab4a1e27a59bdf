"""Preflights: `cors` answers them itself, with the policy of the request that they announce."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Blueprint, Flask, request
from flask.views import MethodView
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from flask_guard import Cors, Guard, cors, exempt, limit, protect, require_api_key
from tests.cases import together
from tests.conftest import MakeApp

APP = "https://app.example.com"
PARTNER = "https://partner.example.com"
EVIL = "https://evil.example.net"


def preflight(app: Flask, method: str = "GET", path: str = "/", origin: str = APP, headers: str = "") -> TestResponse:
    fields = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        fields["Access-Control-Request-Headers"] = headers
    return app.test_client().options(path, headers=fields)


def names(response: TestResponse, header: str) -> set[str]:
    """Return the comma-separated names in `header`, of which there must be one at most."""
    values = response.headers.getlist(header)
    assert len(values) <= 1
    return {name.strip() for value in values for name in value.split(",")}


def cors_headers(response: TestResponse) -> list[str]:
    return [name for name, _ in response.headers if name.startswith("Access-Control-")]


def serve(app: Flask, policy: Cors, *methods: str) -> Flask:
    app.add_url_rule("/", "index", policy(lambda: "hello"), methods=methods or ("GET",))
    Guard(app)
    return app


# The answer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [APP, EVIL])
def test_answer_is_ok_and_empty(app: Flask, origin: str) -> None:
    serve(app, cors(origins=APP))

    response = preflight(app, origin=origin)

    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    assert response.headers.getlist("Vary") == ["Origin"]


def test_preflight_needs_no_key_and_spends_no_quota(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    api = Blueprint("api", __name__, url_prefix="/api")
    protect(api, require_api_key, cors(origins=APP), limit("1/minute"), limit("1/minute", shared="all"))
    api.add_url_rule("/orders", "orders", lambda: "orders", methods=["POST"])
    app.register_blueprint(api)
    Guard(app)

    answers = [preflight(app, "POST", "/api/orders", headers="X-API-Key") for _ in range(5)]
    actual = app.test_client().post("/api/orders", headers={"Origin": APP, "X-API-Key": "the secret of ci"})

    assert {answer.status_code for answer in answers} == {204}
    assert {answer.headers["Access-Control-Allow-Origin"] for answer in answers} == {APP}
    assert not any("RateLimit" in answer.headers for answer in answers)
    assert actual.status_code == 200


def test_preflight_does_not_run_the_view(app: Flask) -> None:
    served: list[str] = []

    @app.route("/", methods=["GET", "OPTIONS"])
    @cors(origins=APP)
    def index() -> str:
        served.append(request.method)
        return "hello"

    Guard(app)

    assert preflight(app).status_code == 204
    assert served == []


@pytest.mark.parametrize("fields", [{}, {"Origin": APP}])
def test_options_request_that_is_no_preflight_reaches_flask(app: Flask, fields: dict[str, str]) -> None:
    serve(app, cors(origins=APP))

    response = app.test_client().options("/", headers=fields)

    assert response.status_code == 200
    assert set(response.allow) == {"GET", "HEAD", "OPTIONS"}
    assert response.headers.get("Access-Control-Allow-Origin") == fields.get("Origin")


def test_app_without_cors_answers_preflights_as_flask_does(app: Flask) -> None:
    app.add_url_rule("/", "index", lambda: "hello")
    Guard(app)

    response = preflight(app)

    assert response.status_code == 200
    assert cors_headers(response) == []


# Methods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("methods", "announced", "allowed"),
    [
        (["GET"], "GET", {"GET", "HEAD"}),
        (["GET"], "HEAD", {"GET", "HEAD"}),
        (["PUT", "PATCH"], "PATCH", {"PUT", "PATCH"}),
        (["PUT", "PATCH"], "patch", {"PUT", "PATCH"}),
    ],
)
def test_allowed_methods_are_those_of_the_route(
    app: Flask, methods: list[str], announced: str, allowed: set[str]
) -> None:
    serve(app, cors(origins=APP), *methods)

    assert names(preflight(app, announced), "Access-Control-Allow-Methods") == allowed


def test_methods_that_are_given_are_the_ones_allowed(app: Flask) -> None:
    serve(app, cors(origins=APP, methods=["post"]), "GET", "POST")

    assert names(preflight(app, "POST"), "Access-Control-Allow-Methods") == {"POST"}
    assert "GET" not in names(preflight(app, "GET"), "Access-Control-Allow-Methods")


@together("policy", [cors(origins=APP), cors(origins="*"), cors(origins=APP, methods=["DELETE"])])
@together("announced", ["DELETE", "NONSENSE", "", "GET, POST", "--"])
def test_method_that_the_path_lacks_gets_no_headers(app: Flask, policy: Cors, announced: str) -> None:
    serve(app, policy)

    assert cors_headers(preflight(app, announced)) == []


@pytest.mark.parametrize("announced", ["GET", "POST", "DELETE"])
def test_unknown_path_is_answered_so_that_the_page_can_read_the_404(app: Flask, announced: str) -> None:
    api = protect(Blueprint("api", __name__, url_prefix="/api"), cors(origins=PARTNER))
    api.add_url_rule("/", "index", lambda: "hello")
    app.register_blueprint(api)
    Guard(app, policies=[cors(origins=APP, methods=["GET", "POST"])])

    below, beside = preflight(app, announced, "/api/nowhere", PARTNER), preflight(app, announced, "/nowhere")

    assert (below.status_code, names(below, "Access-Control-Allow-Methods")) == (204, {announced})
    assert below.headers["Access-Control-Allow-Origin"] == PARTNER
    assert beside.status_code == 204
    assert names(beside, "Access-Control-Allow-Methods") == (set() if announced == "DELETE" else {"GET", "POST"})
    assert cors_headers(preflight(app, announced, "/api/nowhere")) == []
    actual = app.test_client().open("/api/nowhere", method=announced, headers={"Origin": PARTNER})
    assert (actual.status_code, actual.headers["Access-Control-Allow-Origin"]) == (404, PARTNER)


@pytest.mark.parametrize("announced", ["", "GET, POST", "G\u00e4T", "G" * 1000, "<script>"])
def test_unknown_path_allows_nothing_that_is_not_a_method(app: Flask, announced: str) -> None:
    Guard(app, policies=[cors(origins=APP)])

    assert cors_headers(preflight(app, announced, "/nowhere")) == []


def test_rule_that_takes_every_method_allows_the_announced_one(app: Flask) -> None:
    app.view_functions["any"] = cors(origins=APP)(lambda: "hello")
    app.url_map.add(Rule("/any", endpoint="any"))
    Guard(app)

    assert names(preflight(app, "PURGE", "/any"), "Access-Control-Allow-Methods") == {"PURGE"}


# Which policy ----------------------------------------------------------------------------------------------------


def test_two_views_on_one_path_keep_their_policies_apart(app: Flask) -> None:
    app.add_url_rule("/", "read", cors(origins="*")(lambda: "read"), methods=["GET"])
    app.add_url_rule("/", "write", cors(origins=PARTNER, credentials=True)(lambda: "wrote"), methods=["POST"])
    app.add_url_rule("/", "drop", lambda: "dropped", methods=["DELETE"])
    Guard(app)
    client = app.test_client()

    allowed = {
        (method, origin): preflight(app, method, origin=origin).headers.get("Access-Control-Allow-Origin")
        for method in ("GET", "POST", "DELETE")
        for origin in (PARTNER, EVIL)
    }
    assert allowed == {
        ("GET", PARTNER): "*",
        ("GET", EVIL): "*",
        ("POST", PARTNER): PARTNER,
        ("POST", EVIL): None,
        ("DELETE", PARTNER): None,
        ("DELETE", EVIL): None,
    }
    assert names(preflight(app, "POST", origin=PARTNER), "Access-Control-Allow-Methods") == {"POST"}
    assert "Access-Control-Allow-Credentials" not in preflight(app, "GET", origin=PARTNER).headers
    assert client.get("/", headers={"Origin": EVIL}).headers["Access-Control-Allow-Origin"] == "*"
    assert client.post("/", headers={"Origin": PARTNER}).headers["Access-Control-Allow-Origin"] == PARTNER
    assert cors_headers(client.post("/", headers={"Origin": EVIL})) == []
    assert cors_headers(client.delete("/", headers={"Origin": PARTNER})) == []


def test_methods_of_a_class_keep_their_policies_apart(app: Flask) -> None:
    @cors(origins=APP)
    class Index(MethodView):
        def get(self) -> str:
            return "read"

        @cors(origins=PARTNER)
        def post(self) -> str:
            return "wrote"

        @exempt(cors)
        def delete(self) -> str:
            return "dropped"

    app.add_url_rule("/", view_func=Index.as_view("index"))
    Guard(app)

    assert preflight(app, "GET").headers["Access-Control-Allow-Origin"] == APP
    assert cors_headers(preflight(app, "POST")) == []
    assert preflight(app, "POST", origin=PARTNER).headers["Access-Control-Allow-Origin"] == PARTNER
    assert cors_headers(preflight(app, "DELETE")) == []


def test_decorators_of_a_class_get_their_preflights(app: Flask) -> None:
    class Index(MethodView):
        decorators = [cors(origins=APP)]  # noqa: RUF012  # as Flask's documentation writes it

        async def get(self) -> str:
            return "read"

        def put(self) -> str:
            return "wrote"

    app.add_url_rule("/", view_func=Index.as_view("index"))
    Guard(app)

    assert preflight(app, "PUT").headers["Access-Control-Allow-Origin"] == APP
    assert app.test_client().get("/", headers={"Origin": APP}).headers["Access-Control-Allow-Origin"] == APP


# Headers and age -------------------------------------------------------------------------------------------------


def allowed_headers(app: Flask, requested: str) -> set[str]:
    return {name.lower() for name in names(preflight(app, headers=requested), "Access-Control-Allow-Headers")}


@together(
    ("options", "requested", "allowed"),
    [
        ({}, "authorization, content-type", {"authorization", "content-type"}),
        ({}, "X-API-Key,x-request-id", {"x-api-key", "x-request-id"}),
        ({}, "x-evil, Content-Type", {"content-type"}),
        ({}, "x-evil", set()),
        ({}, "", set()),
        ({"allow_headers": ["X-Tenant"]}, "x-tenant, content-type", {"x-tenant"}),
        ({"allow_headers": "X-Tenant"}, "x-tenant", {"x-tenant"}),
        ({"allow_headers": []}, "content-type, authorization", set()),
        (
            {"allow_headers": re.compile("X-Company-.*")},
            "x-company-a,x-company-b,x-other",
            {"x-company-a", "x-company-b"},
        ),
        ({"allow_headers": ["X-A", re.compile("(?i)x-b")]}, "x-a, X-B, x-bb, ax-b", {"x-a", "x-b"}),
        ({"allow_headers": re.compile("x")}, "x y, x\u2028, x", {"x"}),
        ({"allow_headers": "*"}, "x-anything, content-type", {"x-anything", "content-type"}),
        ({"allow_headers": "*"}, "x-anything, Authorization", {"x-anything"}),
        ({"allow_headers": ["*", "Authorization"]}, "x-anything, authorization", {"x-anything", "authorization"}),
        ({"allow_headers": "*", "credentials": True}, "x-anything, authorization", {"x-anything"}),
    ],
)
def test_only_requested_headers_that_are_allowed_are_answered(
    app: Flask, options: dict[str, Any], requested: str, allowed: set[str]
) -> None:
    serve(app, cors(origins=APP, **options))

    assert allowed_headers(app, requested) == allowed


@together(
    "requested",
    ["<script>", "x y", "x:y", 'x"y', "x;y", ".*", "x(y)", "x[y]", "x\x00y", "x\x7fy", "\xff", "x" * 100_000, ",,, ,"],
)
def test_nothing_that_is_no_header_name_is_echoed(app: Flask, requested: str) -> None:
    serve(app, cors(origins=APP, allow_headers="*"))

    answered = allowed_headers(app, f"x-good, {requested}")

    assert answered <= {"x-good"} | ({".*"} if requested == ".*" else set())


@pytest.mark.parametrize(("count", "answered"), [(64, 64), (65, 0), (10_000, 0)])
def test_more_names_than_anybody_needs_are_refused_together(app: Flask, count: int, answered: int) -> None:
    serve(app, cors(origins=APP, allow_headers="*"))

    assert len(allowed_headers(app, ",".join(f"x-{number}" for number in range(count)))) == answered


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, "600"),
        ({"max_age": 86400}, "86400"),
        ({"max_age": timedelta(hours=2)}, "7200"),
        ({"max_age": 0}, "0"),
        ({"max_age": None}, None),
    ],
)
def test_max_age_is_in_seconds(app: Flask, options: dict[str, Any], sent: str | None) -> None:
    serve(app, cors(origins=APP, **options))

    assert preflight(app).headers.get("Access-Control-Max-Age") == sent


# One after the other ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_of_many_different_preflights_gets_its_own_answer(app: Flask) -> None:
    """Answers are kept, so one must not go out in place of another, however many there are."""
    policy = cors(origins=[APP, PARTNER], allow_headers=[re.compile("x-[0-9]+"), "Content-Type"])
    serve(app, policy, "GET", "PUT")

    for _ in range(2):
        for number in range(100):
            for origin in (APP, PARTNER):
                allowed = preflight(app, "PUT", origin=origin, headers=f"x-{number}, x-secret")
                assert allowed.headers["Access-Control-Allow-Origin"] == origin
                assert names(allowed, "Access-Control-Allow-Headers") == {f"x-{number}"}
        assert cors_headers(preflight(app, "PUT", origin=EVIL, headers="x-1, x-secret")) == []
        assert cors_headers(preflight(app, "DELETE", headers="x-1, x-secret")) == []
        assert "Access-Control-Allow-Headers" not in preflight(app, "PUT").headers
