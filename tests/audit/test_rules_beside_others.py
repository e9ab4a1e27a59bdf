"""Apps without a Guard, with other packages: what audits of public apps have shown about false alarms and gaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, abort, g, render_template, request
from flask_cors import CORS, cross_origin
from flask_login import LoginManager, login_required  # type: ignore[import-untyped]
from flask_wtf import FlaskForm  # type: ignore[import-untyped]

from flask_guard.audit.findings import examine
from flask_guard.audit.inventory import take_inventory


class PostForm(FlaskForm):  # type: ignore[misc]
    pass


@pytest.fixture
def app() -> Flask:
    app = Flask("public", static_folder=None)
    app.config.update(SECRET_KEY="4f1d0c0a7b5e6f2d8c9b3a1e7d6f5c4b")
    LoginManager(app)
    return app


def found(app: Flask) -> list[str]:
    """Return the ids of what is found about the endpoints."""
    return [each.rule.id for each in examine(take_inventory(app)).findings if each.entries]


def checked() -> str:
    return "posted" if PostForm().validate_on_submit() else "again"


def unchecked() -> str:
    return str(PostForm().data)


@pytest.mark.parametrize(("view", "is_found"), [(checked, False), (unchecked, True)])
def test_form_of_flask_wtf_checks_its_own_token(app: Flask, view: Callable[..., Any], is_found: bool) -> None:
    app.add_url_rule("/post", "post", login_required(view), methods=["POST"])

    assert ("FG070" in found(app)) is is_found


def test_form_counts_on_an_open_write(app: Flask) -> None:
    app.add_url_rule("/post", "post", checked, methods=["POST"])

    assert "FG001" not in found(app)


class FormWithoutToken(PostForm):
    class Meta:
        csrf = False


class FormBelow(FormWithoutToken):
    class Meta:
        locales = ("en",)


def without_token() -> str:
    return "posted" if FormWithoutToken().validate_on_submit() else "again"


def below() -> str:
    return "posted" if FormBelow().validate_on_submit() else "again"


def without_token_here() -> str:
    return "posted" if PostForm(meta={"csrf": False}).validate_on_submit() else "again"


@pytest.mark.parametrize("view", [without_token, below, without_token_here])
def test_form_without_a_token_does_not_count(app: Flask, view: Callable[..., Any]) -> None:
    app.add_url_rule("/post", "post", view, methods=["POST"])

    assert "FG001" in found(app)
    assert app.test_client().post("/post").text == "posted"


def test_form_does_not_count_where_its_token_is_switched_off(app: Flask) -> None:
    app.config["WTF_CSRF_ENABLED"] = False
    app.add_url_rule("/post", "post", checked, methods=["POST"])

    assert "FG001" in found(app)


def test_rule_without_a_view_is_not_served(app: Flask) -> None:
    app.add_url_rule("/", endpoint="index", methods=["GET", "POST"])

    assert found(app) == []


def test_log_in_is_reported_once(app: Flask) -> None:
    app.add_url_rule("/login", "login", lambda: "welcome", methods=["POST"])

    assert found(app) == ["FG030"]


def feed() -> str:
    return render_template("feed.xml")


def page() -> str:
    return render_template("page.html", feed="feed.xml")


@pytest.mark.parametrize(("view", "is_found"), [(feed, False), (page, True)])
def test_template_that_is_no_page_needs_no_headers(app: Flask, view: Callable[..., Any], is_found: bool) -> None:
    app.add_url_rule("/", "view", view)

    assert ("FG050" in found(app)) is is_found


def note_user() -> None:
    g.user = request.headers.get("X-User")


def refuse() -> None:
    if "X-User" not in request.headers:
        abort(401)


@pytest.mark.parametrize(("hook", "rule"), [(note_user, "FG001"), (refuse, "FG002")])
def test_hook_that_cannot_answer_protects_nothing(app: Flask, hook: Callable[[], None], rule: str) -> None:
    app.before_request(hook)
    app.add_url_rule("/post", "post", lambda: "posted", methods=["POST"])

    assert rule in found(app)


@pytest.mark.parametrize(
    ("options", "is_found"),
    [({}, True), ({"origins": "https://app.example.com"}, False), ({"resources": r"/public/.*"}, False)],
    ids=["every origin", "one origin", "another path"],
)
def test_flask_cors_opens_writes_to_every_site(app: Flask, options: dict[str, Any], is_found: bool) -> None:
    CORS(app, **options)
    app.add_url_rule("/post", "post", checked, methods=["POST"])
    app.add_url_rule("/get", "get", lambda: "got")

    findings = [each for each in examine(take_inventory(app)).findings if each.rule.id == "FG040"]

    assert bool(findings) is is_found
    assert all([entry.where for entry in each.entries] == ["POST /post"] for each in findings)


def test_decorator_of_flask_cors_opens_a_write_to_every_site(app: Flask) -> None:
    app.add_url_rule("/post", "post", cross_origin()(checked), methods=["POST"])
    app.add_url_rule("/get", "get", cross_origin()(lambda: "got"))

    assert found(app).count("FG040") == 1
