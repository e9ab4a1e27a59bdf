"""`RequestIDFilter` puts the id of the request on every record of every logger."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask

from flask_guard import Guard, RequestIDFilter, exempt, log_timing


def send(app: Flask, path: str = "/") -> None:
    app.test_client().get(path, buffered=True, headers={"X-Request-ID": "the-id"})


def serve(app: Flask, view: Callable[..., Any]) -> Flask:
    app.add_url_rule("/", "index", view)
    Guard(app, policies=[log_timing])
    return app


def say(name: str, text: str, **extra: str) -> str:
    logging.getLogger(name).info(text, extra=extra)
    return text


@pytest.fixture
def written() -> Iterator[Callable[[], list[str]]]:
    """Return a function that returns the lines that a handler with the filter has written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RequestIDFilter())
    handler.setFormatter(logging.Formatter("%(name)s %(request_id)s %(message)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: stream.getvalue().splitlines()
    root.removeHandler(handler)
    root.setLevel(before)


def test_filter_gives_every_record_of_every_logger_the_id(app: Flask, written: Callable[[], list[str]]) -> None:
    serve(app, lambda: say("shop.orders", "in the view") + say("somebody.elses", "too"))
    say("shop", "outside")

    send(app)

    assert written()[:3] == ["shop - outside", "shop.orders the-id in the view", "somebody.elses the-id too"]
    assert written()[3].startswith("flask_guard.access the-id GET / 200")


def test_filter_leaves_a_record_the_id_that_it_has(app: Flask, written: Callable[[], list[str]]) -> None:
    serve(app, lambda: say("shop", "made", request_id="of-the-record"))

    send(app)

    assert written()[0] == "shop of-the-record made"


def test_filter_knows_the_id_where_only_a_blueprint_is_guarded(app: Flask, written: Callable[[], list[str]]) -> None:
    shop = log_timing(Blueprint("shop", __name__, url_prefix="/shop"))
    shop.add_url_rule("/", "index", lambda: say("shop", "in the view"))
    app.register_blueprint(shop)
    Guard(app)

    send(app, "/shop/")

    assert written()[0] == "shop the-id in the view"


def test_filter_knows_the_id_where_nothing_is_logged(app: Flask, written: Callable[[], list[str]]) -> None:
    serve(app, exempt(log_timing)(lambda: say("shop", "in the view")))

    send(app)

    assert written() == ["shop the-id in the view"]


def test_filter_lets_an_unguarded_app_alone(app: Flask, written: Callable[[], list[str]]) -> None:
    app.add_url_rule("/", "index", lambda: say("shop", "unguarded"))

    send(app)

    assert written() == ["shop - unguarded"]
