"""`cache`: the directives of responses, entity tags and 304s, and responses that were made for one caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, abort, make_response, redirect, request, session
from werkzeug.test import TestResponse

from flask_guard import (
    Cache,
    ConfigError,
    Guard,
    cache,
    cors,
    exempt,
    log_timing,
    middleware,
    protect,
    require_api_key,
    require_auth,
    secure_headers,
)
from tests.cases import together
from tests.conftest import MakeApp

PUBLIC = "public, max-age=300, s-maxage=600"
PRIVATE = "private, max-age=300"
KEY = {"X-API-Key": "a long random secret"}


def get(app: Flask, path: str = "/", **options: Any) -> TestResponse:
    return app.test_client().get(path, **options)


def control(app: Flask, path: str = "/", **options: Any) -> list[str]:
    """Return the fields of a GET that say who may store the response."""
    return get(app, path, **options).headers.getlist("Cache-Control")


def serve(app: Flask, policy: Cache, view: Callable[..., Any] = lambda: "hello", *policies: Any) -> Flask:
    """Return `app`, guarded by `policies`, with a cached view."""
    Guard(app, policies=policies)
    app.add_url_rule("/", "index", policy(view), methods=["GET", "POST", "DELETE"])
    return app


# Directives ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("public, max-age=300", "public, max-age=300"),
        ("Public,MAX-AGE=300 ", "public, max-age=300"),
        ("no-cache", "no-cache"),
        ("no-store", "no-store"),
        ("private, max-age=0, must-revalidate", "private, max-age=0, must-revalidate"),
        ("public, max-age=31536000, immutable", "public, max-age=31536000, immutable"),
        ("max-age=60, stale-while-revalidate=30, stale-if-error=600", None),
        ("no-transform", "no-transform"),
    ],
)
def test_directives_are_sent_in_one_form(app: Flask, written: str, sent: str | None) -> None:
    assert control(serve(app, cache(written))) == [sent or written]


@together(
    ("written", "message"),
    [
        ("max_age=300", "no directive 'max_age'; did you mean 'max-age'\\? Choose"),
        ("max-age", "max-age needs a number of seconds, such as max-age=300"),
        ("max-age=5m", "max-age needs a number of seconds"),
        ("max-age=-1", "max-age needs a number of seconds"),
        ("max-age=1.5", "max-age needs a number of seconds"),
        ("max-age=007", "max-age needs a number of seconds"),
        ("max-age=99999999999", "max-age needs a number of seconds"),
        ("public=1", "public takes no argument"),
        ("public, private", "private keeps shared caches out"),
        ("private, s-maxage=10", "private keeps shared caches out, and 's-maxage' is for them"),
        ("no-store, max-age=0", "no-store makes the other directives void"),
        ("public, public", "has a directive twice"),
        ("public,", "no directive ''"),
        ("public\r\nX-Evil: 1", "no directive"),
        ("", "must be directives"),
        ("   ", "must be directives"),
        (300, "takes options by keyword|must be directives"),
    ],
)
def test_a_malformed_or_contradictory_value_is_refused(written: Any, message: str) -> None:
    with pytest.raises((ConfigError, TypeError), match=message):
        cache(written)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"control": "no-store", "etag": True}, "needs no tag"),
        ({"etag": 1}, "must be True or False"),
        ({"control": "max-age=5", "for_everyone": True}, "needs 'public' among the directives"),
        ({"for_everyone": True, "etag": True}, "needs 'public' among the directives"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cache(**options)


def test_one_that_says_nothing_is_refused_where_it_is_applied() -> None:
    with pytest.raises(ConfigError, match=r"cache needs directives or etag=True"):
        cache(lambda: "")


@pytest.mark.parametrize("field", ["no-cache", "private", "PUBLIC, max-age=9"])
def test_what_the_view_says_wins(app: Flask, field: str) -> None:
    serve(app, cache(PUBLIC), lambda: ("", {"Cache-Control": field}))

    assert control(app) == [field]


def test_the_nearest_says_it_and_exempt_leaves_it_out(app: Flask) -> None:
    protect(app, cache("private"))
    app.add_url_rule("/a", "a", cache(PUBLIC)(lambda: ""))
    app.add_url_rule("/b", "b", lambda: "")
    app.add_url_rule("/c", "c", exempt(cache)(lambda: ""))
    Guard(app)

    assert [control(app, path) for path in ("/a", "/b", "/c")] == [[PUBLIC], ["private"], []]


@together("status", [201, 302, 303, 307, 400, 401, 403, 404, 410, 429, 500, 503])
def test_errors_and_temporary_redirects_are_not_to_be_stored(app: Flask, status: int) -> None:
    serve(app, cache(PUBLIC, etag=True), lambda: ("", status))

    answer = get(app)

    assert (answer.status_code, answer.headers.getlist("Cache-Control"), answer.headers.get("ETag")) == (
        status,
        [],
        None,
    )


@pytest.mark.parametrize("status", [200, 203, 204, 301, 308])
def test_what_succeeds_is_stored(app: Flask, status: int) -> None:
    answer = get(serve(app, cache(PUBLIC, etag=True), lambda: ("", status)))

    assert answer.headers.getlist("Cache-Control") == [PUBLIC]
    assert ("ETag" in answer.headers) is (status == 200)


def test_answers_to_requests_that_change_something_are_not_to_be_stored(app: Flask) -> None:
    serve(app, cache(PUBLIC, etag=True))

    answers = [app.test_client().post("/"), app.test_client().delete("/")]

    assert [(each.headers.get("Cache-Control"), each.headers.get("ETag")) for each in answers] == [(None, None)] * 2
    assert app.test_client().head("/").headers["Cache-Control"] == PUBLIC


@together("status", [200, 201, 302, 404, 500])
@together("method", ["GET", "POST"])
def test_no_store_is_for_every_answer(app: Flask, status: int, method: str) -> None:
    serve(app, cache("no-store"), lambda: ("", status))

    assert app.test_client().open("/", method=method).headers.getlist("Cache-Control") == ["no-store"]


def test_refusals_and_crashes_are_never_public(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": KEY["X-API-Key"]}, PROPAGATE_EXCEPTIONS=False)
    Guard(app, policies=[cache(PUBLIC)])
    app.add_url_rule("/key", "key", require_api_key(lambda: ""))
    app.add_url_rule("/crash", "crash", lambda: str(1 / 0))
    app.add_url_rule("/abort", "abort", lambda: abort(403))
    app.add_url_rule("/login", "login", lambda: redirect("/"))

    assert [control(app, path) for path in ("/key", "/crash", "/abort", "/login", "/nowhere")] == [[]] * 5


# Made for one caller -------------------------------------------------------------------------------------------------


def accessing() -> str:
    return str(session.get("user"))


def changing() -> str:
    session["user"] = "ada"
    return ""


def setting_a_cookie() -> Response:
    response = make_response("")
    response.set_cookie("user", "ada")
    return response


@together("view", [accessing, changing, setting_a_cookie])
@together(
    ("written", "sent"),
    [
        (PUBLIC, PRIVATE),
        ("max-age=300", "private, max-age=300"),
        ("s-maxage=300", "private"),
        ("public, no-cache, proxy-revalidate", "private, no-cache"),
        ("private, max-age=1", "private, max-age=1"),
        ("no-store", "no-store"),
    ],
)
def test_a_response_that_depends_on_a_session_or_sets_a_cookie_is_private(
    app: Flask, view: Callable[[], Any], written: str, sent: str
) -> None:
    assert control(serve(app, cache(written), view)) == [sent]


@pytest.mark.parametrize("name", ["key", "principal"])
@pytest.mark.parametrize("outer", [[], [secure_headers], [secure_headers("api")]], ids=["", "strict", "api"])
def test_a_response_to_a_recognised_caller_is_private(make_app: MakeApp, name: str, outer: list[Any]) -> None:
    app = make_app(GUARD_API_KEYS={"ci": KEY["X-API-Key"]})
    guards: dict[str, Any] = {
        "key": require_api_key(optional=True),
        "principal": require_auth(basic=lambda name, password: name if password == "sesame" else None, optional=True),
    }
    serve(app, cache(PUBLIC), guards[name](lambda: "hello"), *outer)

    anonymous = get(app)
    known = get(app, headers=KEY) if name == "key" else get(app, auth=("ada", "sesame"))

    assert anonymous.headers.getlist("Cache-Control") == [PUBLIC]
    assert known.headers.getlist("Cache-Control") == [PRIVATE]
    assert known.headers["Vary"] == anonymous.headers["Vary"]


@pytest.mark.parametrize("outer", [[], [secure_headers]], ids=["", "strict"])
def test_a_response_to_a_principal_without_an_id_is_private(app: Flask, outer: list[Any]) -> None:
    known = require_auth(
        session=lambda request: {"name": "ada"} if "X-User" in request.headers else None, optional=True
    )
    serve(app, cache(PUBLIC), known(lambda: "hello"), *outer)
    app.add_url_rule("/uncached", "uncached", known(lambda: "hello"))

    assert control(app) == [PUBLIC]
    assert control(app, headers={"X-User": "7"}) == [PRIVATE]
    assert control(app, "/uncached", headers={"X-User": "7"}) == ["no-store, max-age=0" if outer else "private"]


@pytest.mark.parametrize("renew", [True, False])
def test_a_response_that_renews_the_cookie_of_a_session_is_private(app: Flask, renew: bool) -> None:
    """Flask sends the cookie of a permanent session with every response, also where nobody looks at the session."""
    app.config["SESSION_REFRESH_EACH_REQUEST"] = renew

    @app.get("/login")
    def log_in() -> str:
        session.permanent = True
        session["user"] = "ada"
        return ""

    serve(app, cache(PUBLIC))
    client = app.test_client()
    client.get("/login")
    response = client.get("/")

    assert response.headers.getlist("Cache-Control") == [PRIVATE if renew else PUBLIC]
    assert ("Set-Cookie" in response.headers, "Vary" in response.headers) == (renew, renew)


def test_a_request_with_authorization_gets_a_private_response_whoever_looks_at_it(app: Flask) -> None:
    serve(app, cache(PUBLIC), lambda: str(request.authorization))

    assert control(app, headers={"Authorization": "Custom ada"}) == [PRIVATE]


def test_a_hook_that_runs_after_every_policy_makes_a_response_private_too(app: Flask) -> None:
    @app.after_request  # registered before the Guard, so it sees the response last
    def greet(response: Response) -> Response:
        response.headers["X-User"] = str(session.get("user"))
        return response

    assert control(serve(app, cache(PUBLIC))) == [PRIVATE]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("public, max-age=300, must-revalidate", "private, max-age=300, must-revalidate"),
        ("max-age=300, no-transform, public", "private, max-age=300, no-transform"),
        ("public, max-age=5", "public, max-age=5"),  # written by the hook, as a view may
    ],
)
def test_a_hook_that_adds_directives_does_not_make_a_response_for_one_caller_public(
    app: Flask, changed: str, expected: str
) -> None:
    def change(response: Response) -> Response:
        response.headers["Cache-Control"] = changed
        return response

    app.after_request(change)
    serve(app, cache("public, max-age=300"), accessing)

    assert control(app) == [expected]


def test_a_cookie_that_the_app_does_not_look_at_leaves_a_response_public(app: Flask) -> None:
    serve(app, cache(PUBLIC))

    assert control(app, environ_overrides={"HTTP_COOKIE": "_ga=1; session=made-up"}) == [PUBLIC]


def test_an_author_may_say_that_it_is_for_everyone(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": KEY["X-API-Key"]})
    serve(app, cache(PUBLIC, for_everyone=True), require_api_key(accessing))

    assert control(app, headers=KEY) == [PUBLIC]


def test_a_view_may_say_public_itself(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"ci": KEY["X-API-Key"]})
    serve(app, cache("private"), require_api_key(lambda: ("", {"Cache-Control": "public"})))

    assert control(app, headers=KEY) == ["public"]


# Beside other policies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["inner", "outer", "same, before", "same, after"])
def test_it_wins_over_the_cache_control_of_secure_headers_wherever_they_stand(app: Flask, where: str) -> None:
    on_view: dict[str, Any] = {"inner": cache(PUBLIC), "outer": secure_headers}
    policies: dict[str, list[Any]] = {
        "inner": [secure_headers],
        "outer": [cache(PUBLIC)],
        "same, before": [cache(PUBLIC), secure_headers],
        "same, after": [secure_headers, cache(PUBLIC)],
    }
    Guard(app, policies=policies[where])
    app.add_url_rule("/", "index", on_view.get(where, log_timing)(lambda: ""))
    app.add_url_rule("/error", "error", lambda: abort(404))

    assert control(app) == [PUBLIC]
    assert control(app, "/error") == ([] if where == "outer" else ["no-store, max-age=0"])


def test_a_response_with_a_nonce_is_never_stored(app: Flask) -> None:
    from flask_guard import csp_nonce
    from flask_guard.security_headers import nonce

    serve(app, cache(PUBLIC), lambda: csp_nonce() + accessing(), secure_headers(csp={"script-src": nonce}))

    assert control(app) == ["no-store"]


def test_pages_of_other_origins_can_read_the_tag_and_a_304_varies_as_the_200(app: Flask) -> None:
    serve(app, cache(PUBLIC, etag=True), lambda: "hello", cors(origins="https://app.example"), log_timing)
    headers = {"Origin": "https://app.example"}

    full = get(app, headers=headers)
    short = get(app, headers={**headers, "If-None-Match": full.headers["ETag"]})

    assert "ETag" in full.headers["Access-Control-Expose-Headers"]
    assert (short.status_code, short.data) == (304, b"")
    for name in ("Vary", "ETag", "Cache-Control", "Access-Control-Allow-Origin"):
        assert short.headers.getlist(name) == full.headers.getlist(name) != []


# Entity tags ---------------------------------------------------------------------------------------------------------


def test_a_tag_is_of_the_body_that_goes_out(app: Flask) -> None:
    @middleware
    def sign(_request: object) -> Any:
        response = yield
        response.set_data(response.get_data() + b"!")

    serve(app, cache(etag=True), sign(lambda: request.args.get("q", "")))
    first, again, other = get(app, "/?q=a"), get(app, "/?q=a"), get(app, "/?q=b")

    assert first.data == b"a!"
    assert first.headers["ETag"] == again.headers["ETag"] != other.headers["ETag"]
    assert "Cache-Control" not in first.headers


@together("method", ["GET", "HEAD"])
@together(
    ("condition", "expected"),
    [
        ("{tag}", 304),
        ("W/{tag}", 304),
        ('"other", {tag}', 304),
        ("*", 304),
        ('"other"', 200),
        ("", 200),
        ("{tag}x", 200),
        ("{bare}", 304),
        ("W/", 200),
        ("\x00", 200),
        ('"' * 5000, 200),
        (", " * 5000, 200),
    ],
)
def test_a_client_that_has_the_response_gets_a_304(app: Flask, method: str, condition: str, expected: int) -> None:
    serve(app, cache("no-cache", etag=True))
    tag = get(app).headers["ETag"]
    sent = condition.replace("{tag}", tag).replace("{bare}", tag.strip('"'))

    answer = app.test_client().open("/", method=method, environ_overrides={"HTTP_IF_NONE_MATCH": sent})

    assert answer.status_code == expected
    assert answer.headers["ETag"] == tag
    if expected == 304:
        assert (answer.data, answer.headers.get("Content-Type"), answer.headers.get("Content-Length")) == (
            b"",
            None,
            None,
        )
        assert answer.headers["Cache-Control"] == "no-cache"


def test_a_tag_of_the_view_stays_and_is_revalidated(app: Flask) -> None:
    serve(app, cache(etag=True), lambda: ("hello", {"ETag": 'W/"v7"'}))

    assert get(app).headers.getlist("ETag") == ['W/"v7"']
    assert get(app, headers={"If-None-Match": '"v7"'}).status_code == 304


def test_a_date_of_the_view_is_revalidated_unless_a_tag_decides(app: Flask) -> None:
    date = "Mon, 02 Jan 2023 03:04:05 GMT"
    serve(app, cache(etag=True), lambda: ("hello", {"Last-Modified": date}))

    assert get(app, headers={"If-Modified-Since": date}).status_code == 304
    assert get(app, headers={"If-Modified-Since": date, "If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("other", [{"If-Match": '"x"'}, {"Range": "bytes=0-1"}, {"If-Unmodified-Since": "x"}])
def test_other_conditions_are_left_to_the_view(app: Flask, other: dict[str, str]) -> None:
    serve(app, cache(etag=True))
    tag = get(app).headers["ETag"]

    assert get(app, headers={"If-None-Match": tag, **other}).status_code == 200


def test_a_stream_stays_one_and_gets_no_tag(app: Flask) -> None:
    pulled: list[int] = []

    def stream() -> Iterator[str]:
        for number in range(3):
            pulled.append(number)
            yield str(number)

    serve(app, cache(PUBLIC, etag=True), lambda: Response(stream()))

    answer = app.test_client().get("/", buffered=False)

    assert pulled == [0]  # the test client asks for the first chunk
    assert (answer.headers.get("ETag"), answer.headers["Cache-Control"], answer.data) == (None, PUBLIC, b"012")


def test_a_304_is_logged_without_a_body(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    serve(app, cache(etag=True), lambda: "hello", log_timing)
    tag = get(app).headers["ETag"]
    caplog.clear()
    with caplog.at_level("INFO"):
        get(app, headers={"If-None-Match": tag}).close()

    records: list[Any] = [each for each in caplog.records if each.name == "flask_guard.access"]
    assert [(each.status, each.bytes) for each in records] == [(304, 0)]


# Weaker and stronger -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("no-store", "private", "weaker"),
        ("private, max-age=1", "max-age=1", "weaker"),
        ("max-age=1", "s-maxage=1", "weaker"),
        ("public", "private", "stronger"),
        ("public, max-age=1", "public, max-age=2", "different"),
        ("public", "PUBLIC", "same"),
        (None, "public", "weaker"),
        (None, "no-store", "stronger"),
    ],
)
def test_a_change_that_lets_more_caches_store_a_response_is_weaker(old: str | None, new: str, expected: str) -> None:
    before, after = (cache(each).plain_options() for each in (old, new))

    assert Cache.compare(before, after) == expected


def test_saying_that_a_response_is_for_everyone_is_weaker() -> None:
    before, after = cache("public", etag=True), cache("public", for_everyone=True)

    assert Cache.compare(before.plain_options(), after.plain_options()) == "weaker"
