"""The explanation of a request as text, for the messages of failed assertions."""

from __future__ import annotations

from flask import Flask

from ..audit.explain import explain
from ..audit.rehearsal import Asked
from ..cli.explain import lines_of
from ..errors import ConfigError


def explained(app: Flask, asked: Asked) -> str:
    """Return the text of ``flask guard explain`` for a request, without running the view."""
    try:
        document = explain(app, asked, run_view="never")
    except ConfigError as error:
        return f"{app.name!r} serves nothing: {error}"
    return "\n".join("".join(chunk.text for chunk in line).rstrip() for line in lines_of(document, full=False))
