"""Traits of an endpoint, read from its path and its code without running them, for audits."""

from __future__ import annotations

import re

from .facts import EVERY_METHOD, Entry
from .url_patterns import VARIABLE
from .view_code import functions_in, mentions

_LOGS_IN = re.compile(
    r"login|signin|logon|signup|\b(log-in|sign-in|log-on|sign-up|2fa|mfa)\b"
    r"|forgot|reset-?(your-?)?password|password-?(reset|recovery)"
)
"""Words of a log-in in any segment of a path, with hyphens for underscores. ``catalog-index`` has none of them."""
_MAY_LOG_IN = frozenset(
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
"""Last segments of a path that name a log-in or a plain resource: ``POST /tokens`` may also make a token for anyone."""
_CREDENTIAL = re.compile(
    r"(^|_)(passw(or)?d|passphrase|pwd|pin|otp|totp|credentials?|grant_type|client_secret|authorization|check_password"
    r"|authenticate|login_user|log_?in|sign_?in|verify_\w+|check_\w+_hash)($|_)",
    re.IGNORECASE,
)
"""Names and keys in the code of a view that reads a credential."""
_TEMPLATES = frozenset(("render_template", "render_template_string", "stream_template", "stream_template_string"))
_NO_PAGE = re.compile(r"^\S+\.(xml|rss|atom|json|ya?ml|csv|txt|md|js|css|svg|ics)(\.j2|\.jinja2?)?$", re.IGNORECASE)
"""The name of a template that is not a page."""
_TAG = re.compile(r"<!doctype html|<(html|head|body|h[1-6]|p|form|div|table|ul|script)[ >]", re.IGNORECASE)


def may_take_credentials(entry: Entry) -> bool:
    """Return whether the path names a log-in, a sign-up, a password reset, or tokens and the like."""
    return _names_log_in(entry) or _may_name_log_in(entry)


def takes_credentials(entry: Entry) -> bool:
    """Return whether callers authenticate at an endpoint, so that the endpoint is open by its nature.

    A path such as ``/tokens`` is not enough: the code of the view must read a credential, too.
    """
    return _names_log_in(entry) or (_may_name_log_in(entry) and _reads_credential(entry))


def _names_log_in(entry: Entry) -> bool:
    return any(_LOGS_IN.search(each) for each in _segments(entry))


def _may_name_log_in(entry: Entry) -> bool:
    return any(each in _MAY_LOG_IN for each in _segments(entry)[-1:])


def _segments(entry: Entry) -> list[str]:
    """Return the fixed segments of a path that takes a body; none for other methods."""
    if entry.method not in ("POST", "PUT", "PATCH", EVERY_METHOD):
        return []
    return [each for each in VARIABLE.sub("", entry.path).lower().replace("_", "-").split("/") if each]


def _reads_credential(entry: Entry) -> bool:
    functions = functions_in(entry.view, "POST" if entry.method == EVERY_METHOD else entry.method) if entry.view else ()
    return any(_CREDENTIAL.search(word) for function in functions for word in mentions(function))


def shows_html(entry: Entry) -> bool:
    """Return whether its code renders a template, or has HTML in it."""
    if entry.view is None or entry.method not in ("GET", "POST", EVERY_METHOD):
        return False
    for function in functions_in(entry.view, entry.sent_method):
        words = set(mentions(function))
        if any(map(_TAG.search, words)):
            return True
        other_files = any(map(_NO_PAGE.search, words)) and not any(".htm" in word for word in words)
        if not other_files and not words.isdisjoint(_TEMPLATES):
            return True
    return False
