"""What the whole test run logs, searched for the secrets that the tests use."""

from __future__ import annotations

import logging
import re

from flask_guard.keys import KeyFormat

_KINDS = (
    KeyFormat().pattern,
    r"a long random secret|a secret key for tests|demo-(?:reader|writer)-key|correct horse",
    r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}",  # a JWT
    r"(?<![\w-])(?i:authorization|cookie)\s*[:=]\s*(?!(?:Bearer (?:KEY|TOKEN)|Basic …)')\S",  # but not what to send
)
SECRETS = re.compile("|".join(_KINDS))
"""Keys and passwords of the tests and the examples, what keys and tokens look like, and headers that carry them."""


class SecretFinder(logging.Handler):
    """Keeps the lines, tracebacks and fields of log records in which there is a secret.

    :ivar seen: how many records there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record: what a formatter would make of it, and every field of it."""
        self.seen += 1
        fields = {name: value for name, value in vars(record).items() if name not in ("msg", "args", "exc_info")}
        text = f"{self.format(record)}\n{fields!r}"
        if SECRETS.search(text):
            self.found.append(text)
