"""In debug mode a refused request says in the log what would have let it through, and never a secret."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from flask import Flask

from flask_guard import (
    Denied,
    DenyingPolicy,
    Guard,
    Phase,
    Run,
    Step,
    Target,
    Unauthenticated,
    limit,
    log_timing,
    middleware,
    require_api_key,
    require_auth,
)
from flask_guard.core.policy import Credential
from tests.conftest import MakeApp

KEY = {"Authorization": "Bearer the secret of ci"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RequireTicket(DenyingPolicy):
    """Stands for a policy that takes credentials from several places."""

    kind: ClassVar[str] = "require_ticket"
    phase: ClassVar[Phase] = Phase.AUTHENTICATE

    @property
    def credential_places(self) -> tuple[Credential, ...]:
        return (("header", "authorization"), ("header", "x-ticket"), ("query", "ticket"))

    def compile(self, target: Target) -> Step:
        def enter(_run: Run) -> None:
            challenge = [("WWW-Authenticate", 'Ticket realm="zoo"')]
            raise Unauthenticated("A ticket.", policy=self.kind, reason="missing", headers=challenge)

        return Step(enter)


def refuse_with(detail: str) -> Any:
    @middleware
    def refuse(_request: object) -> None:
        raise Denied(detail, policy="refuse", reason="no")

    return refuse


@pytest.fixture
def app(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> Flask:
    caplog.set_level(logging.INFO, logger="flask_guard")
    app = make_app(GUARD_API_KEYS={"ci": "the secret of ci"})
    app.debug = True
    password = require_auth(basic=lambda name, password: None, bearer=lambda token: None)
    views = {
        "/key": require_api_key(in_="bearer"),
        "/scope": require_api_key(in_="bearer", scopes=["orders:read", "orders:write"]),
        "/password": password,
        "/ticket": RequireTicket(),
        "/limited": limit("1/minute"),
        "/custom": refuse_with("Closed on Sundays.\r\nforged\x1b[31m"),
        "/report": require_api_key(in_="bearer", mode="report"),
    }
    for path, policy in views.items():
        app.add_url_rule(path, path[1:], policy(lambda: "hello"))
    return app


@pytest.mark.parametrize(
    ("path", "headers", "said"),
    [
        ("/key", {}, "denied by require_api_key (missing): send Authorization (Bearer)"),
        (
            "/key",
            {"Authorization": "Bearer nonsense"},
            "denied by require_api_key (unknown): send Authorization (Bearer)",
        ),
        ("/scope", KEY, "denied by require_api_key (insufficient_scope): needs scope orders:read orders:write"),
        ("/password", {}, "denied by require_auth (missing): send Authorization (Basic) or Authorization (Bearer)"),
        (
            "/ticket",
            {},
            "denied by require_ticket (missing): send Authorization (Ticket) or X-Ticket or the query parameter ticket",
        ),
        ("/limited", {}, "denied by limit (exceeded): try again in 6"),
        ("/custom", {}, r"denied by refuse (no): Closed on Sundays.\r\nforged\x1b[31m"),
        ("/report", {}, "would be denied by require_api_key (missing): send Authorization (Bearer)"),
    ],
)
@pytest.mark.parametrize("logs", [True, False])
def test_denial_says_what_would_have_let_the_request_through(
    app: Flask, caplog: pytest.LogCaptureFixture, path: str, headers: dict[str, str], said: str, logs: bool
) -> None:
    Guard(app, policies=[log_timing] if logs else [])
    for _ in range(1 + (path == "/limited")):
        app.test_client().get(path, headers=headers)

    denials = [record for record in caplog.records if record.name == "flask_guard" and "denied" in record.getMessage()]
    assert denials[-1].getMessage().startswith(f"GET {path} {said}")
    assert denials[-1].levelname == ("INFO" if logs and path != "/report" else "WARNING")
    if logs and path != "/report":
        remedy = vars(caplog.records[-1])["remedy"]
        assert denials[-1].getMessage().endswith(f": {remedy}")
    assert "nonsense" not in caplog.text
    assert "the secret of ci" not in caplog.text


def test_nothing_of_it_is_said_in_production(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.debug = False
    Guard(app, policies=[log_timing])

    response = app.test_client().get("/key")

    assert "GET /key denied by require_api_key (missing)" in caplog.messages
    assert not hasattr(caplog.records[-1], "remedy")
    assert "send Authorization" not in response.text
