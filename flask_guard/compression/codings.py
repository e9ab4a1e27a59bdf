"""The choice of a content coding for a client (RFC 9110, section 12.5.3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

LONGEST = 256
"""The longest ``Accept-Encoding``, in characters. After a longer one nothing is compressed."""
MOST_REMEMBERED = 128


def chooser(offered: tuple[str, ...]) -> Callable[[str], str | None]:
    """Return a function that takes an ``Accept-Encoding`` and returns the coding to use, or None for none.

    The client's weights decide, then the order of `offered`. A client may prefer the uncompressed body.
    """

    @lru_cache(MOST_REMEMBERED)
    def choose(accepted: str) -> str | None:
        weights = _weights(accepted)
        others = weights.get("*", 0.0)
        coding = max(offered, key=lambda each: weights.get(each, others), default="identity")
        weight = weights.get(coding, others)
        return coding if weight > 0 and weight >= weights.get("identity", 0.0) else None

    return lambda accepted: choose(accepted) if accepted and len(accepted) <= LONGEST else None


def _weights(accepted: str) -> dict[str, float]:
    """Return the weights of codings. A malformed weight counts as 0."""
    found = {}
    for item in accepted.lower().split(","):
        coding, _, parameters = item.partition(";")
        name, _, value = parameters.partition("=")
        found[coding.strip()] = _weight(value.strip()) if name.strip() == "q" else 1.0 if not parameters else 0.0
    return found


def _weight(value: str) -> float:
    if not value or len(value) > 5 or value[0] not in "01" or not value.replace(".", "", 1).isdecimal():
        return 0.0
    weight = float(value)
    return weight if weight <= 1 else 0.0
