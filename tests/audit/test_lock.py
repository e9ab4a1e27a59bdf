"""The lock file: what is in it, that it is the same everywhere, and what counts as a change."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from flask_guard import (
    ConfigError,
    Guard,
    Policy,
    cors,
    exempt,
    limit,
    log_timing,
    metrics,
    middleware,
    protect,
    require_api_key,
    secure_headers,
)
from flask_guard.audit.changes import changes
from flask_guard.audit.inventory import take_inventory
from flask_guard.audit.lock import Line, Lock, as_text, describe, make_lock, parse
from flask_guard.core.facts import Foreign, Purpose
from tests.audit.locks import app_with, compared, kinds
from tests.cases import together
from tests.ids import shown


@middleware
def tenant(request: object, *, header: str = "X-Tenant", secret: str = "sesame") -> None:  # noqa: S107
    """Do nothing."""


# The text -------------------------------------------------------------------------------------------------------------


def test_block_has_one_line_for_each_policy_with_what_is_not_the_default() -> None:
    lock, _ = app_with(require_api_key(scopes="orders:write"), limit("10/minute"), limit("100/day"), log_timing, tenant)

    block = as_text(lock).partition("[POST /things]\n")[2]

    assert block.splitlines() == [
        'limit(rates=["10/minute"])',
        'limit(rates=["100/day"])',
        "log_timing()",
        'require_api_key(scopes=["orders:write"])',
        'tenant(header="X-Tenant", secret="\\u2026")',
    ]


def test_endpoint_without_policies_has_nothing() -> None:
    assert as_text(app_with()[0]).endswith("[POST /things]\nnothing\n")


def test_report_mode_is_written_wherever_it_comes_from() -> None:
    by_option, _ = app_with(limit("10/minute", mode="report"))
    by_config, _ = app_with(limit("10/minute"), GUARD_MODES={"limit": "report"})
    overridden, _ = app_with(limit("10/minute", mode="enforce"), GUARD_MODES={"limit": "report"})

    assert as_text(by_option) == as_text(by_config)
    assert 'mode="report"' in as_text(by_option).rpartition("[POST")[2]
    assert "mode" not in as_text(overridden).rpartition("[POST")[2]


def test_text_of_a_lock_can_be_read_again() -> None:
    lock, _ = app_with(
        require_api_key(scopes=['a"b'.replace('"', "'"), "c"]),
        cors(origins="https://app.example.com"),
        limit("10/minute", by=("address", "api_key")),
    )

    assert as_text(parse(as_text(lock))) == as_text(lock)
    assert parse(as_text(lock)) == parse(as_text(parse(as_text(lock))))


TEXT = st.text(max_size=10)
JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | TEXT
    | st.lists(TEXT, max_size=3)
    | st.dictionaries(TEXT, TEXT, max_size=2)
)
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
LINES = st.lists(st.builds(Line, NAME, st.dictionaries(NAME, JSON, max_size=3)), max_size=3).map(tuple)


@pytest.mark.slow
@given(st.dictionaries(TEXT.map(lambda path: f"GET /{path}"), LINES, max_size=4), LINES)
def test_any_lock_can_be_read_again(blocks: dict[str, tuple[Line, ...]], app: tuple[Line, ...]) -> None:
    lock = Lock({"limit": {"rates": []}}, app, blocks)

    again = parse(as_text(lock))

    assert as_text(again) == as_text(lock)
    assert changes(lock, again, {}) == []
    assert set(again.blocks) == set(lock.blocks)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# flask_guard.lock/2\n",
        "# flask_guard.lock/1\nlimit\n",
        "# flask_guard.lock/1\nlimit(rates=)\n",
        "# flask_guard.lock/1\nlimit(rates=[1)\n",
        "# flask_guard.lock/1\nlimit(1)\n",
        '# flask_guard.lock/1\n["]\n',
    ],
    ids=shown,
)
def test_text_that_is_no_lock_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="lock file"):
        parse(text)


def test_paths_with_odd_characters_keep_to_one_line() -> None:
    app = Flask("shop", static_folder=None)
    app.add_url_rule('/a"b\u2028c]', "odd", lambda: "odd")
    Guard(app, policies=[log_timing])

    text = as_text(make_lock(take_inventory(app)))

    assert '[GET /a\\"b\\u2028c]]\nlog_timing()\n' in text
    assert list(parse(text).blocks) == ['GET /a"b\u2028c]']


def test_two_endpoints_of_one_path_and_method_are_told_apart() -> None:
    app = Flask("shop", static_folder=None)
    app.add_url_rule("/", "first", require_api_key(lambda: "1"))
    app.add_url_rule("/", "second", lambda: "2")
    Guard(app)

    lock = make_lock(take_inventory(app))

    assert {name: [line.name for line in lines] for name, lines in lock.blocks.items()} == {
        "GET / as first": ["require_api_key"],
        "GET / as second": [],
    }


def test_endpoints_of_two_hosts_are_told_apart() -> None:
    app = Flask("shop", static_folder=None, host_matching=True, static_host=None)
    app.add_url_rule("/", "first", require_api_key(lambda: "1"), host="a.example")
    app.add_url_rule("/", "second", lambda: "2", host="b.example")
    Guard(app)

    lock = make_lock(take_inventory(app))

    assert {name: [line.name for line in lines] for name, lines in lock.blocks.items()} == {
        "GET //a.example/": ["require_api_key"],
        "GET //b.example/": [],
    }


def test_json_has_all_options() -> None:
    lock, _ = app_with(limit("10/minute"))

    found = describe(lock)

    assert found["schema"] == "flask_guard.lock/1"
    policy = found["endpoints"]["POST /things"][0]
    assert policy["name"] == "limit"
    assert policy["options"]["rates"] == ["10/minute"]
    assert policy["options"]["headers"] is True


PROGRAM = """
import re, sys
from flask import Flask
from flask_guard import *
from flask_guard.audit.inventory import take_inventory
from flask_guard.audit.lock import as_text, make_lock

class Group:
    def __call__(self):
        return "group"

app = Flask("shop")
app.config["GUARD_API_KEYS"] = {"ci": "a long random secret"}
Guard(app, policies=[log_timing(fields={"b": lambda: 1, "a": lambda: 2}), secure_headers])
scopes = {"orders:read", "orders:write", "users:read", "users:write"}
names = ["a", "b", "c"] if sys.argv[1] == "forward" else ["c", "b", "a"]
for name in names:
    view = limit("10/minute", by=Group(), methods={"GET", "POST", "PUT"})(limit("99/day")(lambda: "answer"))
    view = require_api_key(any_scope=scopes)(cors(origins=[re.compile("https://x"), "https://b.example", "https://a.example"])(view))
    app.add_url_rule(f"/{name}", name, view, methods=["POST", "GET"])
sys.stdout.write(as_text(make_lock(take_inventory(app))))
"""


@pytest.mark.slow
def test_text_depends_on_no_order_seed_folder_or_time(tmp_path: Path) -> None:
    texts = set()
    for seed, order, name in (("1", "forward", "one"), ("2", "backward", "two"), ("3", "forward", "three")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.py").write_text(PROGRAM, encoding="utf-8")
        environ = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "TZ": "Asia/Tokyo" if seed == "2" else "UTC",
            "HOME": str(folder),
        }
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, order], cwd=folder, env=environ, capture_output=True, text=True, check=True
        )
        texts.add(run.stdout)

    assert len(texts) == 1
    text = texts.pop()
    assert "a long random secret" not in text
    assert str(tmp_path) not in text
    assert "0x" not in text


# Changes --------------------------------------------------------------------------------------------------------------


@together(
    ("old", "new", "expected"),
    [
        ((require_api_key,), (require_api_key,), []),
        ((require_api_key,), (), ["weaker"]),
        ((), (require_api_key,), ["stronger"]),
        ((require_api_key,), (require_api_key(mode="report"),), ["weaker"]),
        ((require_api_key(mode="report"),), (require_api_key,), ["stronger"]),
        ((), (require_api_key(mode="report"),), ["stronger"]),
        ((require_api_key, limit("9/minute")), (limit("9/minute"),), ["weaker"]),
        ((limit("9/minute"), limit("100/day")), (limit("9/minute"),), ["weaker"]),
        ((limit("9/minute"),), (limit("100/day"), limit("9/minute")), ["stronger"]),
        ((cors,), (), ["stronger"]),
        ((), (cors,), ["weaker"]),
        ((), (metrics,), []),
        ((), (log_timing,), ["stronger"]),
        ((tenant,), (tenant(header="X-Org"),), ["different"]),
        ((tenant,), (), ["weaker"]),
        ((tenant,), (tenant(mode="report"),), ["weaker"]),
        ((exempt(limit),), (), []),
    ],
)  # fmt: skip
def test_change_of_policies_is_judged(old: tuple[Any, ...], new: tuple[Any, ...], expected: list[str]) -> None:
    assert kinds(compared(old, new)) == expected


def test_words_name_the_option_and_both_values() -> None:
    found = compared((require_api_key(scopes=["orders"]),), (require_api_key,))

    assert [each.message for each in found] == ['POST /things: require_api_key has scopes=[] instead of ["orders"]']


def test_words_name_what_is_gone_and_what_is_new() -> None:
    found = compared((require_api_key, cors), (secure_headers,))

    assert [each.message for each in found] == [
        "POST /things: require_api_key is gone",
        "POST /things: cors is gone",
        "POST /things: secure_headers is new",
    ]


def test_endpoints_that_are_new_or_gone_are_told() -> None:
    line = Line("limit", {"rates": ["1/minute"]})
    old = Lock({}, (), {"GET /a": (line,), "GET /b": (line,)})
    new = Lock({}, (), {"GET /b": (line,), "GET /c": (line,), "POST /d": ()})

    found = changes(old, new, {}, unguarded={"POST /d"})

    assert [(each.kind, each.message) for each in found] == [
        ("unguarded", "POST /d is new, open to everyone, and has nothing"),
        ("new", "GET /c is new, and has limit"),
        ("gone", "GET /a is gone"),
    ]


@pytest.mark.parametrize(
    ("purpose", "gone", "came"),
    [("authentication", "weaker", "stronger"), ("unknown", "weaker", "stronger"), ("cors", "stronger", "weaker")],
)
def test_protection_by_other_packages_counts(purpose: Purpose, gone: str, came: str) -> None:
    (bare, kinds_), (with_it, _) = app_with(), app_with(foreign=(Foreign("Other", purpose), Foreign("More", "limit")))
    with_one, _ = app_with(foreign=(Foreign("More", "limit"),))
    changed, _ = app_with(foreign=(Foreign("Other", purpose, "less"), Foreign("More", "limit")))

    assert kinds(changes(with_it, with_one, kinds_)) == [gone]
    assert kinds(changes(with_one, with_it, kinds_)) == [came]
    assert kinds(changes(with_it, changed, kinds_)) == ["different"]
    assert sorted(kinds(changes(bare, with_it, kinds_))) == sorted([came, "stronger"])


def test_switching_everything_off_is_weaker() -> None:
    (on, kinds_), (off, _) = app_with(limit("9/minute")), app_with(limit("9/minute"), GUARD_ENABLED=False)

    assert [(each.kind, each.message) for each in changes(on, off, kinds_)] == [
        ("weaker", "app: every policy is switched off")
    ]
    assert kinds(changes(off, on, kinds_)) == ["stronger"]


def test_hooks_of_the_app_count() -> None:
    lock, kinds_ = app_with()
    hooked = dataclasses.replace(lock, app=(Line("theirs", {"by": "shop.check", "purpose": "unknown"}),))

    assert [each.message for each in changes(hooked, lock, kinds_)] == ["app: shop.check (unknown) is gone"]
    assert kinds(changes(hooked, lock, kinds_)) == ["weaker"]


def test_defaults_that_a_new_version_changes_count() -> None:
    lock, kinds_ = app_with(require_api_key)
    earlier = dataclasses.replace(
        lock, defaults={"require_api_key": {**lock.defaults["require_api_key"], "optional": True}}
    )

    assert kinds(changes(earlier, lock, kinds_)) == ["stronger"]
    assert kinds(changes(lock, earlier, kinds_)) == ["weaker"]


def test_a_policy_whose_class_is_gone_is_weaker_when_it_goes() -> None:
    class Own(Policy):
        kind = "own"

        def compile(self, target: Any) -> Any:
            from flask_guard import Step

            return Step()

    lock, _ = app_with(Own())
    bare, kinds_ = app_with()

    assert kinds(changes(lock, bare, kinds_)) == ["weaker"]


def test_policies_of_a_blueprint_and_of_the_app_are_in_the_lock() -> None:
    app = Flask("shop", static_folder=None)
    app.add_url_rule("/", "index", lambda: "index")
    protect(app, limit("9/minute", shared="all"))
    Guard(app, policies=[log_timing])

    assert [str(line) for line in make_lock(take_inventory(app)).blocks["GET /"]] == [
        'limit(rates=["9/minute"], shared="all")',
        "log_timing()",
    ]
