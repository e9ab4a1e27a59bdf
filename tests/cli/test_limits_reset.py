"""``flask guard limits reset``: a client has its whole budgets again, and nobody else has."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_guard import Guard, limit
from tests.ids import shown

from ..conftest import MakeApp
from .conftest import CI, SHOP, ask, assert_refused, guard_command, held, limited_app, listed

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("path", "request_", "client", "most"),
    [
        ("/address", {}, "192.0.2.1", 5),
        ("/address", {"address": "2001:db8::1"}, "2001:db8::2", 5),
        ("/key", CI, "ci", 3),
        ("/tuple", CI, "ci", 4),
        ("/tenant?tenant=a/b", {}, "a/b", 6),
        ("/dynamic", {}, "192.0.2.1", 7),
        ("/search", {}, "192.0.2.1", 8),
        ("/person", {"auth": ("ada", "x")}, "ada", 9),
    ],
    ids=shown,
)
def test_reset_gives_a_client_its_whole_budget_again(
    limited: Flask, path: str, request_: dict[str, Any], client: str, most: int
) -> None:
    assert ask(limited, path, times=most + 1, **request_) == 429

    cleared = listed(guard_command(limited, "limits", "reset", "--key", client, "--yes", "--json"))

    assert {each["remaining"] for each in cleared} >= {0}
    assert [ask(limited, path, times=each, **request_) for each in (most, 1)] == [200, 429]


def test_a_budget_that_was_cleared_is_not_shown_as_if_it_were_used(limited: Flask) -> None:
    ask(limited, "/search", times=8)

    title, row = guard_command(limited, "limits", "reset", "--key", "192.0.2.1", "--yes").stdout.splitlines()

    assert title.split() == ["CLIENT", "SCOPE", "RATE"]
    assert row.split() == ["192.0.2.1", "shared:search", "8", "per", "1", "hour"]


def test_reset_leaves_other_clients_alone(limited: Flask) -> None:
    ask(limited, "/key", times=3, **CI)
    ask(limited, "/key", times=3, **SHOP)

    result = guard_command(limited, "limits", "reset", "--key", "ci", "--yes")

    assert (result.exit_code, "3 per 1 hour" in result.stdout, "shop" in result.stdout) == (0, True, False)
    assert [ask(limited, "/key", **each) for each in (CI, SHOP)] == [200, 429]


@pytest.mark.parametrize("scope", [["view:address"], ["address"], ["address", "lost"]], ids=shown)
def test_reset_can_be_limited_to_scopes(limited: Flask, scope: list[str]) -> None:
    ask(limited, "/address")
    ask(limited, "/search")
    options = [word for each in scope for word in ("--scope", each)]

    cleared = listed(guard_command(limited, "limits", "reset", "--key", "192.0.2.1", "--yes", "--json", *options))

    assert [each["scope"] for each in cleared] == ["view:address"] * 2
    assert [scope for scope, _, _ in held(limited, "192.0.2.1")] == ["shared:search"]


def test_a_scope_that_has_nothing_clears_nothing(limited: Flask) -> None:
    ask(limited, "/search")

    assert_refused(guard_command(limited, "limits", "reset", "--key", "192.0.2.1", "--yes", "--scope", "sea"), 3)
    assert held(limited, "192.0.2.1") != []


def test_status_can_be_limited_to_scopes(limited: Flask) -> None:
    ask(limited, "/address")
    ask(limited, "/search")

    assert [scope for scope, _, _ in held(limited, "192.0.2.1", "--scope", "search")] == ["shared:search"]


def test_reset_frees_places_that_a_worker_took_with_it(limited: Flask) -> None:
    lost = [limited.test_client().get("/places?endless", environ_overrides={"REMOTE_ADDR": "192.0.2.1"}) for _ in "ab"]
    full = ask(limited, "/places")

    guard_command(limited, "limits", "reset", "--key", "192.0.2.1", "--yes")

    assert (full, ask(limited, "/places")) == (429, 200)
    for response in lost:
        response.close()


@pytest.mark.parametrize("algorithm", ["fixed-window", "moving-window", "sliding-window-counter", "token-bucket"])
def test_reset_knows_every_algorithm(make_app: MakeApp, storage_uri: str, algorithm: Any) -> None:
    app = make_app(RATELIMIT_STORAGE_URI=storage_uri)
    Guard(app)
    app.add_url_rule("/", "view", limit("2/hour", algorithm=algorithm)(lambda: ""))
    ask(app, "/", times=3)

    cleared = listed(guard_command(app, "limits", "reset", "--key", "192.0.2.1", "--yes", "--json"))

    assert [(each["algorithm"], each["remaining"]) for each in cleared] == [(algorithm, 0)]
    assert ask(app, "/", times=2) == 200


def test_failed_keys_can_be_forgotten(make_app: MakeApp, storage_uri: str) -> None:
    app = limited_app(make_app(RATELIMIT_STORAGE_URI=storage_uri))
    wrong: dict[str, Any] = {"headers": {"X-API-Key": "wrong"}}
    assert ask(app, "/key", times=21, **wrong) == 429

    guard_command(app, "limits", "reset", "--key", "192.0.2.1", "--scope", "failures:api-key", "--yes")

    assert ask(app, "/key", **wrong) == 401
