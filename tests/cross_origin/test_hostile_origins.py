"""Origins made to be mistaken for others are never let in, whatever sort of policy they meet."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import Client, EnvironBuilder

from flask_guard import Cors, Guard, cors
from tests.cases import case

ALLOWED = "https://app.example.com"
HOSTILE = [
    # other schemes and ports
    "http://app.example.com",
    "ftp://app.example.com",
    "ws://app.example.com",
    "file://app.example.com",
    "HTTPS:app.example.com",
    "https:/app.example.com",
    "https:///app.example.com",
    "//app.example.com",
    "app.example.com",
    "https://app.example.com:443",
    "https://app.example.com:80",
    "https://app.example.com:8443",
    "https://app.example.com:",
    "https://app.example.com:0443",
    "https://app.example.com:443443",
    "https://app.example.com:evil",
    # names that contain it
    "https://app.example.com.evil.net",
    "https://app.example.comevil.net",
    "https://app.example.com-evil.net",
    "https://app.example.com_evil.net",
    "https://evilapp.example.com",
    "https://evil-app.example.com",
    "https://evil.net.app.example.com.evil.net",
    "https://sub.app.example.com",
    "https://example.com",
    "https://app.example.co",
    "https://app.example.comm",
    "https://app.example.com.",
    "https://.app.example.com",
    "https://app..example.com",
    # a dot that is not one
    "https://appXexample.com",
    "https://app-example.com",
    "https://app.exampleXcom",
    "https://app%2eexample.com",
    "https://app\uff0eexample.com",
    "https://app\u3002example.com",
    # letters that look alike
    "https://\u0430pp.example.com",
    "https://app.ex\u0430mple.com",
    "https://app.example.\u0441om",
    "https://xn--pp-6kc.example.com",
    "https://\uff41pp.example.com",
    "https://app.example.com\u200b",
    # credentials, paths, queries
    "https://app.example.com@evil.net",
    "https://app.example.com:443@evil.net",
    "https://evil.net@app.example.com",
    "https://app.example.com/",
    "https://app.example.com/evil",
    "https://app.example.com\\evil.net",
    "https://evil.net/https://app.example.com",
    "https://evil.net?https://app.example.com",
    "https://evil.net#https://app.example.com",
    "https://app.example.com?",
    "https://app.example.com#",
    "https://app.example.com;evil.net",
    "https://app.example.com&evil.net",
    "https://app.example.com!.evil.net",
    "https://app.example.com$.evil.net",
    "https://app.example.com%60.evil.net",
    "https://app.example.com{.evil.net",
    # several in one
    "https://app.example.com https://evil.net",
    "https://evil.net https://app.example.com",
    "https://app.example.com,https://evil.net",
    "https://evil.net, https://app.example.com",
    "https://app.example.com\thttps://evil.net",
    # blanks and control characters
    " https://app.example.com",
    "https://app.example.com ",
    "https://app.example.com\t",
    "https://app.example.com\x00.evil.net",
    "https://app.example.com\x0b",
    "https://app.example.com\x7f",
    "https://app.example.com\xa0",
    # words
    "null",
    "NULL",
    "nullhttps://app.example.com",
    "*",
    ".*",
    "https://*",
    "https://*.example.com",
    "undefined",
    "about:blank",
    "data:text/html,x",
    "chrome-extension://app.example.com",
    "https://[app.example.com]",
    "https://[::ffff:app.example.com]",
    "https://" + "a" * 5000 + ".example.com",
]


def is_allowed(origin: str) -> bool:
    return origin == ALLOWED


POLICIES: dict[str, Any] = {
    "exact": [ALLOWED],
    "pattern": re.compile(r"https://app\.example\.com"),
    "pattern with anchors": re.compile(r"^https://app\.example\.com$"),
    "pattern, verbose": re.compile(r"(?x) https:// app [.] example [.] com # ours"),
    "callable": is_allowed,
    "all of them": [ALLOWED, re.compile(r"https://app\.example\.com"), is_allowed],
}


def answers(app: Flask, origin: str) -> list[Any]:
    """Return the responses to a request and a preflight from `origin`, sent as bytes that no client would refuse."""
    raw = origin.encode("utf-8", "surrogatepass").decode("latin-1")
    fields = {"HTTP_ORIGIN": raw}
    client = Client(app)
    return [
        client.open(EnvironBuilder(method="GET", environ_overrides=fields)),
        client.open(
            EnvironBuilder(method="OPTIONS", environ_overrides={**fields, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"})
        ),
    ]


def served(policy: Cors) -> Flask:
    """Return an app with a view that has the policy."""
    app = Flask("hostile")
    app.add_url_rule("/", "index", policy(lambda: "hello"))
    Guard(app)
    return app


def test_there_are_enough_of_them() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 60


@pytest.mark.parametrize("policy", POLICIES)
def test_hostile_origin_gets_nothing_but_vary(policy: str) -> None:
    app = served(cors(origins=POLICIES[policy], credentials=True))
    for origin, response in ((each, response) for each in HOSTILE for response in answers(app, each)):
        with case(origin):
            assert response.status_code in (200, 204)
            assert not [name for name, _ in response.headers if name.startswith("Access-Control-")]
            assert response.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize("policy", POLICIES)
def test_origin_that_is_allowed_is_let_in_by_each(policy: str) -> None:
    for response in answers(served(cors(origins=POLICIES[policy], credentials=True)), ALLOWED):
        assert response.headers.getlist("Access-Control-Allow-Origin") == [ALLOWED]
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert response.headers.getlist("Vary") == ["Origin"]


def test_what_is_open_to_all_reflects_no_origin() -> None:
    app = served(cors(origins="*"))
    for origin, response in ((each, response) for each in (*HOSTILE, ALLOWED) for response in answers(app, each)):
        with case(origin):
            assert response.headers.getlist("Access-Control-Allow-Origin") == ["*"]
            assert "Access-Control-Allow-Credentials" not in response.headers
