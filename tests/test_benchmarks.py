"""The benchmarks run. What they measure is for people to read: no test depends on the time that anything takes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import pytest

from tests.benchmarks import async_views, caching, limits, logging, overhead, request_rules, wsgi

Run = Callable[..., list[str]]

pytestmark = pytest.mark.slow


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a benchmark for a moment, and returns the lines that it prints."""

    def run(name: str, *options: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, *(options or ("--rounds", "1", "--requests", "2"))])
        importlib.import_module(f"tests.benchmarks.{name}").main()
        return capsys.readouterr().out.splitlines()

    return run


def test_overhead_prints_a_line_for_each_variant(run: Run) -> None:
    lines = run("overhead")

    assert [line[:18].strip() for line in lines[1:]] == ["bare", "empty plan", *overhead.POLICIES, "all five"]


def test_limits_prints_a_ratio_for_each_comparison(run: Run) -> None:
    lines = run("limits")

    assert [line[:50].strip() for line in lines[-len(limits.COMPARISONS) :]] == [
        f"{each.ours} / {each.theirs}" for each in limits.COMPARISONS
    ]


def test_logging_prints_a_line_for_each_variant(run: Run) -> None:
    lines = run("logging")

    assert [line[:22].strip() for line in lines[1:]] == ["empty plan", *logging.ROWS]


def test_wsgi_prints_a_line_for_each_stack(run: Run) -> None:
    lines = run("wsgi")

    assert [line[:26].rstrip() for line in lines[1:]] == [*dict.fromkeys(variant.name for variant in wsgi.variants())]
    assert "Timing + Headers" in {line[:26].rstrip() for line in lines}


def test_metrics_prints_a_line_for_each_variant(run: Run) -> None:
    lines = run("metrics")

    assert [line[:14].strip() for line in lines[1:]] == ["bare", "empty plan", "metrics", "exporter"]


def test_caching_prints_a_line_for_each_policy(run: Run) -> None:
    lines = run("caching")

    assert [line[:26].strip() for line in lines[1:]] == ["empty plan", *caching.ROWS]


def test_request_rules_prints_a_line_for_each_rule(run: Run) -> None:
    lines = run("request_rules")

    assert [line[:18].strip() for line in lines[1:]] == ["empty plan", *request_rules.ROWS]


def test_async_views_prints_a_line_for_each_variant_under_each_server(run: Run) -> None:
    lines = run("async_views", "--rounds", "1", "--seconds", "0.1", "--clients", "1")

    names = [line[:18].strip() for line in lines]
    assert [name for name in names if name in async_views.VARIANTS] == [*async_views.VARIANTS] * len(
        async_views.SERVERS
    )
    assert [line.partition(":")[0] for line in lines if line.endswith("wait")] == [*async_views.SERVERS]
