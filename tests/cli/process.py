"""``flask guard`` as a program: with pipes, or on a terminal."""

from __future__ import annotations

import os
import pty
import select
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..forked import Ended, Forks


class Command:
    """A command of ``flask guard``, for the app of which `app` is the source.

    :param names: those that each line begins with.
    """

    def __init__(self, forks: Forks, app: str, folder: Path, *names: str) -> None:
        (folder / "shop.py").write_text(app)
        self._forks = forks
        self._folder = folder
        self._program = ["-m", "flask", "--app", str(folder / "shop.py"), "guard", *names]

    def run(self, *arguments: str, input: str = "") -> Ended:
        """Run it with pipes."""
        return self._forks.run([*self._program, *arguments], self._folder, input)

    def on_terminal(self, *arguments: str, wait: str, type: str) -> tuple[int, str, str]:
        """Run it on a terminal, type once this shows `wait`; return its exit code, its output and what was shown."""
        ours, theirs = pty.openpty()
        output = self._folder / "output"
        output.touch()
        streams = {0: os.ttyname(theirs), 1: str(output), 2: os.ttyname(theirs)}
        with ThreadPoolExecutor(1) as pool:
            try:
                ended = pool.submit(self._forks.start, [*self._program, *arguments], self._folder, streams)
                shown = read_until(ours, wait.encode())
                os.write(ours, f"{type}\n".encode())
                code = ended.result(30)
                os.close(theirs)
                shown += read_until(ours, None)
            finally:
                os.close(ours)
        return code, output.read_text(), shown.decode()


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
