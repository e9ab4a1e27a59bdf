"""``flask guard limits``: what support sees of a client's windows, and clears."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_guard import Guard, limit
from tests.ids import shown

from ..conftest import MakeApp
from ..storage_clock import Clock
from .conftest import CI, ask, assert_refused, guard_command, held, limited_app, listed

pytestmark = pytest.mark.slow

FACTS = {"client", "scope", "kind", "rate", "algorithm", "remaining", "seconds", "available_in"}


def test_status_shows_every_window_of_a_client_and_none_of_another(limited: Flask) -> None:
    ask(limited, "/address", times=2)
    ask(limited, "/search")
    ask(limited, "/address", times=3, address="192.0.2.2")

    assert held(limited, "192.0.2.1") == [
        ("shared:search", "8 per 1 hour", 7),
        ("view:address", "5 per 1 minute", 3),
        ("view:address", "50 per 1 day", 48),
    ]


@pytest.mark.parametrize(
    ("path", "request_", "client", "expected"),
    [
        ("/address", {}, "192.0.2.1", "5 per 1 minute"),
        ("/address", {"address": "2001:db8:1:2::1"}, "2001:db8:1:2::1", "5 per 1 minute"),
        ("/address", {"address": "2001:db8:1:2::1"}, "2001:DB8:1:2:ffff::9", "5 per 1 minute"),
        ("/address", {"address": "2001:db8:1:2::1"}, "2001:db8:1:2::/64", "5 per 1 minute"),
        ("/address", {"address": "::ffff:192.0.2.7"}, "192.0.2.7", "5 per 1 minute"),
        ("/address", {"address": ""}, "unknown", "5 per 1 minute"),
        ("/key", CI, "ci", "3 per 1 hour"),
        ("/key", CI, "key:ci", "3 per 1 hour"),
        ("/person", {"auth": ("ada", "x")}, "ada", "9 per 1 hour"),
        ("/person", {"auth": ("a" * 300, "x")}, "a" * 300, "9 per 1 hour"),
        ("/tenant?tenant=acme", {}, "acme", "6 per 1 hour"),
        ("/tenant?tenant=" + "a" * 300, {}, "a" * 300, "6 per 1 hour"),
        ("/tenant?tenant=a/b%20c%25d*", {}, "a/b c%d*", "6 per 1 hour"),
        ("/tenant?tenant=", {}, "192.0.2.1", "6 per 1 hour"),
        ("/dynamic", {}, "192.0.2.1", "7 per 1 hour"),
        ("/tuple", CI, "192.0.2.1", "4 per 1 hour"),
        ("/tuple", CI, "ci", "4 per 1 hour"),
        ("/tuple", CI, "192.0.2.1+key:ci", "4 per 1 hour"),
        ("/tuple", {**CI, "address": "2001:db8::1"}, "2001:db8::2", "4 per 1 hour"),
    ],
    ids=shown,
)
def test_a_client_is_found_by_what_support_has_at_hand(
    limited: Flask, path: str, request_: dict[str, Any], client: str, expected: str
) -> None:
    ask(limited, path, **request_)

    assert expected in [rate for _, rate, _ in held(limited, client)]


@pytest.mark.parametrize("client", ["192.0.2.10", "192.0.2", "c", "ci2", "b", "192.0.2.1+b", "*", "by:*", "%", "_"])
def test_what_only_resembles_a_client_is_none(limited: Flask, client: str) -> None:
    ask(limited, "/address")
    ask(limited, "/tuple", **CI)
    ask(limited, "/tenant?tenant=a%2Bb")

    assert_refused(guard_command(limited, "limits", "status", "--key", client), 3)


def test_status_says_when_more_is_available(limited: Flask) -> None:
    ask(limited, "/address", times=6)

    minute, day = listed(guard_command(limited, "limits", "status", "--key", "192.0.2.1", "--json"))

    assert set(minute) == FACTS
    assert (minute["client"], minute["kind"], minute["algorithm"]) == ("192.0.2.1", "limit", "fixed-window")
    assert (minute["remaining"], minute["seconds"]) == (0, 60)
    assert 50 <= minute["available_in"] <= 60
    assert 86_300 <= day["available_in"] <= 86_400


def test_status_prints_aligned_columns_for_people(limited: Flask) -> None:
    ask(limited, "/key", times=3, **CI)

    title, row = guard_command(limited, "limits", "status", "--key", "ci").stdout.splitlines()

    starts = [title.index(name) for name in ("CLIENT", "SCOPE", "RATE", "REMAINING", "AVAILABLE IN")]
    cells = [row[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
    assert cells[:4] == ["key:ci", "view:key", "3 per 1 hour", "0"]
    assert cells[4] == "1h" or cells[4].startswith("59m")


def test_looking_charges_nothing(limited: Flask) -> None:
    ask(limited, "/key", times=2, **CI)

    before = [held(limited, "ci") for _ in range(5)][-1]

    assert before == [("view:key", "3 per 1 hour", 1)]
    assert [ask(limited, "/key", **CI) for _ in range(2)] == [200, 429]


def test_status_shows_the_places_of_requests_at_work(limited: Flask) -> None:
    response = limited.test_client().get("/places?endless", environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    result = guard_command(limited, "limits", "status", "--key", "192.0.2.1", "--json")
    response.close()

    place = listed(result)[0]
    assert (place["scope"], place["kind"], place["rate"]) == ("view:places", "limit.concurrent", "2 at once")
    assert (place["remaining"], place["available_in"]) == (1, None)
    assert held(limited, "192.0.2.1") == []


def test_status_shows_bans_and_what_counts_towards_them(limited: Flask) -> None:
    ask(limited, "/banned?bad")
    before = held(limited, "192.0.2.1")
    ask(limited, "/banned?bad")

    result = guard_command(limited, "limits", "status", "--key", "192.0.2.1")

    assert "banned for 1h" in result.stdout
    assert before == [("ban:view:banned", "2 per 1 hour", 1)]
    assert held(limited, "192.0.2.1") == [("ban:view:banned", None, 0)]


@pytest.mark.parametrize("storage_uri", ["sqlite"], indirect=True)  # where ended rows are kept until they are swept
def test_what_is_over_is_not_shown(make_app: MakeApp, storage_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=storage_uri)
    Guard(app)
    app.add_url_rule("/", "view", limit("1/minute", algorithm="moving-window")(lambda: ""))
    ask(app, "/")
    Clock(monkeypatch).advance(60)

    assert held(app, "192.0.2.1") == []


def test_all_lists_what_is_held_for_everybody(limited: Flask) -> None:
    ask(limited, "/key", **CI)
    ask(limited, "/search", address="192.0.2.9")

    everything = listed(guard_command(limited, "limits", "status", "--all", "--json"))

    assert [(each["client"], each["scope"]) for each in everything] == [
        ("192.0.2.9", "shared:search"),
        ("key:ci", "view:key"),
    ]


def test_all_of_nothing_is_a_list(limited: Flask) -> None:
    assert listed(guard_command(limited, "limits", "status", "--all", "--json")) == []


@pytest.mark.slow
def test_all_is_bounded_and_says_so(limited: Flask) -> None:
    for number in range(1001):
        ask(limited, "/search", address=f"192.0.{number // 250}.{number % 250}")

    result = guard_command(limited, "limits", "status", "--all", "--json")

    assert len(listed(result)) == 1000
    assert "more than these 1000" in result.stderr


def test_apps_with_different_key_prefixes_see_their_own(make_app: MakeApp, storage_uri: str) -> None:
    apps = [
        limited_app(make_app(RATELIMIT_STORAGE_URI=storage_uri, RATELIMIT_KEY_PREFIX=prefix))
        for prefix in ("a: b/", "other")
    ]
    ask(apps[0], "/search", times=2)
    ask(apps[1], "/search", times=5)

    assert [held(app, "192.0.2.1") for app in apps] == [
        [("shared:search", "8 per 1 hour", 6)],
        [("shared:search", "8 per 1 hour", 3)],
    ]
