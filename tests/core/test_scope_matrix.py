"""Every policy, at every scope, in every situation: what it does to the response, and whom it leaves alone."""

from __future__ import annotations

import logging
from itertools import groupby

import pytest

from flask_guard import cors, limit, log_timing, protect, require_api_key, secure_headers
from tests.cases import case
from tests.conftest import MakeApp
from tests.core.scopes import (
    EVERYWHERE,
    KEY,
    ORIGIN,
    POLICIES,
    SCOPES,
    SIGNS,
    SITUATIONS,
    Situation,
    is_reached,
    put_together,
    send,
    status_in,
)

pytestmark = pytest.mark.slow

every_policy = pytest.mark.parametrize("policy", POLICIES)
every_scope = pytest.mark.parametrize("scope", SCOPES)

by_view = sorted(SITUATIONS.items(), key=lambda each: each[1].view.__name__)
BY_VIEW = {view: [name for name, _ in found] for view, found in groupby(by_view, key=lambda each: each[1].view)}
"""The situations of each view, which can share an app."""


@every_policy
@every_scope
def test_policy_acts_on_every_response_of_its_scope(make_app: MakeApp, policy: str, scope: str) -> None:
    for view, names in BY_VIEW.items():
        app = put_together(make_app, scope, POLICIES[policy], view)
        for name in names:
            with case(name):
                situation = SITUATIONS[name]

                response = send(app, situation)

                leaves_alone = policy in ("limit", "require_api_key") and situation.is_preflight
                expected = is_reached(scope, situation) and not leaves_alone
                assert response.status_code == status_in(policy, scope, situation)
                assert SIGNS[policy](response) == expected
                if situation.body is not None and response.status_code == 200:
                    assert response.get_data() == situation.body


@every_policy
@every_scope
def test_policy_stays_within_its_scope(make_app: MakeApp, policy: str, scope: str) -> None:
    app = put_together(make_app, scope, POLICIES[policy])
    for neighbour in sorted(EVERYWHERE):
        with case(neighbour):
            method, path = neighbour.split()

            response = send(app, Situation(200, method=method, path=path))

            assert SIGNS[policy](response) == (neighbour in SCOPES[scope][1])


@every_scope
def test_valid_key_opens_what_a_key_guards(make_app: MakeApp, scope: str) -> None:
    for view, names in BY_VIEW.items():
        app = put_together(make_app, scope, require_api_key, view)
        for name in names:
            with case(name):
                situation = SITUATIONS[name]

                response = send(app, situation, Authorization=f"Bearer {KEY}")

                assert response.status_code == situation.status
                assert situation.body is None or response.get_data() == situation.body


@every_scope
def test_limit_counts_everything_but_preflights(make_app: MakeApp, scope: str) -> None:
    for name, situation in SITUATIONS.items():
        with case(name):
            app = put_together(make_app, scope, limit("1/minute"), situation.view)

            statuses = [send(app, situation).status_code for _ in range(3)]

            counted = is_reached(scope, situation) and not situation.is_preflight
            assert statuses == [situation.status, *[429 if counted else situation.status] * 2]


@every_scope
def test_every_request_is_logged_once(make_app: MakeApp, caplog: pytest.LogCaptureFixture, scope: str) -> None:
    for view, names in BY_VIEW.items():
        app = put_together(make_app, scope, log_timing, view)
        for name in names:
            with case(name):
                situation = SITUATIONS[name]
                caplog.clear()

                with caplog.at_level(logging.INFO, logger="flask_guard.access"):
                    send(app, situation)

                logged = [vars(record)["status"] for record in caplog.records if record.name == "flask_guard.access"]
                assert logged == ([situation.status] if is_reached(scope, situation) else [])


@every_scope
def test_refusals_carry_what_the_app_adds_and_preflights_need_no_key(make_app: MakeApp, scope: str) -> None:
    for view, names in BY_VIEW.items():
        app = put_together(make_app, scope, require_api_key, view)
        protect(app, cors(origins=ORIGIN), secure_headers, log_timing)
        for name in names:
            with case(name):
                situation = SITUATIONS[name]

                response = send(app, situation)

                refused = is_reached(scope, situation) and not situation.is_preflight
                assert response.status_code == (401 if refused else 204 if situation.is_preflight else situation.status)
                added = ("cors", "secure_headers", "log_timing")
                assert [policy for policy in added if not SIGNS[policy](response)] == []
