"""Request ids: taken from the client only if well-formed, made otherwise."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

LONGEST_ID = 128
_ID_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
_HEX = "0123456789abcdef"


class RequestIds:
    """Gives each request its id."""

    def __init__(self) -> None:
        self._random = random.Random()  # noqa: S311  # an id has to be unique, not secret

    def of(self, environ: Mapping[str, Any]) -> str:
        """Return the id of the request with `environ`.

        It is ``X-Request-ID`` if that is 1 to 128 letters, digits, dashes, underscores or dots; else the trace id of a
        well-formed ``traceparent`` (W3C Trace Context); else 32 random hexadecimal digits.
        """
        given = environ.get("HTTP_X_REQUEST_ID")
        if given and len(given) <= LONGEST_ID and not given.strip(_ID_CHARACTERS):
            return str(given)
        parent = environ.get("HTTP_TRACEPARENT")
        return (trace_id(parent) if parent else None) or self.new()

    def new(self) -> str:
        """Return a new id.

        Two sources are mixed: this object's is copied when a worker forks, while the module's is seeded afresh then;
        the module's is the same in every worker of an app that seeds it, while this object's is not.
        """
        return f"{self._random.getrandbits(128) ^ random.getrandbits(128):032x}"


def trace_id(traceparent: str) -> str | None:
    """Return the trace id in `traceparent`, or None if that is malformed (W3C Trace Context, section 3.2)."""
    if len(traceparent) != 55:
        return None
    version, _, rest = traceparent.partition("-")
    trace, _, rest = rest.partition("-")
    parent, _, flags = rest.partition("-")
    lengths = (len(version), len(trace), len(parent), len(flags))
    if lengths != (2, 32, 16, 2) or (version + trace + parent + flags).strip(_HEX):
        return None
    return trace if version == "00" and trace.strip("0") and parent.strip("0") else None
