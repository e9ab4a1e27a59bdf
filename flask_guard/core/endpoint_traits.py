"""The sort of an endpoint, as far as its path and its code tell: for audits, which run neither."""

from __future__ import annotations

import re

from flask import Flask

from .facts import EVERY_METHOD, Entry
from .url_patterns import VARIABLE
from .view_code import functions_in, mentions

_LOGS_IN = re.compile(
    r"login|signin|logon|signup|\b(log-in|sign-in|log-on|sign-up|2fa|mfa)\b"
    r"|forgot|reset-?(your-?)?password|password-?(reset|recovery)"
)
"""In any segment of a path, with underscores as hyphens: of whole words, as ``catalog-index`` is no log-in."""
_IS_LOG_IN = frozenset(
    (
        "auth",
        "authenticate",
        "authorize",
        "otp",
        "recover",
        "register",
        "session",
        "sessions",
        "token",
        "tokens",
        "totp",
    )
)
"""As the last segment of a path."""
_TEMPLATES = frozenset(("render_template", "render_template_string", "stream_template", "stream_template_string"))
_NO_PAGE = re.compile(r"^\S+\.(xml|rss|atom|json|ya?ml|csv|txt|md|js|css|svg|ics)(\.j2|\.jinja2?)?$", re.IGNORECASE)
"""The name of a template that is not a page."""
_TAG = re.compile(r"<!doctype html|<(html|head|body|h[1-6]|p|form|div|table|ul|script)[ >]", re.IGNORECASE)


def is_static_view(app: Flask, endpoint: str) -> bool:
    """Return whether Flask itself serves an endpoint, from the static folder of the app or of a blueprint."""
    owner, _, name = endpoint.rpartition(".")
    scaffold = app.blueprints.get(owner) if owner else app
    return name == "static" and scaffold is not None and scaffold.has_static_folder


def takes_credentials(entry: Entry) -> bool:
    """Return whether callers prove there who they are, or begin to: log-in, sign-up, password reset, tokens."""
    if entry.method not in ("POST", "PUT", "PATCH", EVERY_METHOD):
        return False
    segments = [each for each in VARIABLE.sub("", entry.path).lower().replace("_", "-").split("/") if each]
    return bool(segments) and (segments[-1] in _IS_LOG_IN or any(_LOGS_IN.search(each) for each in segments))


def shows_html(entry: Entry) -> bool:
    """Return whether its code renders a template, or has HTML in it."""
    if entry.view is None or entry.method not in ("GET", "POST", EVERY_METHOD):
        return False
    for function in functions_in(entry.view, "GET" if entry.method == EVERY_METHOD else entry.method):
        words = set(mentions(function))
        if any(map(_TAG.search, words)):
            return True
        other_files = any(map(_NO_PAGE.search, words)) and not any(".htm" in word for word in words)
        if not other_files and not words.isdisjoint(_TEMPLATES):
            return True
    return False
