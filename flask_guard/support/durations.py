"""Durations as people write them: ``90``, ``24h``, ``1d12h``."""

from __future__ import annotations

import re
from datetime import timedelta

from ..errors import ConfigError

_SPAN = re.compile(
    r"(?:(?P<weeks>\d{1,9})w)?(?:(?P<days>\d{1,9})d)?(?:(?P<hours>\d{1,9})h)?"
    r"(?:(?P<minutes>\d{1,9})m)?(?:(?P<seconds>\d{1,9})s)?",
    re.ASCII,
)
LONGEST = 10**9
"""Seconds: some thirty years."""
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


def parse_span(text: str) -> timedelta:
    """Return the duration in `text`: seconds, or weeks, days, hours, minutes and seconds such as ``1d12h``.

    :raises ConfigError: if `text` is not a duration.
    """
    span = timedelta(seconds=float(text)) if _SECONDS.fullmatch(text) else units(text)
    if span is None:
        raise ConfigError(f"{text!r} is not a duration; write one such as 24h, 1d12h or 90 (seconds)")
    return span


def units(text: str) -> timedelta | None:
    """Return the duration in `text`, written with units; None for any other text."""
    match = _SPAN.fullmatch(text) if text else None
    if match is None:
        return None
    try:
        return timedelta(**{unit: int(number) for unit, number in match.groupdict("0").items()})
    except OverflowError:
        raise ConfigError(f"{text!r} is too long a duration; write a shorter one") from None


def seconds_of(span: object, what: str) -> int:
    """Return a duration as whole seconds.

    :param span: seconds, a timedelta, or text as for :func:`parse_span`.
    :raises ConfigError: for any other value, and for less than a second.
    """
    if isinstance(span, str):
        try:
            span = parse_span(span)
        except ConfigError as error:
            raise ConfigError(f"{what}: {error}") from None
    seconds = int(span.total_seconds()) if isinstance(span, timedelta) else span
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= LONGEST:
        raise ConfigError(f"{what} must be at least one second, as seconds, a timedelta or a duration such as '1h'")
    return seconds
