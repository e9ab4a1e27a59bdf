"""`RequestID`: one id for each request, the same in every layer, in the views and on the response."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask, request

from flask_guard import Guard, current_request_id, log_timing
from flask_guard.wsgi import RequestID, stack
from flask_guard.wsgi.request_ids import RequestIds
from tests.wsgi.driver import answering, environ_of, send

KEY = "flask_guard.request_id"
NEW = re.compile(r"[0-9a-f]{32}")
hello = answering([b"hello"])


def test_request_gets_an_id_that_goes_out() -> None:
    environ = environ_of()

    answer = send(RequestID(hello))
    list(RequestID(hello)(environ, lambda status, headers, exc_info=None, /: lambda data: None))

    assert NEW.fullmatch(answer["X-Request-ID"] or "")
    assert NEW.fullmatch(environ[KEY])


def test_well_formed_id_of_the_client_is_taken_and_no_other() -> None:
    assert send(RequestID(hello), HTTP_X_REQUEST_ID="from-outside")["X-Request-ID"] == "from-outside"
    assert NEW.fullmatch(send(RequestID(hello), HTTP_X_REQUEST_ID="a\r\nb")["X-Request-ID"] or "")


def test_ids_come_from_where_they_are_told_to() -> None:
    app = RequestID(hello, ids=RequestIds(trust=False))

    assert NEW.fullmatch(send(app, HTTP_X_REQUEST_ID="from-outside")["X-Request-ID"] or "")


def test_header_has_the_name_it_is_given_or_is_not_sent() -> None:
    assert NEW.fullmatch(send(RequestID(hello, header="X-Trace"))["X-Trace"] or "")
    assert [name for name, _ in send(RequestID(hello, header=None)).headers] == ["Content-Type"]


def test_id_that_the_application_sends_stays() -> None:
    assert send(RequestID(answering([], X_Request_Id="mine")))["X-Request-ID"] == "mine"


def test_layers_around_each_other_agree_on_one_id() -> None:
    answer = send(stack(hello, RequestID, RequestID(header="X-Inner"), RequestID))

    assert answer["X-Inner"] == answer["X-Request-ID"]
    assert NEW.fullmatch(answer["X-Request-ID"] or "")


@pytest.mark.parametrize("given", [None, "from-outside", "not well formed"])
def test_views_and_log_timing_see_the_id_of_the_layer(given: str | None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="flask_guard.access")
    app = Flask("tests")
    app.add_url_rule("/", "index", lambda: f"{request.environ[KEY]} {current_request_id}")
    Guard(app, policies=[log_timing])
    environ: dict[str, Any] = {} if given is None else {"HTTP_X_REQUEST_ID": given}

    answer = send(stack(app.wsgi_app, RequestID), **environ)

    sent = answer["X-Request-ID"]
    assert answer.body.decode() == f"{sent} {sent}"
    assert [vars(record)["request_id"] for record in caplog.records] == [sent]
    assert (sent == given) == (given == "from-outside")


@pytest.mark.parametrize(
    ("options", "error"),
    [({"header": "X A"}, ValueError), ({"header": 5}, TypeError), ({"ids": "uuid"}, TypeError)],
)
def test_options_that_cannot_be_meant_are_refused(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        RequestID(**options)
