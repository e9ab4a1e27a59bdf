"""`RewriteBody` with Flask: ranges, conditional requests, HEAD and files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from flask import Flask, Response, request, send_file

from flask_guard.wsgi import RewriteBody, Timing, stack
from tests.wsgi.driver import send
from tests.wsgi.test_rewrite_body import PAGE, REWRITTEN, add_banner, both, whole


@pytest.fixture
def site(tmp_path: Path) -> Flask:
    app = Flask("tests")
    for name in ("page.html", "page", "film.mp4"):
        (tmp_path / name).write_bytes(PAGE)

    @app.get("/<name>")
    def serve(name: str) -> Response:
        mimetype = request.args.get("as") or (None if "." in name else "text/html")
        return send_file(tmp_path / name, mimetype=mimetype, conditional=True)

    return app


@both
@pytest.mark.parametrize("path", ["/page.html", "/page"])
@pytest.mark.parametrize("wanted", ["bytes=0-5", "bytes=20-", "bytes=-4", "bytes=0-1,3-4", "nonsense"])
def test_range_of_a_page_is_answered_with_the_whole_page(
    site: Flask, layer: RewriteBody, path: str, wanted: str
) -> None:
    answer = send(layer.around(site.wsgi_app), path, HTTP_RANGE=wanted, HTTP_IF_RANGE='"x"')

    assert (answer.status, answer.body, answer["Accept-Ranges"]) == ("200 OK", REWRITTEN, None)


def test_range_of_a_film_is_still_served(site: Flask) -> None:
    answer = send(whole.around(site.wsgi_app), "/film.mp4", HTTP_RANGE="bytes=0-5")

    assert (answer.status, answer.body) == ("206 PARTIAL CONTENT", PAGE[:6])


def test_page_that_calls_itself_a_film_cannot_be_had_in_parts_past_strict(site: Flask) -> None:
    query = {"QUERY_STRING": "as=text/html", "HTTP_RANGE": "bytes=0-5"}

    assert send(whole.around(site.wsgi_app), "/film.mp4", **query).body == PAGE[:6]
    assert send(RewriteBody(site.wsgi_app, rewrite=add_banner, strict=True), "/film.mp4", **query).body == REWRITTEN


@both
def test_head_is_the_get_without_its_body_and_without_a_wrong_length(site: Flask, layer: RewriteBody) -> None:
    app = layer.around(site.wsgi_app)

    get, head = send(app, "/page.html"), send(app, "/page.html", "HEAD")

    assert (head.status, head.body) == ("200 OK", b"")
    assert head["Content-Length"] in (None, get["Content-Length"])
    assert {name: head[name] for name in ("ETag", "Content-Type", "Accept-Ranges", "Last-Modified")} == {
        name: get[name] for name in ("ETag", "Content-Type", "Accept-Ranges", "Last-Modified")
    }


@both
def test_entity_tag_that_went_out_leads_to_a_304_with_the_same_one(site: Flask, layer: RewriteBody) -> None:
    app = layer.around(site.wsgi_app)
    etag = send(app, "/page.html")["ETag"]

    answer = send(app, "/page.html", HTTP_IF_NONE_MATCH=etag or "")

    assert (answer.status, answer.body, answer["ETag"]) == ("304 NOT MODIFIED", b"", etag)


def test_entity_tag_of_a_film_stays_as_it_is_in_a_304(site: Flask) -> None:
    app = whole.around(site.wsgi_app)
    etag = send(app, "/film.mp4")["ETag"]

    answer = send(app, "/film.mp4", HTTP_IF_NONE_MATCH=etag or "")

    assert (answer.status, answer["ETag"]) == ("304 NOT MODIFIED", etag)
    assert not (etag or "").startswith("W/")


def test_file_that_is_rewritten_is_closed() -> None:
    file = BytesIO(PAGE)
    app = Flask("tests")
    app.add_url_rule("/", "index", lambda: send_file(file, mimetype="text/html"))

    layers = (Timing(logger="flask_guard.access"), RewriteBody(rewrite=add_banner, buffer_streams=True))
    assert send(stack(app.wsgi_app, *layers)).body == REWRITTEN
    assert file.closed
