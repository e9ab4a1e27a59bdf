"""`compress`: which responses get smaller, by which coding, and which are left as they are."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
from flask import Flask, Response, request, send_file, session
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from flask_guard import (
    Compress,
    ConfigError,
    Guard,
    cache,
    compress,
    cors,
    exempt,
    log_timing,
    middleware,
    protect,
    require_api_key,
    secure_headers,
)
from flask_guard.compression.codings import chooser
from tests.cases import together
from tests.conftest import MakeApp

PAGE = "<p>tea</p>" * 1000
HTML = {"Content-Type": "text/html; charset=utf-8"}


def zstd_module() -> Any:
    """Return the module that Flask-Compress has for zstd, which depends on its version."""
    from flask_compress import flask_compress

    found = vars(flask_compress)
    return found["zstandard"] if "zstandard" in found else found["compression"].zstd


def decoded(answer: TestResponse) -> bytes:
    """Return the body of a response without its content coding."""
    coding, data = answer.headers.get("Content-Encoding"), answer.data
    if coding == "br":
        return bytes(brotli.decompress(data))
    if coding == "zstd":
        return bytes(zstd_module().decompress(data))
    return gzip.decompress(data) if coding == "gzip" else zlib.decompress(data) if coding == "deflate" else data


def get(app: Flask, path: str = "/", accept: str | None = "gzip", **headers: str) -> TestResponse:
    sent = {"Accept-Encoding": accept} if accept is not None else {}
    return app.test_client(use_cookies=False).get(path, headers={**sent, **headers}, buffered=True)


def coding(answer: TestResponse) -> str | None:
    found = answer.headers.getlist("Content-Encoding")
    assert len(found) < 2
    return found[0] if found else None


def serve(app: Flask, view: Callable[..., Any] = lambda: PAGE, policy: Compress = compress, *policies: Any) -> Flask:
    """Return `app` with a view whose responses are compressed."""
    Guard(app, policies=policies)
    app.add_url_rule("/", "index", policy(view), methods=["GET", "POST"])
    return app


# Codings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["gzip", "br", "zstd", "deflate"])
def test_a_page_is_compressed_in_the_coding_that_the_client_takes(app: Flask, wanted: str) -> None:
    answer = get(serve(app), accept=wanted)

    assert (coding(answer), decoded(answer)) == (wanted, PAGE.encode())
    assert len(answer.data) < len(PAGE) / 10
    assert answer.headers.getlist("Content-Length") == [str(len(answer.data))]
    assert "Date" not in answer.headers  # the server writes it
    assert answer.headers["Vary"] == "Accept-Encoding"


@together(
    ("accepted", "expected"),
    [
        ("gzip, br", "br"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=0.9, br;q=0.8", "gzip"),
        ("gzip; q=1.0, br ; q = 0.5", "gzip"),
        ("GZIP", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, gzip", "gzip"),
        ("gzip;q=0.5, identity;q=0.4", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("gzip; q=0.000", None),
        ("*;q=0", None),
        ("zstd;q=0, *", "br"),
        ("", None),
        ("gzip;q=nan", None),
        ("gzip;q=inf", None),
        ("gzip;q=-1", None),
        ("gzip;q=2", None),
        ("gzip;q=1.5", None),
        ("gzip;q=1e0", None),
        ("gzip;q=", None),
        ("gzip;level=9", None),
        ("gzipp, x-gzip", None),
        (",,;;==", None),
        ("\x00gzip", None),
        ("gzip, " + "x" * 10_000, None),
    ],
)
def test_weights_of_the_client_decide_then_the_order_of_the_server(app: Flask, accepted: str, expected: str) -> None:
    serve(app)

    answer = app.test_client().get("/", environ_overrides={"HTTP_ACCEPT_ENCODING": accepted})

    assert (coding(answer), decoded(answer)) == (expected, PAGE.encode())
    assert answer.headers["Vary"] == "Accept-Encoding"


@given(st.text(st.sampled_from("gzip br;q=0.5,*identity\t\x00é"), max_size=60))
def test_any_accept_encoding_is_answered_with_an_offered_coding_or_none(accepted: str) -> None:
    assert chooser(("br", "gzip"))(accepted) in ("br", "gzip", None)


def test_the_client_that_names_no_coding_gets_none_and_is_told_that_others_do(app: Flask) -> None:
    answer = get(serve(app), accept=None)

    assert (coding(answer), answer.headers["Vary"]) == (None, "Accept-Encoding")


# What is compressed --------------------------------------------------------------------------------------------------

LEFT_ALONE: dict[str, Callable[[], Any]] = {
    "small": lambda: "x" * 499,
    "image": lambda: Response(b"x" * 5000, content_type="image/png"),
    "no type": lambda: Response(b"x" * 5000, content_type="x"),
    "encoded": lambda: (PAGE, {"Content-Encoding": "x-own"}),
    "part": lambda: (PAGE, 206),
    "range": lambda: (PAGE, 200, {"Content-Range": "bytes 0-9999/20000"}),
    "error": lambda: (PAGE, 500),
    "redirect": lambda: (PAGE, 302, {"Location": "/x"}),
    "empty": lambda: ("", 204),
    "sent by the server": lambda: (PAGE, {"X-Accel-Redirect": "/file"}),
}


@together("name", LEFT_ALONE)
def test_what_is_not_worth_it_or_cannot_be_compressed_stays_as_it_is(make_app: MakeApp, name: str) -> None:
    plain, app = make_app(), make_app()
    plain.add_url_rule("/", "index", LEFT_ALONE[name])
    serve(app, LEFT_ALONE[name])

    before, after = get(plain), get(app)

    assert after.data == before.data
    assert dict(after.headers) == dict(before.headers)


@pytest.mark.parametrize("lines", [["public, no-transform"], ["No-Transform"], ["public", "no-transform"]])
def test_no_transform_is_kept(app: Flask, lines: list[str]) -> None:
    serve(app, lambda: (PAGE, {"Cache-Control": lines, "ETag": '"v1"'}))

    answer = get(app)

    assert (coding(answer), answer.headers["ETag"]) == (None, '"v1"')


def test_what_the_body_makes_untrue_goes(app: Flask) -> None:
    fields = {"Accept-Ranges": "bytes", "Content-MD5": "x", "Repr-Digest": "sha-256=:x:", "ETag": '"v1"'}
    serve(app, lambda: (PAGE, fields))

    answer, plain = get(app), get(app, accept=None)

    assert [name for name in fields if name in answer.headers] == ["ETag"]
    assert answer.headers["ETag"] == 'W/"v1"'
    assert [plain.headers[name] for name in fields] == list(fields.values())


def test_configuration_of_flask_compress_holds_and_options_win(make_app: MakeApp) -> None:
    app = make_app(COMPRESS_ALGORITHM="gzip", COMPRESS_MIMETYPES=["text/html"], COMPRESS_MIN_SIZE=10)
    Guard(app, policies=[compress])
    app.add_url_rule("/page", "page", lambda: "x" * 20)
    app.add_url_rule("/json", "json", lambda: {"x": "y" * 1000})
    own = compress(algorithms=["br", "gzip"], content_types="application/json", min_size=2000)
    app.add_url_rule("/own", "own", own(lambda: {"x": "y" * 1000}))
    app.add_url_rule("/long", "long", own(lambda: {"x": "y" * 2000}))
    before = dict(app.config)

    assert [coding(get(app, path, "gzip, br")) for path in ("/page", "/json", "/own", "/long")] == [
        "gzip",
        None,
        None,
        "br",
    ]
    assert app.config == before


def test_the_cache_of_flask_compress_is_not_used(make_app: MakeApp) -> None:
    class DictCache(dict[str, bytes]):
        def set(self, key: str, value: bytes) -> None:
            self[key] = value

    app = make_app(COMPRESS_CACHE_BACKEND=DictCache, COMPRESS_CACHE_KEY=lambda request: request.path)
    serve(app, lambda: request.args["who"] * 1000)

    assert [decoded(get(app, f"/?who={who}"))[:1] for who in "ab"] == [b"a", b"b"]


def test_the_request_is_left_as_it_was(app: Flask) -> None:
    seen: list[str] = []

    @app.after_request  # registered before the Guard, so it runs last
    def look(response: Response) -> Response:
        seen.append(request.headers["Accept-Encoding"])
        return response

    serve(app)

    get(app, accept="gzip;q=0.7, br;q=0.8")

    assert seen == ["gzip;q=0.7, br;q=0.8"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_head_says_what_get_would(app: Flask, method: str) -> None:
    serve(app)
    answer = app.test_client().open("/", method=method, headers={"Accept-Encoding": "gzip"})

    assert coding(answer) == "gzip"
    assert answer.headers["Content-Length"] == get(app).headers["Content-Length"]


# Entity tags ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["gzip", "br", None])
@pytest.mark.parametrize("second", ["gzip", None])
def test_a_tag_is_revalidated_in_whatever_coding(app: Flask, first: str | None, second: str | None) -> None:
    serve(app, cache("no-cache", etag=True)(lambda: PAGE))

    full = get(app, accept=first)
    again = app.test_client().get(
        "/", headers={"If-None-Match": full.headers["ETag"], **({"Accept-Encoding": second} if second else {})}
    )

    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Vary"] == full.headers["Vary"] == "Accept-Encoding"
    assert full.headers["ETag"].startswith("W/") is (first is not None)
    assert again.headers["ETag"].startswith("W/") is (second is not None)
    assert coding(again) is None


@pytest.mark.parametrize("wanted", ["gzip", None])
def test_a_malformed_tag_of_the_view_is_no_reason_to_fail(app: Flask, wanted: str | None) -> None:
    serve(app, lambda: Response(PAGE, headers={"ETag": '"tea"time"'}))

    answer = get(app, accept=wanted)

    assert (answer.status_code, coding(answer), decoded(answer)) == (200, wanted, PAGE.encode())
    assert answer.headers.getlist("ETag") == ['W/"tea"time"' if wanted else '"tea"time"']


def test_a_file_is_compressed_and_revalidated(app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "app.js"
    file.write_text("let tea = 'tea';\n" * 1000)
    serve(app, lambda: send_file(file))

    full = get(app)
    again = get(app, **{"If-None-Match": full.headers["ETag"]})
    part = get(app, Range="bytes=0-9")

    assert (coding(full), decoded(full)) == ("gzip", file.read_bytes())
    assert "Content-Length" not in full.headers
    assert again.status_code == 304
    assert part.status_code in (200, 206)
    assert decoded(part) == (file.read_bytes()[:10] if part.status_code == 206 else file.read_bytes())


def test_a_part_of_a_file_stays_as_it_is(app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "app.js"
    file.write_text("let tea = 'tea';\n" * 1000)
    serve(app, lambda: send_file(file, conditional=True))

    part = get(app, Range="bytes=17-1040")

    assert (part.status_code, coding(part), part.data) == (206, None, file.read_bytes()[17:1041])


# Streams -------------------------------------------------------------------------------------------------------------


class Body:
    """A stream that notes what was asked for and whether it was closed."""

    def __init__(self, *chunks: str | bytes) -> None:
        self.asked, self.closed = 0, 0
        self._chunks = iter(chunks)

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> str | bytes:
        self.asked += 1
        return next(self._chunks)

    def close(self) -> None:
        self.closed += 1


def stream_from(app: Flask, **headers: str) -> Any:
    """Return the response to a GET, whose body is still to be asked for."""
    return app.test_client().get("/", headers=headers, buffered=False)


@pytest.mark.parametrize(("wanted", "accept"), [("br", "br, zstd"), ("gzip", "gzip, zstd"), ("deflate", "deflate")])
def test_each_chunk_of_a_stream_can_be_read_when_it_arrives(app: Flask, wanted: str, accept: str) -> None:
    made: Any = Body("one ", b"two ", "", "three")
    serve(app, lambda: Response(made, content_type="text/plain"))
    decoder: Any = {"br": brotli.Decompressor(), "gzip": zlib.decompressobj(31), "deflate": zlib.decompressobj()}[
        wanted
    ]
    read = decoder.process if wanted == "br" else decoder.decompress

    answer = stream_from(app, **{"Accept-Encoding": accept})
    chunks = iter(answer.response)
    received = [(read(next(chunks)), made.asked) for _ in range(3)]
    rest = b"".join(chunks)
    answer.close()

    assert answer.headers["Content-Encoding"] == wanted
    assert received == [(b"one ", 1), (b"two ", 2), (b"three", 4)]
    assert read(rest) == b""
    assert made.closed == 1


def test_a_stream_is_closed_when_the_client_leaves(app: Flask) -> None:
    made: Any = Body(*["x" * 100] * 10)
    serve(app, lambda: Response(made, content_type="text/plain"), compress, log_timing)

    answer = stream_from(app, **{"Accept-Encoding": "gzip"})
    answer.close()

    assert (made.closed, made.asked) == (1, 1)


def test_a_stream_that_needs_the_request_has_it(app: Flask) -> None:
    from flask import stream_with_context

    def lines() -> Iterator[str]:
        for _ in range(3):
            yield request.args["word"]

    serve(app, lambda: Response(stream_with_context(lines()), content_type="text/plain"))

    assert decoded(get(app, "/?word=tea")) == b"teateatea"


def test_a_stream_that_fails_fails(app: Flask) -> None:
    def broken() -> Iterator[str]:
        yield "begun"
        raise LookupError("on purpose")

    serve(app, lambda: Response(broken(), content_type="text/plain"))

    with pytest.raises(LookupError):
        get(app)


def test_streams_may_be_left_alone(app: Flask) -> None:
    serve(app, lambda: Response(iter(["x" * 5000]), content_type="text/plain"), compress(streams=False))

    answer = get(app)

    assert (coding(answer), answer.headers.get("Vary")) == (None, None)


def test_a_stream_is_never_sent_as_zstd(app: Flask) -> None:
    serve(app, lambda: Response(iter(["x" * 5000]), content_type="text/plain"))

    assert coding(get(app, accept="zstd")) is None


# Secrets -------------------------------------------------------------------------------------------------------------


def token_and_search() -> str:
    """Show a secret of the session, and what was searched for."""
    return f"{session.get('token', 'secret')} {request.values.get('q', '')} {PAGE}"


COOKIE = {"Cookie": "session=ada"}


@together(
    ("path", "headers", "expected"),
    [
        ("/", COOKIE, "gzip"),
        ("/?q=guess", {}, "gzip"),
        ("/?q=guess", COOKIE, None),
        ("/?q=guess", {"Authorization": "Basic YWRhOnNlc2FtZQ=="}, None),
        ("/?q=guess", {"Authorization": "Bearer token"}, "gzip"),
        ("/?q=guess", {"X-API-Key": "key"}, "gzip"),
        ("/?q=guess", {**COOKIE, "Sec-Fetch-Site": "cross-site"}, None),
        ("/?q=guess", {**COOKIE, "Sec-Fetch-Site": "same-site"}, None),
        ("/?q=guess", {**COOKIE, "Sec-Fetch-Site": "same-origin, cross-site"}, None),
        ("/?q=guess", {**COOKIE, "Sec-Fetch-Site": "same-origin"}, "gzip"),
        ("/?q=guess", {**COOKIE, "Sec-Fetch-Site": "none"}, "gzip"),
        ("/users/guess", COOKIE, None),
        ("/users/guess", {}, "gzip"),
        ("/orders/7", COOKIE, "gzip"),
        ("/files/a/b", COOKIE, None),
    ],
)
def test_secrets_beside_input_that_a_foreign_page_may_have_chosen_are_not_compressed(
    app: Flask, path: str, headers: dict[str, str], expected: str | None
) -> None:
    Guard(app, policies=[compress])
    for number, rule in enumerate(("/", "/users/<name>", "/orders/<int:number>", "/files/<path:name>")):
        app.add_url_rule(rule, f"view{number}", lambda **_: token_and_search())

    answer = get(app, path, **headers)

    assert (answer.status_code, coding(answer)) == (200, expected)
    assert "Accept-Encoding" in answer.headers["Vary"]


HTTP_2_BODY = {"CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(b"q=guess"), "wsgi.input_terminated": True}


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"q": "guess"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"environ_overrides": HTTP_2_BODY},
    ],
)
def test_a_body_is_input_too(app: Flask, body: dict[str, Any]) -> None:
    serve(app, token_and_search)
    headers = {**COOKIE, "Accept-Encoding": "gzip", **body.get("headers", {})}

    client = app.test_client(use_cookies=False)

    answer = client.post("/", **{**body, "headers": headers})

    assert coding(answer) is None
    without = client.post("/", headers={**COOKIE, "Accept-Encoding": "gzip"})
    assert coding(without) == "gzip"


def test_a_404_page_repeats_the_path(app: Flask) -> None:
    app.register_error_handler(404, lambda error: (f"{request.path} {PAGE}", 200))
    Guard(app, policies=[compress])

    assert coding(get(app, "/guess", **COOKIE)) is None
    assert coding(get(app, "/guess")) == "gzip"


def test_a_stream_may_have_a_secret_too(app: Flask) -> None:
    serve(app, lambda: Response(iter([token_and_search()]), content_type="text/plain"))

    assert coding(get(app, "/?q=guess", **COOKIE)) is None


def test_the_size_of_a_page_with_a_secret_does_not_depend_on_what_is_guessed(app: Flask) -> None:
    serve(app, lambda: f"{PAGE}csrf=8f1c27aa {request.args['q']}")

    sizes = {len(get(app, f"/?q=csrf={guess}", **COOKIE).data) for guess in ("8f1c27aa", "00000000", "8f1c2700")}
    attack = [len(get(app, f"/?q=csrf={guess}").data) for guess in ("8f1c27aa", "03957264")]

    assert len(sizes) == 1
    assert attack[0] < attack[1]  # which is how it would be found out


def test_a_file_repeats_nothing(app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "app.js"
    file.write_text("let tea = 'tea';\n" * 1000)
    serve(app, lambda: send_file(file))

    assert coding(get(app, "/?v=7", **COOKIE)) == "gzip"


def test_an_author_may_force_it(app: Flask) -> None:
    serve(app, token_and_search, compress(force=True))

    assert coding(get(app, "/?q=guess", **COOKIE)) == "gzip"


# As a policy ---------------------------------------------------------------------------------------------------------


def test_the_nearest_decides_and_exempt_leaves_a_view_alone(app: Flask) -> None:
    Guard(app, policies=[compress])
    app.add_url_rule("/a", "a", lambda: PAGE)
    app.add_url_rule("/b", "b", compress(algorithms="br")(lambda: PAGE))
    app.add_url_rule("/c", "c", exempt(compress)(lambda: PAGE))

    assert [coding(get(app, path, "gzip, br;q=0.5")) for path in ("/a", "/b", "/c")] == ["gzip", "br", None]
    assert "Vary" not in get(app, "/c").headers


@pytest.mark.parametrize("order", [1, -1])
def test_it_agrees_with_the_other_policies_whatever_their_order(make_app: MakeApp, order: int) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "a long random secret"})

    @middleware
    def sign(_request: object) -> Any:
        response = yield
        response.set_data(response.get_data() + b"<!-- signed -->")

    policies = [
        log_timing,
        cors(origins="https://app.example"),
        secure_headers,
        compress,
        cache("public, max-age=60", etag=True),
        require_api_key(optional=True),
        sign,
    ]
    protect(app, *policies[::order])
    app.add_url_rule("/", "index", lambda: PAGE)
    Guard(app)

    answer = get(app, Origin="https://app.example", **{"X-API-Key": "a long random secret"})

    assert decoded(answer) == f"{PAGE}<!-- signed -->".encode()
    vary = {each.strip() for field in answer.headers.getlist("Vary") for each in field.split(",")}
    assert vary == {"Accept-Encoding", "Origin", "Authorization", "X-API-Key"}
    assert answer.headers["Cache-Control"] == "private, max-age=60"
    assert answer.headers["ETag"].startswith('W/"')
    assert get(app, **{"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_an_async_view_is_compressed(app: Flask) -> None:
    async def page() -> str:
        return PAGE

    assert decoded(get(serve(app, page))) == PAGE.encode()


def test_flask_compress_on_the_app_leaves_the_response_alone(app: Flask) -> None:
    from flask_compress import Compress as FlaskCompress

    FlaskCompress(app)
    serve(app)

    answer = get(app)

    assert (coding(answer), decoded(answer)) == ("gzip", PAGE.encode())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithms": "gzp"}, "no coding 'gzp'; did you mean 'gzip'\\? Choose"),
        ({"algorithms": []}, "is empty. Name codings"),
        ({"algorithms": [1]}, "no coding 1"),
        ({"content_types": "json"}, "'json' is not a content type"),
        ({"content_types": "text/*"}, r"'text/\*' is not a content type"),
        ({"content_types": "text/html; charset=utf-8"}, "without parameters"),
        ({"min_size": "1 kB"}, "must be a whole number of bytes"),
        ({"streams": 1}, "must be True or False"),
        ({"force": "yes"}, "must be True or False"),
    ],
)
def test_an_invalid_option_is_refused_where_it_is_written(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compress(**options)


def test_forcing_it_is_weaker() -> None:
    before, after = compress.plain_options(), compress(force=True, streams=False).plain_options()

    assert Compress.compare(before, after) == "weaker"


@pytest.mark.slow
def test_without_flask_compress_the_app_is_refused_with_the_command_to_run() -> None:
    program = (
        "import sys; sys.modules['flask_compress'] = None\n"
        "from flask import Flask; from flask_guard import Guard, compress\n"
        "Guard(Flask('app'), policies=[compress])"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert "compress needs Flask-Compress. Install it with: pip install 'flask-guard-kit[compress]'" in result.stderr
