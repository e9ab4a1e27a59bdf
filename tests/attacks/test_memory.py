"""Hundreds of clients that each come once: what is kept of them has a bound, whatever they are refused for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .memory import ATTACKS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("memory of attacks")]


@pytest.fixture(scope="module")
def kept() -> dict[str, float]:
    """Return the memory blocks that are kept of a client, for each attack, in a process without other tests."""
    run = subprocess.run([sys.executable, "-m", "tests.attacks.memory"], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(run.stdout)
    return found


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_kept_of_clients_that_never_come_again_has_a_bound(kept: dict[str, float], attack: str) -> None:
    assert kept[attack] < 0.75  # each of them would take several
