"""Packages of an extra, which are imported only where they are used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..errors import ConfigError


@contextlib.contextmanager
def extra(name: str, package: str, needed_by: str) -> Iterator[None]:
    """Turn a failed import in the ``with`` block into a message with the command that installs the package.

    :param name: the extra, such as ``sql``.
    :param package: the package that the extra installs.
    :param needed_by: the object that needs the package.
    :raises ConfigError: if the package is not installed.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("flask_guard"):
            raise
        install = f"pip install 'flask-guard-kit[{name}]'"
        raise ConfigError(f"{needed_by} needs {package}. Install it with: {install}") from None
