"""The benchmarks run. What they measure is for people to read: no test depends on the time that anything takes."""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks import limits, overhead


def test_overhead_prints_a_line_for_each_variant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["overhead", "--rounds", "1", "--requests", "2"])

    overhead.main()

    lines = capsys.readouterr().out.splitlines()
    assert [line[:18].strip() for line in lines[1:]] == ["bare", "empty plan", *overhead.POLICIES, "all five"]


def test_limits_prints_a_ratio_for_each_comparison(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["limits", "--rounds", "1", "--requests", "2"])

    limits.main()

    lines = capsys.readouterr().out.splitlines()
    assert [line[:50].strip() for line in lines[-len(limits.COMPARISONS) :]] == [
        f"{each.ours} / {each.theirs}" for each in limits.COMPARISONS
    ]
