"""``allow(…)``: findings that a person has accepted, with a reason, in the code."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView

from flask_guard import ConfigError, Guard, allow, protect, require_api_key
from flask_guard.audit.findings import Audit, examine
from flask_guard.audit.inventory import take_inventory
from tests.audit.faults import GUARD, audited, view
from tests.conftest import MakeApp

WHY = "because='the tests say so'"
BLUEPRINT = """
hooks = Blueprint("hooks", __name__, url_prefix="/hooks")

@hooks.post("/first")
def first():
    return "first"

@hooks.post("/second")
def second():
    return "second"
"""
REGISTER = "\napp.register_blueprint(hooks)\n"
CLASS = """
@allow("FG001", because="a test")
class Things(MethodView):
    def post(self):
        return "posted"

    def put(self):
        return "put"

app.add_url_rule("/things", view_func=Things.as_view("things"))
"""
METHOD = """
class Things(MethodView):
    @allow("FG001", because="a test")
    def post(self):
        return "posted"

    def put(self):
        return "put"

app.add_url_rule("/things", view_func=Things.as_view("things"))
"""


def open_writes(audit: Audit) -> list[str]:
    return [each.where for each in audit.findings if each.rule.id == "FG001"]


@pytest.mark.parametrize(
    ("source", "left"),
    [
        (BLUEPRINT + REGISTER, ["POST /hooks/first", "POST /hooks/second"]),
        (BLUEPRINT + f"allow('FG001', {WHY})(hooks)" + REGISTER, []),
        (BLUEPRINT + f"protect(hooks, allow('FG001', {WHY}))" + REGISTER, []),
        (BLUEPRINT + REGISTER + f"allow('FG001', {WHY})(hooks)", []),
        (BLUEPRINT + REGISTER + f"allow('FG001', {WHY})(app)", []),
        (BLUEPRINT + REGISTER + f"protect(app, allow('FG001', {WHY}), under='/hooks')", []),
        (BLUEPRINT + REGISTER + f"protect(app, allow('FG001', {WHY}), under='/hooks/first')", ["POST /hooks/second"]),
        (CLASS, []),
        (METHOD, ["PUT /things"]),
        (view(f"@allow('FG001', 'FG030', {WHY})", 'post("/a")'), []),
    ],
    ids=["none", "blueprint", "protect", "late", "app", "path", "deeper path", "class", "method", "view"],
)
def test_silence_holds_where_it_is_applied(tmp_path: Path, source: str, left: list[str]) -> None:
    assert open_writes(audited(tmp_path, source + GUARD)) == left


def test_silence_of_an_app_holds_for_its_settings(tmp_path: Path) -> None:
    weak = "\napp.config['SESSION_COOKIE_SECURE'] = False\n"

    audit = audited(tmp_path, weak + f"allow('FG012', {WHY}, until='2999-01-31')(app)" + GUARD)

    assert audit.findings == ()
    assert [(finding.rule.id, silence.because) for finding, silence in audit.silenced] == [
        ("FG012", "the tests say so")
    ]


def test_silence_of_some_endpoints_leaves_the_finding_for_the_others(tmp_path: Path) -> None:
    tried = "\nprotect(app, limit('9/minute', mode='report', shared='all'))\n"
    allowed = view(f"@allow('FG024', {WHY}, until='2999-01-31')")

    audit = audited(tmp_path, tried + allowed + GUARD)

    finding = next(each for each in audit.findings if each.rule.id == "FG024")
    assert "GET /a" not in [each.where for each in finding.entries]
    assert "GET /" in [each.where for each in finding.entries]


def test_silence_ends_after_its_last_day(tmp_path: Path) -> None:
    from tests.audit.faults import load

    app = load(tmp_path, view(f"@allow('FG001', {WHY}, until='2027-01-31')", 'post("/a")') + GUARD).app
    inventory = take_inventory(app)

    last, after = (examine(inventory, today=day) for day in (date(2027, 1, 31), date(2027, 2, 1)))

    assert [each.rule.id for each in last.findings] == []
    assert [each.rule.id for each in after.findings] == ["FG001", "FG091"]


def test_report_mode_is_accepted_only_until_a_day(tmp_path: Path) -> None:
    tried = view(f"@limit('9/minute', mode='report')\n@allow('FG024', {WHY})")

    audit = audited(tmp_path, tried + GUARD)

    assert [each.rule.id for each in audit.findings] == ["FG024", "FG091"]
    assert "has no last day" in audit.findings[1].message


def test_misplaced_silence_accepts_nothing_and_is_reported(tmp_path: Path) -> None:
    above = view("", 'post("/a")').replace("\n@app", f"\n@allow('FG001', {WHY})\n@app")

    audit = audited(tmp_path, above + GUARD)

    assert [each.rule.id for each in audit.findings] == ["FG001", "FG090"]


@pytest.mark.parametrize(
    "scope", ["protect(hooks, {})", "protect(app, {}, under='/nothing')"], ids=["blueprint", "path"]
)
def test_silence_without_any_endpoint_is_reported(tmp_path: Path, scope: str) -> None:
    empty = '\nhooks = Blueprint("hooks", __name__)\napp.register_blueprint(hooks)\n'

    audit = audited(tmp_path, empty + scope.format(f"allow('FG001', {WHY})") + GUARD)

    assert [each.rule.id for each in audit.findings] == ["FG090"]


def test_silences_change_no_plan_and_no_answer(make_app: MakeApp) -> None:
    app = make_app()
    guard = Guard(app)
    silence = allow("FG001", because="a test")
    blueprint = Blueprint("hooks", __name__)
    blueprint.add_url_rule("/b", "b", lambda: "b", methods=["POST"])
    protect(blueprint, silence)
    silence(app)
    app.register_blueprint(blueprint)
    app.add_url_rule("/a", "a", silence(require_api_key(lambda: "a")), methods=["POST"])

    assert [each.policy.name for each in guard.plan_for("a", "POST")] == ["require_api_key"]
    assert list(guard.plan_for("hooks.b", "POST")) == []
    assert [app.test_client().post(path).status_code for path in ("/a", "/b")] == [401, 200]


def test_silences_work_on_an_app_without_a_guard(make_app: MakeApp) -> None:
    app: Flask = make_app(MAX_CONTENT_LENGTH=1000, SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="Lax")
    blueprint = Blueprint("hooks", __name__)
    view = allow("FG001", because="a test")(lambda: "b")
    blueprint.add_url_rule("/b", "b", view, methods=["POST"])
    blueprint.add_url_rule("/c", "c", lambda: "c", methods=["POST"])
    allow("FG003", because="a test")(blueprint)
    app.register_blueprint(blueprint)
    allow("FG012", because="a test")(app)

    found = examine(take_inventory(app)).findings

    assert [each.where for each in found if each.rule.id == "FG001"] == ["POST /c"]
    assert [app.test_client().post(path).status_code for path in ("/b", "/c")] == [200, 200]


def test_a_silence_first_does_not_take_the_404s_of_a_blueprint_from_its_policies(make_app: MakeApp) -> None:
    app = make_app()
    Guard(app)
    blueprint = Blueprint("api", __name__, url_prefix="/api")
    blueprint.add_url_rule("/a", "a", lambda: "a")
    allow("FG001", because="a test")(blueprint)
    require_api_key(blueprint)
    app.register_blueprint(blueprint)

    assert [app.test_client().get(path).status_code for path in ("/api/a", "/api/none")] == [401, 401]


def test_a_class_with_a_silence_is_served(make_app: MakeApp) -> None:
    app = make_app()
    Guard(app)

    @allow("FG001", because="a test")
    class Things(MethodView):
        def post(self) -> str:
            return "posted"

    app.add_url_rule("/things", view_func=Things.as_view("things"))

    assert app.test_client().post("/things").text == "posted"


# What allow refuses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {"because": "a test"}, "names no rule"),
        (("fg001",), {"because": "a test"}, "'fg001'.*FG001"),
        ((1,), {"because": "a test"}, "not the id of an audit rule"),
        (("FG001",), {"because": " "}, "has no reason"),
        (("FG001",), {"because": None}, "has no reason"),
        (("FG001",), {"because": "a test", "until": "soon"}, "2027-01-31"),
        (("FG001",), {"because": "a test", "until": 7}, "2027-01-31"),
    ],
    ids=["no id", "case", "number", "blank", "none", "word", "seven"],
)
def test_allow_says_what_to_write(arguments: tuple[str, ...], options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        allow(*arguments, **options)


def test_allow_needs_a_reason() -> None:
    with pytest.raises(TypeError, match="because"):
        allow("FG001")  # type: ignore[call-arg]


def test_allowing_a_rule_twice_on_one_target_is_a_config_error() -> None:
    first, second = allow("FG001", because="one"), allow("FG002", "FG001", because="two")

    with pytest.raises(ConfigError, match="allows FG001 twice"):
        first(second(lambda: "view"))
