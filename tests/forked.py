"""Programs in processes of their own, which start fast: forks of a process that has imported Flask and the package.

Such a process has run nothing of an app. What a program says, reads and logs, and how it ends, is its own.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
IMPORTED = (
    "flask.cli",
    "flask_guard.cli",
    "flask_guard.guard",
    "flask_guard.keys.sql_engine",
    "flask_guard.keys.sql_table",
    "flask_guard.rate_limits.fields",
    "flask_guard.rate_limits.settings",
    "flask_guard.rate_limits.storage.sqlite",
    "sqlalchemy.dialects.sqlite",
)
"""Modules that take long to import."""


@dataclass(frozen=True)
class Ended:
    """A program that has ended."""

    returncode: int
    stdout: str
    stderr: str


class Forks:
    """Starts programs as forks of one process."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "error", "-m", "tests.forked"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def start(
        self,
        program: Sequence[str],
        folder: Path,
        streams: Mapping[int, str],
        environ: Mapping[str, str] | None = None,
    ) -> int:
        """Run a program to its end, with files as its streams. Return its exit status.

        :param program: ``-c`` and a source, or ``-m``, the name of a module and its arguments.
        """
        job = {"program": [*program], "folder": str(folder), "streams": streams, "environ": {**(environ or os.environ)}}
        with self._lock:
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def run(
        self, program: Sequence[str], folder: Path, input: str = "", environ: Mapping[str, str] | None = None
    ) -> Ended:
        """Run a program to its end, with pipes as its streams."""
        with tempfile.TemporaryDirectory() as made:
            files = [Path(made) / name for name in ("stdin", "stdout", "stderr")]
            for file, text in zip(files, (input, "", ""), strict=True):
                file.write_text(text, encoding="utf-8")
            status = self.start(program, folder, dict(enumerate(map(str, files))), environ)
            return Ended(status, files[1].read_text(encoding="utf-8"), files[2].read_text(encoding="utf-8"))


def serve() -> dict[str, Any]:
    """Import what programs need, fork for each job, and say how it has ended. Return the job in the fork."""
    for name in IMPORTED:
        importlib.import_module(name)
    for command in entry_points(group="flask.commands"):  # which every `flask` loads
        command.load()
    gc.freeze()  # else each fork copies all memory to look for garbage in it
    while line := read_line(0):
        job: dict[str, Any] = json.loads(line)
        child = os.fork()
        if child == 0:
            return job
        _, status = os.waitpid(child, 0)
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def read_line(descriptor: int) -> bytes:
    """Return a line, and read no further: the rest is for others."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(descriptor, 1)):
        line += byte
    return line


def become(job: dict[str, Any]) -> None:
    """Run the program of a job in this process, as a new one would."""
    os.setsid()
    for number, path in job["streams"].items():
        opened = os.open(path, os.O_RDWR | os.O_NOCTTY)
        os.dup2(opened, int(number))
        os.close(opened)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(job["environ"])
    os.chdir(job["folder"])
    how, program, *arguments = job["program"]
    sys.path[0] = job["folder"]
    if how == "-c":
        sys.argv = ["-c"]
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
    else:
        sys.argv = [program, *arguments]
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    become(serve())
