"""What limits warn of, once, when a request shows it: a proxy that is not trusted, workers that count apart."""

from __future__ import annotations

import logging

import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_guard import Guard, Policy, ban, limit

from ..conftest import MakeApp, free_port

FORWARDED = {"X-Forwarded-For": "203.0.113.9"}
ONE = {"wsgi.multiprocess": False}
SEVERAL = {"wsgi.multiprocess": True}


def warnings_of(
    app: Flask,
    caplog: pytest.LogCaptureFixture,
    *policies: Policy,
    headers: dict[str, str] | None = None,
    environ: dict[str, bool] | None = None,
) -> list[str]:
    """Return the warnings that three requests to a view with `policies` lead to."""
    Guard(app, policies=policies or (limit("90/minute"),))
    app.add_url_rule("/", "view", lambda: "")
    for _ in range(3):
        assert app.test_client().get("/", headers=headers or {}, environ_overrides=environ or {}).status_code == 200
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


POLICIES: dict[str, Policy] = {
    "limit": limit("90/minute"),
    "limit.concurrent": limit.concurrent(9),
    "ban": ban(after="9/minute"),
    "a limit by a callable": limit("90/minute", by=lambda: "me"),
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_forwarded_requests_without_a_trusted_proxy_are_warned_of_once_with_the_fix(
    app: Flask, caplog: pytest.LogCaptureFixture, policy: Policy
) -> None:
    (warning,) = warnings_of(app, caplog, policy, headers=FORWARDED)

    assert "X-Forwarded-For" in warning
    assert "ProxyFix(app.wsgi_app, x_for=1)" in warning
    assert "203.0.113.9" not in warning


def test_behind_proxy_fix_there_is_nothing_to_warn_of(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)  # type: ignore[method-assign]

    assert warnings_of(app, caplog, headers=FORWARDED) == []


def test_behind_proxy_fix_the_address_that_the_proxy_tells_is_counted(app: Flask) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)  # type: ignore[method-assign]
    Guard(app, policies=[limit("1/minute")])
    app.add_url_rule("/", "view", lambda: "")

    def ask(forwarded: str) -> int:
        return app.test_client().get("/", headers={"X-Forwarded-For": forwarded}).status_code

    assert [ask("203.0.113.1"), ask("203.0.113.2"), ask("198.51.100.7, 203.0.113.1")] == [200, 200, 429]


def test_direct_requests_are_nothing_to_warn_of(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(app, caplog, headers={"Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"}) == []


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_limits_in_memory_under_several_workers_are_warned_of_once_with_what_to_write_instead(
    app: Flask, caplog: pytest.LogCaptureFixture, policy: Policy
) -> None:
    (warning,) = warnings_of(app, caplog, policy, environ=SEVERAL)

    assert "each counts alone" in warning
    assert "sqlite:///" in warning
    assert "redis://" in warning


def test_one_worker_is_nothing_to_warn_of(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(app, caplog, environ=ONE) == []


def test_a_storage_that_workers_share_is_nothing_to_warn_of(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{free_port()}/0")

    assert warnings_of(app, caplog, environ=SEVERAL) == []


def test_a_process_with_two_apps_warns_for_each(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    for count in (1, 2):
        assert len(warnings_of(make_app(), caplog, environ=SEVERAL)) == count


def test_both_are_warned_of_together(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    assert len(warnings_of(app, caplog, headers=FORWARDED, environ=SEVERAL)) == 2


def test_where_nothing_is_limited_nothing_is_warned_of(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(app, caplog, limit("9/minute", when=lambda: False), headers=FORWARDED, environ=SEVERAL) == []
