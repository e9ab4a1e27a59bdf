"""``flask guard`` as a program: with pipes, or on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

from ..conftest import stop


def guard_of(app: str, folder: Path) -> list[str]:
    """Return the command line of ``flask guard`` for the app of which `app` is the source."""
    (folder / "shop.py").write_text(app)
    return [sys.executable, "-W", "error", "-m", "flask", "--app", str(folder / "shop.py"), "guard"]


def run(command: list[str], folder: Path, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments], input=input, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def on_terminal(command: list[str], folder: Path, *arguments: str, wait: str, type: str) -> tuple[int, str, str]:
    """Run a command on a terminal, type once it shows `wait`; return its exit code, output and what was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*command, *arguments], cwd=folder, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, start_new_session=True
    )
    os.close(theirs)
    try:
        shown = read_until(ours, wait.encode())
        os.write(ours, f"{type}\n".encode())
        output, _ = process.communicate(timeout=30)
        shown += read_until(ours, None)
    finally:
        os.close(ours)
        stop(process)
    return process.returncode, output.decode(), shown.decode()


def read_until(terminal: int, wanted: bytes | None) -> bytes:
    """Return what `terminal` shows until that has `wanted`, or until nobody has it open any more."""
    shown = b""
    while wanted is None or wanted not in shown:
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, f"the terminal shows only {shown!r}"
        try:
            more = os.read(terminal, 1024)
        except OSError:  # how Linux says that nobody has it open
            more = b""
        if not more:
            return shown
        shown += more
    return shown
