"""``flask guard bans``: who is banned, and how bans are lifted."""

from __future__ import annotations

import pytest
from flask import Flask

from .conftest import ask, assert_refused, guard_command, listed

pytestmark = pytest.mark.slow


def banned(app: Flask, *addresses: str) -> None:
    for address in addresses:
        ask(app, "/banned?bad", times=2, address=address)
        assert ask(app, "/banned", address=address) == 429


def test_list_shows_who_is_banned_from_what_and_for_how_long(limited: Flask) -> None:
    banned(limited, "192.0.2.1", "2001:db8::1")
    ask(limited, "/banned?bad", address="192.0.2.9")

    bans = listed(guard_command(limited, "bans", "list", "--json"))

    assert [(each["client"], each["scope"], each["kind"]) for each in bans] == [
        ("192.0.2.1", "ban:view:banned", "ban"),
        ("2001:db8::/64", "ban:view:banned", "ban"),
    ]
    assert {each["seconds"] for each in bans} == {3600}
    assert all(3500 <= each["available_in"] <= 3600 for each in bans)


def test_list_prints_aligned_columns_for_people(limited: Flask) -> None:
    banned(limited, "192.0.2.1")

    title, row = guard_command(limited, "bans", "list").stdout.splitlines()

    assert title.split("  ")[0] == "CLIENT"
    assert row.split()[:3] == ["192.0.2.1", "ban:view:banned", "1h"]
    assert title.index("LASTING") == row.index("1h")


def test_a_list_of_no_bans_is_a_list(limited: Flask) -> None:
    ask(limited, "/address")

    assert listed(guard_command(limited, "bans", "list", "--json")) == []
    assert guard_command(limited, "bans", "list").stdout.split() == ["CLIENT", "SCOPE", "LASTING", "ENDS", "IN"]


def test_show_is_about_one_client(limited: Flask) -> None:
    banned(limited, "192.0.2.1", "192.0.2.2")

    bans = listed(guard_command(limited, "bans", "show", "--key", "192.0.2.2", "--json"))

    assert [each["client"] for each in bans] == ["192.0.2.2"]


def test_lift_lets_one_client_in_again(limited: Flask) -> None:
    banned(limited, "192.0.2.1", "192.0.2.2")

    lifted = listed(guard_command(limited, "bans", "lift", "--key", "192.0.2.1", "--yes", "--json"))

    assert [(each["client"], each["remaining"], each["available_in"]) for each in lifted] == [("192.0.2.1", 1, 0)]
    assert [ask(limited, "/banned", address=f"192.0.2.{number}") for number in (1, 2)] == [200, 429]


def test_a_ban_that_was_lifted_is_not_shown_as_if_it_were_to_end(limited: Flask) -> None:
    banned(limited, "192.0.2.1")

    title, row = guard_command(limited, "bans", "lift", "--key", "192.0.2.1", "--yes").stdout.splitlines()

    assert title.split() == ["CLIENT", "SCOPE", "LASTING"]
    assert row.split() == ["192.0.2.1", "ban:view:banned", "1h"]


def test_who_was_let_in_again_is_not_banned_at_the_first_refusal(limited: Flask) -> None:
    banned(limited, "192.0.2.1")

    guard_command(limited, "bans", "lift", "--key", "192.0.2.1", "--yes")

    assert [ask(limited, "/banned?bad"), ask(limited, "/banned")] == [403, 200]


def test_lift_clears_no_limits(limited: Flask) -> None:
    banned(limited, "192.0.2.1")
    ask(limited, "/search", times=8)

    guard_command(limited, "bans", "lift", "--key", "192.0.2.1", "--yes")

    assert ask(limited, "/search") == 429


def test_lift_can_be_limited_to_a_scope(limited: Flask) -> None:
    banned(limited, "192.0.2.1")

    assert_refused(guard_command(limited, "bans", "lift", "--key", "192.0.2.1", "--scope", "lost", "--yes"), 3)
    assert ask(limited, "/banned") == 429
    assert (
        guard_command(limited, "bans", "lift", "--key", "192.0.2.1", "--scope", "ban:view:banned", "--yes").exit_code
        == 0
    )
    assert ask(limited, "/banned") == 200


def test_reset_leaves_bans_in_force_and_says_so(limited: Flask) -> None:
    banned(limited, "192.0.2.1")
    ask(limited, "/search")

    result = guard_command(limited, "limits", "reset", "--key", "192.0.2.1", "--yes")

    assert (result.exit_code, "still banned" in result.stderr) == (0, True)
    assert "banned for" not in result.stdout
    assert ask(limited, "/banned") == 429
    assert_refused(guard_command(limited, "limits", "reset", "--key", "192.0.2.1", "--yes"), 3, "bans lift")


def test_reset_lifts_bans_if_told_to(limited: Flask) -> None:
    banned(limited, "192.0.2.1")
    ask(limited, "/search", times=8)

    result = guard_command(limited, "limits", "reset", "--key", "192.0.2.1", "--bans", "--yes")

    assert "banned for 1h" in result.stdout
    assert [ask(limited, path) for path in ("/banned?bad", "/banned", "/search")] == [403, 200, 200]
