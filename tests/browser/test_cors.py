"""Chromium lets pages of other origins do what `cors` says, and nothing else."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import flask_cors
import pytest
from flask import Blueprint, Flask, Response, abort, jsonify, request

from flask_guard import Guard, cors, exempt, limit, log_timing, protect, require_api_key
from tests.cases import together

from .conftest import Browser, Server, Tab, blank, serving

LISTED, OTHER = "app.shop.test", "other.shop.test"
LOOKALIKES = ["app.shop.test.evil.test", "evil-app.shop.test", "appxshop.test"]


class Api:
    """An API at ``api.shop.test`` whose views have policies for the pages at ``app.shop.test``."""

    def __init__(self, pages: Server) -> None:
        self.served: Counter[str] = Counter()
        self._lock = threading.Lock()
        listed = [pages.origin(LISTED)]
        self.app = Flask("api")
        self.app.config.update(SECRET_KEY="secret", GUARD_API_KEYS={"ci": "the secret of ci"})
        self.app.before_request(self._count)
        Guard(self.app, policies=[log_timing, cors(origins=listed, max_age=600)])
        self._add_views(listed)

    def _count(self) -> None:
        with self._lock:
            self.served[f"{request.method} {request.path}"] += 1

    def _add_views(self, listed: list[str]) -> None:
        app = blank(self.app)
        app.add_url_rule("/read", "read", lambda: ("read", {"X-Hidden": "7"}), methods=["GET", "POST"])
        app.add_url_rule("/open", "open", cors(origins="*")(lambda: "open"))
        app.add_url_rule("/none", "none", exempt(cors)(lambda: "none"))
        app.add_url_rule("/null", "null", cors(origins="null")(lambda: "null"))
        who = cors(origins=listed, credentials=True)(lambda: jsonify(request.cookies))
        app.add_url_rule("/who", "who", who, methods=["GET", "PUT"])
        app.add_url_rule("/login", "login", self._login, methods=["GET"])
        app.add_url_rule("/write", "write", lambda: jsonify(request.get_json()), methods=["PUT"])
        fresh = cors(origins=listed, max_age=0)(lambda: "fresh")
        app.add_url_rule("/fresh", "fresh", fresh, methods=["PUT"])
        orders = cors(origins=listed, credentials=True)(lambda: "orders")
        app.add_url_rule("/orders/", "orders", orders, methods=["GET", "PUT"])
        app.add_url_rule(
            "/strict", "strict", cors(origins=listed, reject_unlisted=True)(lambda: "done"), methods=["POST"]
        )
        app.add_url_rule(
            "/foreign", "foreign", flask_cors.cross_origin(origins=["https://nobody.test"])(lambda: "never")
        )
        app.add_url_rule("/mixed", "mixed", lambda: "read", methods=["GET"])
        app.add_url_rule("/mixed", "mixed2", exempt(cors)(lambda: "wrote"), methods=["PUT"])
        errors = Blueprint("errors", __name__, url_prefix="/error")
        errors.add_url_rule("/401", "e401", require_api_key(lambda: "secret"))
        errors.add_url_rule("/405", "e405", lambda: "posted", methods=["PUT"])
        errors.add_url_rule("/413", "e413", lambda: abort(413), methods=["GET"])
        errors.add_url_rule("/429", "e429", limit("1/hour")(lambda: "once"))
        errors.add_url_rule("/500", "e500", lambda: str(1 / 0))
        protect(errors, cors(origins=listed))
        app.register_blueprint(errors)

    @staticmethod
    def _login() -> Response:
        response = Response("welcome")
        response.set_cookie("user", "ada")
        return response


@pytest.fixture(scope="module")
def pages() -> Iterator[Server]:
    """Serve an empty page at every origin."""
    with serving(blank(Flask("pages"))) as server:
        yield server


@pytest.fixture(scope="module")
def api(pages: Server) -> Api:
    return Api(pages)


@pytest.fixture(scope="module")
def at(api: Api) -> Iterator[Server]:
    with serving(api.app) as server:
        yield server


@pytest.fixture(scope="module")
def listed(browser: Browser, pages: Server, at: Server) -> Iterator[Tab]:
    """Return a tab with a page of the listed origin."""
    with Tab(browser) as tab:
        tab.goto(pages.url(host=LISTED))
        yield tab


def url(at: Server, path: str) -> str:
    return at.url(path, "api.shop.test")


def status(answer: dict[str, Any] | None) -> int | None:
    return answer["status"] if answer is not None else None


# Who may read --------------------------------------------------------------------------------------------------------


def test_listed_origin_may_read(listed: Tab, at: Server) -> None:
    answer = listed.fetch(url(at, "/read"))

    assert answer is not None
    assert (answer["status"], answer["text"]) == (200, "read")


@pytest.mark.parametrize("host", [OTHER, *LOOKALIKES])
def test_other_origins_may_read_only_what_is_open(tab: Tab, pages: Server, at: Server, host: str) -> None:
    tab.goto(pages.url(host=host))

    answers = {path: status(tab.fetch(url(at, path))) for path in ("/read", "/open", "/none", "/null", "/who")}

    assert answers == {"/read": None, "/open": 200, "/none": None, "/null": None, "/who": None}


def test_null_origin_may_read_only_where_it_is_listed(tab: Tab, pages: Server, at: Server) -> None:
    tab.goto(pages.url(host=LISTED))
    asked = [url(at, path) for path in ("/read", "/open", "/null", "/who")]

    answers = tab.evaluate(
        """urls => new Promise(resolve => {
            addEventListener('message', event => resolve(event.data));
            const frame = document.createElement('iframe');
            frame.sandbox = 'allow-scripts';
            frame.srcdoc = `<script>Promise.all(${JSON.stringify(urls)}.map(
                url => fetch(url).then(response => response.status, () => null)
            )).then(found => parent.postMessage(found, '*'))</` + 'script>';
            document.body.append(frame);
        })""",
        asked,
    )

    assert answers == [None, 200, 200, None]


def test_view_that_another_package_takes_care_of_is_not_opened(listed: Tab, at: Server) -> None:
    assert listed.fetch(url(at, "/foreign")) is None


# Credentials ---------------------------------------------------------------------------------------------------------


def test_cookies_go_along_where_credentials_are_allowed(tab: Tab, pages: Server, at: Server) -> None:
    tab.goto(url(at, "/login"))
    tab.goto(pages.url(host=LISTED))

    with_cookie = tab.fetch(url(at, "/who"), credentials="include")
    without = tab.fetch(url(at, "/who"))
    not_allowed = tab.fetch(url(at, "/read"), credentials="include")
    written = tab.fetch(url(at, "/who"), credentials="include", method="PUT")

    texts = [answer["text"].strip() if answer else None for answer in (with_cookie, without, written)]
    assert texts == ['{"user":"ada"}', "{}", '{"user":"ada"}']
    assert not_allowed is None


# Preflights ----------------------------------------------------------------------------------------------------------

JSON = {"Content-Type": "application/json"}


def test_preflighted_request_gets_through(listed: Tab, at: Server) -> None:
    headers = {**JSON, "X-API-Key": "k", "X-Request-ID": "of-the-page"}

    answer = listed.fetch(url(at, "/write"), method="PUT", headers=headers, body='{"a":1}')

    assert answer is not None
    assert (answer["status"], answer["text"].strip()) == (200, '{"a":1}')
    assert answer["headers"]["x-request-id"] == "of-the-page"


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/write", {"method": "PUT", "headers": {**JSON, "X-Evil": "1"}, "body": "{}"}),
        ("/write", {"method": "DELETE"}),
        ("/read", {"method": "PUT"}),
        ("/mixed", {"method": "PUT"}),
        ("/none", {"headers": {"X-API-Key": "k"}}),
        ("/foreign", {"headers": {"X-API-Key": "k"}}),
    ],
    ids=["header", "method", "method of another view", "view that is exempt", "path that is exempt", "other package"],
)
def test_request_that_its_preflight_does_not_allow_is_never_sent(
    listed: Tab, api: Api, at: Server, path: str, options: dict[str, Any]
) -> None:
    method = options.get("method", "GET")
    before = api.served[f"{method} {path}"]

    assert listed.fetch(url(at, path), **options) is None
    assert api.served[f"{method} {path}"] == before


@pytest.mark.parametrize("host", [OTHER, *LOOKALIKES])
@together("credentials", ["include", "omit"])
def test_page_of_an_unlisted_origin_never_sends_what_needs_a_preflight(
    tab: Tab, pages: Server, api: Api, at: Server, host: str, credentials: str
) -> None:
    tab.goto(pages.url(host=host))
    before = Counter(api.served)

    answers = [
        tab.fetch(url(at, "/write"), method="PUT", headers=JSON, body="{}", credentials=credentials),
        tab.fetch(url(at, "/who"), method="PUT", credentials=credentials),
        tab.fetch(url(at, "/error/401"), headers={"X-API-Key": "k"}, credentials=credentials),
    ]

    assert answers == [None, None, None]
    assert {each.split()[0] for each in api.served - before} == {"OPTIONS"}


def test_methods_of_one_path_have_policies_of_their_own(listed: Tab, at: Server) -> None:
    assert status(listed.fetch(url(at, "/mixed"))) == 200
    assert listed.fetch(url(at, "/mixed"), method="PUT") is None


def test_preflight_is_remembered_for_as_long_as_the_policy_says(tab: Tab, pages: Server, api: Api, at: Server) -> None:
    tab.goto(pages.url(host=LISTED))
    before = Counter(api.served)

    for _ in range(3):
        assert status(tab.fetch(url(at, "/write"), method="PUT", headers=JSON, body="{}")) == 200
        assert status(tab.fetch(url(at, "/fresh"), method="PUT")) == 200

    new = api.served - before
    assert (new["OPTIONS /write"], new["PUT /write"]) == (1, 3)
    assert (new["OPTIONS /fresh"], new["PUT /fresh"]) == (3, 3)


# Errors, redirects, headers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [401, 404, 405, 413, 429, 500])
@pytest.mark.parametrize("preflighted", [False, True])
def test_page_can_read_the_status_and_the_body_of_errors(listed: Tab, at: Server, code: int, preflighted: bool) -> None:
    headers = {"X-API-Key": "wrong"} if preflighted else {}
    listed.fetch(url(at, "/error/429"))

    answer = listed.fetch(url(at, f"/error/{code}"), headers=headers)

    if code == 405 and preflighted:
        assert answer is None  # the preflight says that the path lacks the method
    else:
        assert answer is not None
        assert answer["status"] == code
        assert str(code) in answer["text"] or "title" in answer["text"]


@pytest.mark.parametrize("path", ["/orders", "//orders/", "/orders?page=2"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_redirect_is_followed(listed: Tab, at: Server, path: str, method: str) -> None:
    answer = listed.fetch(url(at, path), method=method, headers=JSON, credentials="include")

    assert answer is not None
    assert (answer["status"], answer["text"]) == (200, "orders")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_page_can_read_the_404_of_an_unknown_path(listed: Tab, at: Server, method: str) -> None:
    assert status(listed.fetch(url(at, "/nowhere/at/all"), method=method, headers=JSON)) == 404


def test_page_can_read_the_headers_that_policies_declare(listed: Tab, at: Server) -> None:
    limited, plain = listed.fetch(url(at, "/error/429")), listed.fetch(url(at, "/read"))

    assert limited is not None
    assert plain is not None
    assert {"x-request-id", "ratelimit", "ratelimit-policy", "retry-after"} <= set(limited["headers"])
    assert "x-request-id" in plain["headers"]
    assert "x-hidden" not in plain["headers"]


# Requests that may change something --------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "expected"), [(LISTED, "done"), (OTHER, "Pages of this origin")])
def test_form_of_an_unlisted_origin_is_rejected(tab: Tab, pages: Server, at: Server, host: str, expected: str) -> None:
    tab.goto(pages.url(host=host))

    tab.evaluate(
        """url => {
            const form = Object.assign(document.createElement('form'), {method: 'post', action: url});
            document.body.append(form);
            form.submit();
        }""",
        url(at, "/strict"),
    )
    tab.wait_for("location.pathname === '/strict' && document.readyState === 'complete'")

    assert expected in tab.evaluate("document.body.innerText")


def test_form_of_the_app_itself_is_served_also_without_a_referrer(tab: Tab, at: Server) -> None:
    tab.goto(at.url("/"))  # browsers send Sec-Fetch-Site to localhost and over https

    tab.evaluate(
        """() => {
            document.head.innerHTML += '<meta name=referrer content=no-referrer>';
            const form = Object.assign(document.createElement('form'), {method: 'post', action: '/strict'});
            document.body.append(form);
            form.submit();
        }"""
    )
    tab.wait_for("location.pathname === '/strict' && document.readyState === 'complete'")

    assert tab.evaluate("document.body.innerText") == "done"
