"""What the tests of `metrics` share: an app that counts, and what its page of metrics says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse, create_environ

from flask_guard import Guard, metrics, metrics_view

Samples = dict[tuple[str, ...], float]


def page(app: Flask) -> str:
    """Return the app's page of metrics, made without a request that would be counted."""
    with app.test_request_context("/metrics"):
        return metrics_view().get_data(as_text=True)


def samples(app: Flask, name: str, *labels: str) -> Samples:
    """Return the samples of `name` by the values of `labels`."""
    return samples_in(page(app), name, *labels)


def samples_in(text: str, name: str, *labels: str) -> Samples:
    """Return the samples of `name` on a page, by the values of `labels`."""
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {tuple(each.labels[label] for label in labels): each.value for each in found if each.name == name}


def requests(app: Flask, prefix: str = "flask_guard") -> Samples:
    """Return the requests that `app` counted, by endpoint, method and class of status."""
    return samples(app, f"{prefix}_requests_total", "endpoint", "method", "status")


def timed(app: Flask, prefix: str = "flask_guard") -> Samples:
    """Return the requests whose time was taken."""
    return samples(app, f"{prefix}_request_duration_seconds_count", "endpoint", "method", "status")


def serve(app: Flask, view: Callable[..., Any] = lambda: "hello", *policies: Any, **options: Any) -> Flask:
    """Return `app` with a view at ``/``, and everything counted."""
    app.add_url_rule("/", "index", view, **options)
    Guard(app, policies=[metrics, *policies])
    return app


def send(app: Flask, path: str = "/", method: str = "GET", **options: Any) -> TestResponse:
    """Send a request, and read and close the response as a server does."""
    return app.test_client().open(path, method=method, buffered=True, **options)


def start(app: Flask, path: str = "/", method: str = "GET") -> Any:
    """Start a request as a server does, and return the body, of which nothing has been read yet."""

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[..., None]:
        return lambda _data: None

    return app.wsgi_app(create_environ(path, method=method), start_response)
