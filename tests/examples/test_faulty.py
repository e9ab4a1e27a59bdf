"""The app with seven deliberate faults: the audit finds each of them, and nothing else."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from examples.faulty import shop
from flask_guard.audit.findings import examine
from flask_guard.audit.inventory import take_inventory


def test_audit_finds_the_seven_faults_and_nothing_else() -> None:
    source = Path(shop.__file__).read_text(encoding="utf-8").splitlines()
    marked = [number for number, line in enumerate(source, 1) if re.search(r"# fault \d", line)]

    found = examine(take_inventory(shop.app)).findings

    assert len(found) == len(marked) == 7
    lines = [int(each.site.rpartition(":")[2]) for each in found if each.site]
    lines_below = 2 if sys.version_info < (3, 11) else 0  # the line of 'def' is known there, and not the decorator's
    assert all(any(0 <= line - number <= lines_below for number in marked) for line in lines)
