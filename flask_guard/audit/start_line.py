"""The line that the development server prints in debug mode: the numbers of endpoints and findings."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import click
from flask import Flask

from ..core.facts import SEVERITIES
from ..support.text import counted
from .findings import examine
from .inventory import take_inventory
from .routes import is_unguarded_write

log: logging.Logger = logging.getLogger("flask_guard")


def start_line(app: Flask) -> str:
    return f"flask_guard: {', '.join(_parts(app))}. To see more: flask guard audit, flask guard routes"


def _parts(app: Flask) -> Iterator[str]:
    inventory = take_inventory(app)
    yield counted(len(inventory.entries), "endpoint")
    yield counted(sum(is_unguarded_write(entry, inventory) for entry in inventory.entries), "unguarded write")
    found = [finding.rule.severity for finding in examine(inventory).findings]
    yield from (counted(found.count(severity), severity) for severity in SEVERITIES if severity in found)


def print_start_line(app: Flask) -> None:
    """Print the line on standard error, from a thread: the audit of a large app takes seconds."""

    def run() -> None:
        try:
            click.echo(start_line(app), err=True)
        except Exception:
            log.exception("the app could not be audited")

    threading.Thread(target=run, name="flask_guard-start-line", daemon=True).start()
