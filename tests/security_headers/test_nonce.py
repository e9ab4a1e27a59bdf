"""The nonce: one a response, only where it is asked for, and never on a response that a cache may keep."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask, Response, g, render_template_string, request, send_file, stream_with_context
from werkzeug.test import TestResponse

from flask_guard import ConfigError, Guard, cache, csp_nonce, limit, protect, secure_headers
from flask_guard.security_headers import nonce

PAGE = '<script nonce="{{ csp_nonce() }}">run()</script><script nonce="{{ g.csp_nonce }}">again()</script>'
POLICIES = {
    "relaxed": secure_headers("relaxed"),
    "mapping": secure_headers(csp={"script-src": ["'self'", nonce]}),
    "text": secure_headers(csp="default-src 'none'; script-src 'nonce' 'strict-dynamic'"),
}


def get(app: Flask, path: str = "/", **headers: str) -> TestResponse:
    return app.test_client().get(path, base_url="https://localhost", headers=headers)


def sent_nonces(response: Any, header: str = "Content-Security-Policy") -> set[str]:
    return set(re.findall(r"'nonce-([^']*)'", response.headers.get(header, "")))


def written_nonces(response: TestResponse) -> set[str]:
    return set(re.findall(r'nonce="([^"]*)"', response.text))


@pytest.mark.parametrize("name", POLICIES)
def test_page_and_header_have_one_and_the_same_nonce(app: Flask, name: str) -> None:
    app.add_url_rule("/", "index", POLICIES[name](lambda: render_template_string(PAGE)))
    Guard(app)

    responses = [get(app) for _ in range(3)]

    for response in responses:
        (made,) = sent_nonces(response)
        assert written_nonces(response) == {made}
        assert re.fullmatch(r"[0-9a-f]{32}", made)  # 128 bits
        assert response.headers.getlist("Content-Security-Policy")[1:] == []
    assert len(set.union(*map(sent_nonces, responses))) == 3


def test_response_that_asks_for_none_has_none(app: Flask) -> None:
    app.add_url_rule("/", "index", lambda: "hello")
    app.add_url_rule("/strict", "strict", secure_headers(csp="script-src 'nonce'; img-src *")(lambda: "hello"))
    Guard(app, policies=[secure_headers("relaxed")])

    response, strict = get(app), get(app, "/strict")

    assert "script-src 'self';" in response.headers["Content-Security-Policy"]
    assert "Cache-Control" not in response.headers
    assert strict.headers["Content-Security-Policy"] == "script-src 'none'; img-src *"


@pytest.mark.parametrize("own", [None, "public, max-age=3600", "private", "no-cache"])
def test_response_with_a_nonce_is_never_stored(app: Flask, own: str | None) -> None:
    fields = {"Cache-Control": own} if own is not None else {}
    app.add_url_rule("/", "index", lambda: (csp_nonce(), fields))
    Guard(app, policies=[secure_headers("relaxed")])

    response = get(app)

    assert sent_nonces(response) == {response.text}
    assert response.headers.getlist("Cache-Control") == ["no-store"]


@pytest.mark.parametrize(
    "header",
    ["CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control", "Edge-Control", "X-Accel-Expires"],
)
def test_response_with_a_nonce_is_not_stored_by_other_means(app: Flask, header: str) -> None:
    fields = {header: "max-age=3600"}
    app.add_url_rule("/", "index", lambda: (csp_nonce(), fields))
    app.add_url_rule("/plain", "plain", lambda: ("hello", fields))
    Guard(app, policies=[secure_headers("relaxed")])

    assert header not in get(app).headers
    assert get(app, "/plain").headers[header] == "max-age=3600"


@pytest.mark.parametrize("scope", ["view", "app"])
def test_cache_gives_way_to_a_nonce(app: Flask, scope: str) -> None:
    caching = cache("public, max-age=300", etag=True)
    view = caching(csp_nonce) if scope == "view" else csp_nonce
    app.add_url_rule("/", "index", view)
    app.add_url_rule("/plain", "plain", caching(lambda: "hello"))
    Guard(app, policies=[secure_headers("relaxed"), *([caching] if scope == "app" else [])])

    assert get(app).headers.getlist("Cache-Control") == ["no-store"]
    assert get(app, "/plain").headers.getlist("Cache-Control") == ["public, max-age=300"]


def test_file_that_is_sent_stays_cacheable(app: Flask) -> None:
    app.add_url_rule("/", "index", lambda: send_file(__file__, max_age=60))
    Guard(app, policies=[secure_headers("relaxed")])

    with get(app) as response:
        assert sent_nonces(response) == set()
        assert "max-age=60" in response.headers["Cache-Control"]


def test_streamed_page_may_ask_for_it_after_the_headers_have_gone(app: Flask) -> None:
    def parts() -> Iterator[str]:
        yield "<html>"
        yield f'<script nonce="{csp_nonce()}"></script>'

    app.add_url_rule("/", "index", lambda: Response(stream_with_context(parts())))
    Guard(app, policies=[secure_headers("relaxed")])

    response = get(app)

    assert written_nonces(response) == sent_nonces(response)
    assert len(sent_nonces(response)) == 1


def test_report_mode_has_the_nonce_too(app: Flask) -> None:
    policy = secure_headers("relaxed", mode="report", csp_report_only="img-src 'self'")
    app.add_url_rule("/", "index", policy(lambda: render_template_string(PAGE)))
    Guard(app)

    response = get(app)

    reported = response.headers.getlist("Content-Security-Policy-Report-Only")
    assert len(reported) == 2
    assert re.findall(r"'nonce-([^']*)'", reported[0]) == list(written_nonces(response))
    assert reported[1] == "img-src 'self'"


@pytest.mark.parametrize(("path", "status"), [("/429", 429), ("/404", 404), ("/500", 500)])
def test_error_page_of_the_app_may_have_a_nonce(app: Flask, path: str, status: int) -> None:
    def broken() -> str:
        raise ZeroDivisionError

    app.add_url_rule("/429", "limited", limit("1/hour")(lambda: "once"))
    app.add_url_rule("/500", "broken", broken)
    app.register_error_handler(status, lambda _error: (render_template_string(PAGE), status))
    Guard(app, policies=[secure_headers("relaxed")])
    if status == 429:
        get(app, path)

    response = get(app, path)

    assert response.status_code == status
    assert written_nonces(response) == sent_nonces(response) != set()


def test_where_no_policy_has_a_nonce_the_log_says_so_once(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.add_url_rule("/", "index", lambda: f"[{csp_nonce()}]")
    Guard(app, policies=[secure_headers])

    texts = [get(app).text for _ in range(2)]

    assert texts == ["[]", "[]"]
    assert caplog.text.count("csp_nonce() was called for endpoint index, where no policy has a nonce") == 1


def test_outside_a_request_and_while_policies_are_off_it_is_empty(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.add_url_rule("/", "index", secure_headers("relaxed")(lambda: f"[{csp_nonce()}]"))
    guard = Guard(app)
    get(app)

    with guard.disabled():
        assert get(app).text == "[]"
    assert csp_nonce() == ""
    assert caplog.text == ""


def test_header_that_the_view_wrote_itself_stays(app: Flask) -> None:
    def index() -> Response:
        return Response("hello", headers={"Content-Security-Policy": f"script-src 'nonce-{g.csp_nonce}'"})

    app.add_url_rule("/", "index", index)
    Guard(app, policies=[secure_headers("relaxed")])

    response = get(app)

    assert len(response.headers.getlist("Content-Security-Policy")) == 1
    assert response.headers["Content-Security-Policy"].startswith("script-src 'nonce-")
    assert response.headers["Cache-Control"] == "no-store"


def test_template_that_asks_for_a_nonce_works_where_no_policy_has_one(app: Flask) -> None:
    app.add_url_rule("/", "index", lambda: render_template_string('<script nonce="{{ csp_nonce() }}">run()</script>'))
    Guard(app, policies=[secure_headers])

    assert get(app).text == '<script nonce="">run()</script>'


def test_redirect_to_https_goes_with_a_nonce(app: Flask) -> None:
    view: Any = protect(lambda: render_template_string(PAGE), secure_headers("relaxed", https_redirect=True))
    app.add_url_rule("/", "index", view)
    Guard(app)

    assert app.test_client().get("/").status_code == 308
    assert len(sent_nonces(get(app))) == 1


def test_nonce_that_is_written_out_is_refused() -> None:
    with pytest.raises(ConfigError, match="Write \"'nonce'\""):
        secure_headers(csp={"script-src": ["'nonce-r4nd0m'"]})


# Never twice -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_nonce_is_made_twice_by_many_threads(app: Flask) -> None:
    app.add_url_rule("/", "index", csp_nonce)
    Guard(app, policies=[secure_headers("relaxed")])

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: get(app).text, range(400)))

    assert len(set(made)) == 400


def kept_response(app: Flask) -> Response:
    """Add a view that returns one object again and again, and has a nonce if the query asks for one."""
    kept = Response("hello")

    def index() -> Response:
        if "nonce" in request.args:
            csp_nonce()
        return kept

    app.add_url_rule("/", "index", index)
    return kept


@pytest.mark.parametrize("mode", ["enforce", "report"])
def test_response_that_an_app_returns_again_has_a_nonce_of_its_own(app: Flask, mode: Any) -> None:
    kept_response(app)
    Guard(app, policies=[secure_headers("relaxed", mode=mode)])
    header = "Content-Security-Policy-Report-Only" if mode == "report" else "Content-Security-Policy"

    responses = [get(app, "/?nonce") for _ in range(3)]

    assert len(set.union(*(sent_nonces(each, header) for each in responses))) == 3
    assert [len(each.headers.getlist(header)) for each in responses] == [1, 1, 1]
    assert [each.headers.getlist("Cache-Control") for each in responses] == [["no-store"]] * 3


def test_response_that_an_app_returns_again_without_a_nonce_has_none(app: Flask) -> None:
    kept_response(app)
    Guard(app, policies=[secure_headers("relaxed")])

    first, second = get(app, "/?nonce"), get(app)

    assert len(sent_nonces(first)) == 1
    assert "script-src 'self';" in second.headers["Content-Security-Policy"]
    assert sent_nonces(second) == set()


def test_header_that_the_view_writes_on_such_a_response_stays(app: Flask) -> None:
    kept = kept_response(app)
    Guard(app, policies=[secure_headers("relaxed")])
    get(app, "/?nonce")

    kept.headers["Content-Security-Policy"] = "script-src 'none'"

    assert get(app, "/?nonce").headers.getlist("Content-Security-Policy") == ["script-src 'none'"]


FORKING = """
import json, os
from flask import Flask
from flask_guard import Guard, csp_nonce, secure_headers

app = Flask("forking")
app.add_url_rule("/", "index", csp_nonce)
Guard(app, policies=[secure_headers("relaxed")])
client = app.test_client()
made = [client.get("/").text]
end, other_end = os.pipe()
if os.fork() == 0:
    os.write(other_end, json.dumps([client.get("/").text for _ in range(70)]).encode())
    os._exit(0)
made += [client.get("/").text for _ in range(70)]
os.wait()
print(json.dumps(made + json.loads(os.read(end, 65536))))
"""


@pytest.mark.slow
def test_no_nonce_is_made_twice_by_processes_that_fork() -> None:
    run = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60, check=True)

    made = json.loads(run.stdout)
    assert len(made) == len(set(made)) == 141
