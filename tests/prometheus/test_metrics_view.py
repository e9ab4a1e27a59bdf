"""`metrics_view`: a view like any other, which speaks the formats that Prometheus asks for."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.test import TestResponse, create_environ

from flask_guard import Guard, log_timing, metrics, metrics_view, require_api_key, secure_headers
from tests.conftest import MakeApp

from .metrics_page import samples_in, send

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.fixture(autouse=True)
def unmarked() -> Iterator[None]:
    """Take from `metrics_view` what guarding it leaves there, for apps that register it without the guard."""
    vars(metrics_view).clear()
    yield
    vars(metrics_view).clear()


@pytest.fixture
def app(app: Flask) -> Flask:
    """Return an app with its metrics at ``/metrics``."""
    app.add_url_rule("/metrics", view_func=metrics_view)
    Guard(app, policies=[metrics])
    return app


def get(app: Flask, url: str = "/metrics", **headers: str) -> TestResponse:
    return app.test_client().get(url, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_it_can_be_guarded_and_counts_itself(make_app: MakeApp) -> None:
    app = make_app(GUARD_API_KEYS={"prometheus": {"hash": KEY_HASH, "scopes": ["metrics:read"]}})
    app.add_url_rule("/metrics", view_func=require_api_key(scopes="metrics:read")(metrics_view))
    Guard(app, policies=[metrics, log_timing, secure_headers])

    assert get(app).status_code == 401
    answer = get(app, Authorization="Bearer test")

    assert answer.status_code == 200
    counted = samples_in(answer.text, "flask_guard_requests_total", "endpoint", "status")
    assert counted == {("metrics_view", "4xx"): 1}
    assert answer.headers["Cache-Control"] == "no-store"


KEY_HASH = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"""Of the key ``test``."""


def test_apps_of_one_process_may_guard_it_differently(make_app: MakeApp) -> None:
    statuses = []
    for name, policy in (("first", require_api_key), ("second", require_api_key(scopes="metrics:read"))):
        app = make_app(GUARD_API_KEYS={name: f"the key of the {name}"})
        app.add_url_rule("/metrics", view_func=policy(metrics_view))
        Guard(app, policies=[metrics])
        statuses += [get(app).status_code, get(app, X_API_Key=f"the key of the {name}").status_code]

    assert statuses == [401, 200, 401, 403]


def test_a_guard_that_another_app_gave_it_is_never_lost(make_app: MakeApp, app: Flask) -> None:
    assert get(app).status_code == 200

    require_api_key(metrics_view)
    later = make_app()
    later.add_url_rule("/metrics", view_func=metrics_view)
    Guard(later)

    assert get(later).status_code == 401


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0"),
        ("text/html, application/openmetrics-text; version=1.0.0;q=0.5", "application/openmetrics-text; version=1.0.0"),
        ("application/openmetrics-text; version=abc", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=" + "9" * 900, "text/plain; version=0.0.4"),
        ('application/openmetrics-text; version="1.0.0"', "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=\uff11.0.0", "text/plain; version=0.0.4"),
        ("text/plain; version=\x00; escaping=values", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.0.0, " + "a" * 5000, "text/plain; version=0.0.4"),
    ],
)
def test_the_format_goes_by_accept_and_no_accept_is_an_error(app: Flask, accept: str, content_type: str) -> None:
    get(app)

    statuses: list[str] = []
    types: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        statuses.append(status)
        types.append(dict(headers)["Content-Type"])

    body = b"".join(app.wsgi_app({**create_environ("/metrics"), "HTTP_ACCEPT": accept}, start_response))  # type: ignore[arg-type]

    assert statuses == ["200 OK"]
    assert types[0].startswith(content_type)
    assert body.endswith(b"# EOF\n") == content_type.startswith("application/openmetrics-text")


def test_it_is_compressed_for_those_who_accept_that(app: Flask) -> None:
    get(app)

    answer = get(app, Accept_Encoding="gzip")

    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"flask_guard_requests_total" in gzip.decompress(answer.data)


def test_names_select_metrics(app: Flask) -> None:
    get(app)

    text = get(app, "/metrics?name[]=flask_guard_requests_total").text

    assert samples_in(text, "flask_guard_requests_total", "endpoint") == {("metrics_view",): 1}
    assert "duration" not in text


def test_head_is_answered(app: Flask) -> None:
    assert send(app, "/metrics", "HEAD").status_code == 200


def test_an_app_that_counts_nothing_has_an_empty_page(make_app: MakeApp) -> None:
    app = make_app()
    app.add_url_rule("/metrics", view_func=metrics_view)
    Guard(app)

    assert (get(app).status_code, get(app).text.strip()) == (200, "")


def test_without_a_guard_it_says_so(make_app: MakeApp) -> None:
    app = make_app(TESTING=True)
    app.add_url_rule("/metrics", view_func=metrics_view)

    with pytest.raises(RuntimeError, match="metrics_view needs a Guard on the app"):
        get(app)
