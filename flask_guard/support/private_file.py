"""Database files that only the user of this process may read and write."""

from __future__ import annotations

import contextlib
import os
import stat

BESIDE = ("", "-wal", "-shm", "-journal")
"""The endings of the files that SQLite keeps beside a database."""


class UnsafeFile(OSError):
    """Another user can read the file, or may have written it."""


def claim(path: str) -> None:
    """Make an empty file if there is none, which only its owner may read and write.

    :raises UnsafeFile: for a symbolic link at `path`, and for a file of another user than root.
    :raises OSError: if the file cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    refuse_unsafe(path)


def refuse_unsafe(path: str) -> None:
    """Let only its owner read and write an existing file.

    The file is not opened: closing the file would end SQLite's locks on it in this process.

    :raises UnsafeFile: for a symbolic link at `path`, and for a file of another user than root.
    """
    for ending in BESIDE:
        with contextlib.suppress(FileNotFoundError):
            _check(path + ending)


def _check(path: str) -> None:
    found = os.lstat(path)  # not through a link
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFile(f"{path!r} is a symbolic link: name the file itself, or remove the link")
    if not hasattr(os, "geteuid"):  # Windows
        return
    user = os.geteuid()
    if found.st_uid not in (user, 0):
        raise UnsafeFile(
            f"{path!r} belongs to the user with the id {found.st_uid}, and this process runs as {user}: change the user"
            " of the process, or remove the file"
        )
    if found.st_uid == user and stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(path, 0o600)  # noqa: PTH101
