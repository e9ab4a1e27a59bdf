"""The benchmarks serve what they say, and their gates fail. No test depends on the time that anything takes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from flask import Flask

from tests.benchmarks import async_views, counting, instructions, overhead, report, served, soak, suite
from tests.benchmarks.__main__ import main
from tests.benchmarks.instructions import Cost, Entry
from tests.benchmarks.measuring import Figures, figures
from tests.benchmarks.overhead import Variant, environ, guarded, make_app

HERE = "Python 3.11, Flask 3.1.3, Werkzeug 3.1.9"
BEFORE = Entry("this build", 400_000, {"limit": Cost(0.3, 120_000, 0.4)})
WRK = """\
    Latency   416.90ms  404.70ms   1.24s    83.65%
     50%  250.00us
     99%    1.20s{}
  1027 requests in 2.04s, 162.47KB read
  Socket errors: connect 0, read 1, write 0, timeout 2
  Non-2xx or 3xx responses: 4
Requests/sec:    502.78
"""


@pytest.fixture(autouse=True)
def _listening() -> None:
    overhead.listen()


# What is measured ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("group", suite.GROUPS)
def test_variants_serve_what_their_peers_serve(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "ENDPOINTS", (10, 20))
    variants = suite.GROUPS[group](suite.Place("memory://", tmp_path))

    suite.check(variants)

    names = [each.name for each in variants]
    assert len(names) == len({*names})
    assert {name for each in variants for name in (each.over, each.peer) if name} <= {*names}
    assert figures(variants, {name: [number] for number, name in enumerate(names, 1)})  # each goal names a variant


def test_a_variant_that_sends_another_value_than_its_peer_is_an_error() -> None:
    fields = environ()
    variants = [
        Variant("ours", guarded(), fields, peer="theirs", same=("X-Request-ID",)),
        Variant("theirs", make_app(), fields),
    ]

    with pytest.raises(RuntimeError, match="'ours' sends X-Request-ID"):
        suite.check(variants)


def test_a_variant_with_another_status_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="'missing' was answered with 404 NOT FOUND, not 200"):
        Variant("missing", Flask("empty"), environ()).request()


def test_figures_are_of_the_least_disturbed_round() -> None:
    variants = [
        Variant("bare", make_app(), {}),
        Variant("ours", make_app(), {}, peer="theirs", goals={"peer": 0.25, "bare": 0.4, "theirs": 0.75, "adds": 4}),
        Variant("theirs", make_app(), {}),
    ]

    _, ours, theirs = figures(variants, {"bare": [12, 10, 99], "ours": [15, 16, 17], "theirs": [30, 31, 32]})

    assert (ours.least, ours.median, ours.adds, ours.of_bare, ours.of_peer) == (15, 16, 5, 0.5, 0.25)
    assert (theirs.adds, theirs.of_peer) == (20, None)
    assert [goal.is_met for goal in ours.goals] == [True, False, True, False]


@pytest.mark.parametrize(("now", "changed"), [(0.52, []), (0.6, ["group, ours: 0.50 of bare, now 0.60"])])
def test_two_runs_are_compared_by_their_ratios(now: float, changed: Sequence[str], tmp_path: Path) -> None:
    ours = Figures("ours", "µs", 15, 15, 0, 5, 0.5, "", None, [])
    report.save(tmp_path / "run.json", {"group": [ours]})

    later = dataclasses.replace(ours, least=999, of_bare=now)

    assert [*report.changes(report.load(tmp_path / "run.json"), {"group": [later]})] == changed


@pytest.mark.slow
def test_a_run_prints_a_table_and_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.json"
    options = ["--only", "compression", "--rounds", "1", "--requests", "1"]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options, "--json", str(file)])

    main()

    lines = capsys.readouterr().out.splitlines()
    names = ["bare", "compress, not accepted", "compress, too small", "compress, gzip"]
    assert [line[:28].rstrip() for line in lines[1:]] == ["compression", *names]
    assert [*report.load(file)["compression"]] == names


@pytest.mark.slow
def test_async_views_prints_a_line_for_each_variant_under_each_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(async_views, "VARIANTS", dict([*async_views.VARIANTS.items()][-2:]))  # a server each
    monkeypatch.setattr(sys, "argv", ["async_views", "--rounds", "1", "--seconds", "0.1", "--clients", "1"])

    async_views.main()

    lines = capsys.readouterr().out.splitlines()
    names = [line[:18].strip() for line in lines]
    assert [name for name in names if name in async_views.VARIANTS] == [*async_views.VARIANTS] * len(
        async_views.SERVERS
    )
    assert [line.partition(":")[0] for line in lines if line.endswith("wait")] == [*async_views.SERVERS]


# The instruction gate --------------------------------------------------------------------------------------------


def costing(share: float | None, bytecodes: float, build: str = "this build") -> Entry:
    """Return the figures of the one variant."""
    return Entry(build, None if share is None else 400_000, {"limit": Cost(share, 120_000, bytecodes)})


@pytest.mark.parametrize(
    "now",
    [
        costing(0.3, 0.4),
        costing(0.308, 0.411),
        costing(0.2, 0.3),
        costing(0.5, 0.4, build="another build"),
        costing(None, 0.4),
    ],
    ids=["the same", "within 3 %", "cheaper", "another build", "without valgrind"],
)
def test_costs_within_three_percent_pass(now: Entry) -> None:
    assert instructions.check(HERE, now, {HERE: BEFORE}, in_ci=True) == 0


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (costing(0.31, 0.4), "limit: instructions a request were 30.00% over a bare one's and are 31.00%: +3.3%"),
        (costing(0.3, 0.413), "limit: bytecodes a request were 40.00% over a bare one's and are 41.30%: +3.2%"),
        (costing(0.3, 0.5, "another build"), "limit: bytecodes a request were 40.00% over a bare one's and are 50.00%"),
        (costing(None, 0.5), "limit: bytecodes a request were 40.00% over a bare one's and are 50.00%"),
        (Entry("this build", 400_000, {}), "limit: the variant is gone"),
        (
            Entry("this build", 400_000, {**BEFORE.costs, "new": Cost(0.1, 40_000, 0.1)}),
            "new: no figure to compare with",
        ),
    ],
    ids=["instructions", "bytecodes", "another build", "without valgrind", "gone", "new"],
)
def test_higher_costs_fail_and_say_how_to_renew_the_figures(
    now: Entry, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert instructions.check(HERE, now, {HERE: BEFORE}, in_ci=False) == 1
    printed = capsys.readouterr().out
    assert line in printed
    assert printed.endswith("python -m tests.benchmarks.instructions --renew\n")


def test_instructions_of_a_cheap_variant_may_differ_by_noise() -> None:
    before = {HERE: Entry("this build", 400_000, {"limit": Cost(0.1, 40_000, 0.4)})}

    assert instructions.check(HERE, costing(0.104, 0.4), before, in_ci=True) == 0
    assert instructions.check(HERE, costing(0.106, 0.4), before, in_ci=True) == 1


def test_unknown_versions_of_flask_are_compared_with_known_ones() -> None:
    there = HERE.replace("Flask 3.1.3", "Flask 3.9.0")

    assert instructions.check(there, costing(0.9, 0.4), {HERE: BEFORE}, in_ci=True) == 0
    assert instructions.check(there, costing(0.3, 0.5), {HERE: BEFORE}, in_ci=True) == 1


def test_an_unknown_version_of_python_fails_in_ci_only(capsys: pytest.CaptureFixture[str]) -> None:
    there = HERE.replace("3.11", "3.15")

    assert instructions.check(there, BEFORE, {HERE: BEFORE}, in_ci=False) == 0
    assert instructions.check(there, BEFORE, {HERE: BEFORE}, in_ci=True) == 1
    assert "has no figures for Python 3.15. To add them: python -m" in capsys.readouterr().out


def test_figures_are_kept_in_a_file(tmp_path: Path) -> None:
    instructions.save({HERE: BEFORE}, tmp_path / "figures.json")

    assert instructions.load(tmp_path / "figures.json") == {HERE: BEFORE}


def test_the_file_has_each_variant_that_is_counted() -> None:
    names = [variant.name for variant in counting.variants() if not variant.name.startswith("bare")]

    for entry in instructions.load().values():
        assert [*entry.costs] == names


def test_bytecodes_are_the_same_each_time() -> None:
    bare, empty = overhead.variants()[:2]
    for variant in (bare, empty):
        counting.bytecodes(variant)

    assert counting.bytecodes(bare) == counting.bytecodes(bare) < counting.bytecodes(empty)


# Under load ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["", " "])
def test_the_output_of_wrk_is_understood(padding: str) -> None:
    assert served.parsed(WRK.format(padding)) == served.Load(502.78, 0.25, 1200, 7)


@pytest.mark.parametrize(
    ("last", "lines"),
    [
        (soak.Held(104, 100, 15_000), []),
        (soak.Held(106, 100, 15_000), ["memory: 106, of 105 allowed"]),
        (soak.Held(100, 201, 15_000), ["files: 201, of 200 allowed"]),
        (soak.Held(100, 100, 15_001), ["keys: 15001, of 15000 allowed"]),
    ],
    ids=["within", "memory", "files", "keys"],
)
def test_a_soak_fails_beyond_its_bounds(last: soak.Held, lines: list[str]) -> None:
    settled = soak.Held(100, 90, 9_000)

    assert soak.exceeded([*[soak.Held(50, 10, 0)] * 2, *[settled] * 17, last]) == lines
