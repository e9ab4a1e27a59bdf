"""General rules about the configuration of the app."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.config import ENABLED
from ...core.facts import EVERY_METHOD, AuditRule, Checks, Finding, Inventory, shown

DEBUG = AuditRule(
    "FG010",
    "error",
    "Debug mode is on",
    "Werkzeug's debugger runs Python code of any visitor, and error pages show source and secrets.",
    "Leave DEBUG unset, and run 'flask --debug run' on your own machine only.",
    ("ASVS 13.4.2", "API8:2023"),
)
SECRET_KEY = AuditRule(
    "FG011",
    "error",
    "A default or short SECRET_KEY",
    "An attacker who guesses the key can sign a session of any user.",
    "Make a key with python -c 'import secrets; print(secrets.token_hex())', and keep it out of the code.",
    ("ASVS 13.2.3", "ASVS 11.5.1", "API2:2023"),
)
COOKIE = AuditRule(
    "FG012",
    "warning",
    "Session cookies without Secure, HttpOnly or SameSite",
    "The cookie is sent over plain http, can be read by scripts, or is sent with requests of other sites.",
    'Set SESSION_COOKIE_SECURE = True, SESSION_COOKIE_SAMESITE = "Lax", and leave SESSION_COOKIE_HTTPONLY = True.',
    ("ASVS 3.3.1", "ASVS 3.3.2", "ASVS 3.3.4"),
)
BODY = AuditRule(
    "FG013",
    "warning",
    "Bodies of any length are read",
    "A request with a long body can fill the memory or the disk of a worker.",
    "Set MAX_CONTENT_LENGTH, in bytes, such as 1_000_000.",
    ("ASVS 5.2.1", "API4:2023"),
)
SWITCHED_OFF = AuditRule(
    "FG014",
    "error",
    "Every policy is switched off",
    "GUARD_ENABLED is False, so no policy of the app runs.",
    "Remove GUARD_ENABLED. In tests, use guard.disabled().",
    ("ASVS 16.5.3", "API8:2023"),
)

SHORTEST_SECRET = 16
_DEFAULTS = (
    "change", "default", "dev", "example", "flask", "insecure", "key", "mysecret", "not", "password", "secret", "super",
    "test", "todo", "your", "very",
)  # fmt: skip
"""Words in the secrets of tutorials."""


def _debug(inventory: Inventory) -> Iterator[Finding]:
    if inventory.app.debug:
        yield DEBUG.about("DEBUG", "DEBUG is on")


def _secret_key(inventory: Inventory) -> Iterator[Finding]:
    secret = inventory.app.secret_key
    if secret is None:
        return
    text = secret.decode("latin-1") if isinstance(secret, bytes) else str(secret)
    if len(text) < SHORTEST_SECRET:
        yield SECRET_KEY.about("SECRET_KEY", f"SECRET_KEY has fewer than {SHORTEST_SECRET} characters")
    elif _is_default(text):
        yield SECRET_KEY.about("SECRET_KEY", "SECRET_KEY consists of words from tutorials")


def _is_default(text: str) -> bool:
    """Return whether a secret consists of words from tutorials, as ``super-secret-key-change-me`` does."""
    left = "".join(each for each in text.lower() if each.isalpha())
    for word in sorted((*_DEFAULTS, "me", "this", "in", "production", "please"), key=len, reverse=True):
        left = left.replace(word, "")
    return len(left) < 4 and len(set(text)) < SHORTEST_SECRET


def _cookie(inventory: Inventory) -> Iterator[Finding]:
    config = inventory.app.config
    if inventory.app.secret_key is None:
        return
    missing = []
    if not config.get("SESSION_COOKIE_SECURE"):
        missing.append("SESSION_COOKIE_SECURE is not True")
    if not config.get("SESSION_COOKIE_HTTPONLY", True):
        missing.append("SESSION_COOKIE_HTTPONLY is False")
    if str(config.get("SESSION_COOKIE_SAMESITE")).lower() not in ("lax", "strict"):
        missing.append("SESSION_COOKIE_SAMESITE is neither 'Lax' nor 'Strict'")
    if missing:
        yield COOKIE.about("session cookie", ", ".join(missing))


def _body(inventory: Inventory) -> Iterator[Finding]:
    if inventory.app.config.get("MAX_CONTENT_LENGTH") is not None:
        return
    reading = [each for each in inventory.entries if each.method in ("POST", "PUT", "PATCH", EVERY_METHOD)]
    unbounded = [each for each in reading if not inventory.serves(each, "body")]
    if unbounded:
        message = f"MAX_CONTENT_LENGTH is not set, and no policy bounds the bodies of {shown(unbounded)}"
        yield BODY.about("MAX_CONTENT_LENGTH", message)


def _switched_off(inventory: Inventory) -> Iterator[Finding]:
    if inventory.has_guard and not inventory.state.config[ENABLED]:
        yield SWITCHED_OFF.about("GUARD_ENABLED", "GUARD_ENABLED is False")


CHECKS: Checks = (
    (DEBUG, _debug),
    (SECRET_KEY, _secret_key),
    (COOKIE, _cookie),
    (BODY, _body),
    (SWITCHED_OFF, _switched_off),
)
