"""What the README says, taken apart for the tests."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass
class CurlCall:
    """One ``curl`` line of the README, and the status that its comment promises."""

    url: str
    status: int
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def blocks(language: str) -> list[str]:
    """Return the code blocks in `language`."""
    return [code for found, code in _BLOCK.findall(README) if found == language]


def curl_calls() -> list[CurlCall]:
    """Return the curl commands that the quickstart section tells its reader to try."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("curl ")]
    return [_parse(line) for line in lines]


def _parse(line: str) -> CurlCall:
    command, _, promise = line.partition("  # ")
    words = iter(shlex.split(command)[1:])
    call = CurlCall("", int(promise.split(":")[0]))
    for word in words:
        if word == "-X":
            call.method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            call.headers[name] = value
        elif word == "--json":
            call.method, call.body = "POST", next(words).encode()
            call.headers["Content-Type"] = "application/json"
        elif word != "-i":
            call.url = word
    return call
