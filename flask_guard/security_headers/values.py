"""The checks of the values of security headers: each names the right spelling where it refuses one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..support.header_fields import check_names, check_value
from ..support.options import Check, flag, listed, optional, or_inherit, whole_seconds
from ..support.text import did_you_mean, names

A_YEAR = 31_536_000
"""Seconds for which hstspreload.org wants a site to promise https."""


def header(check: Check[Any]) -> Check[Any]:
    """Return a check that also takes None, which leaves the header out, and INHERIT."""
    return or_inherit(optional(check))


def token(*choices: str, instead: Mapping[str, str] | None = None, reports: bool = False) -> Check[str]:
    """Return a check for one of `choices`, in any case.

    :param instead: what to write in place of values that browsers ignore, by their first word.
    :param reports: whether ``; report-to="name"`` may follow.
    """

    def check(value: object, what: str) -> str:
        text = check_value(value, what)
        word, report_to = text.lower(), ""
        if reports and (match := _REPORT_TO.fullmatch(text)):
            word, report_to = match[1].lower(), match[2]
        if word not in choices:
            fix = (instead or {}).get(word.split()[0], "")
            hint = f": {fix}" if fix else did_you_mean(word, choices)
            raise ConfigError(f"{what} must be one of {names(choices)}, not {value!r}{hint}")
        return word + report_to

    return check


_REPORT_TO = re.compile(r'([A-Za-z-]+)(;\s*report-to="[^"\\]+")')

frame_options: Check[str] = token(
    "deny",
    "sameorigin",
    instead={
        "allowall": "write frame_options=None to leave the header out",
        "allow-from": "browsers ignore it. Write csp={'frame-ancestors': ['https://…']} and frame_options=None",
    },
)
content_type_options: Check[str] = token("nosniff")
opener_policy: Check[str] = token(
    "unsafe-none", "same-origin-allow-popups", "same-origin", "noopener-allow-popups", reports=True
)
embedder_policy: Check[str] = token("unsafe-none", "require-corp", "credentialless", reports=True)
resource_policy: Check[str] = token("same-site", "same-origin", "cross-origin")
dns_prefetch_control: Check[str] = token("on", "off")
cross_domain_policies: Check[str] = token(
    "none", "master-only", "by-content-type", "by-ftp-filename", "all", "none-this-response"
)
download_options: Check[str] = token("noopen")
document_policy: Check[str] = check_value
"""No browser's list of features is stable enough to check more than that a header can carry the value."""
_xss_protection = token("0")
_referrer_policy = token(
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
)


def referrer_policy(value: object, what: str) -> str:
    """Check for a policy, or several of which browsers take the last that they know."""
    return ", ".join(_referrer_policy(each.strip(), what) for each in check_value(value, what).split(","))


def xss_protection(value: object, what: str) -> str:
    """Check for 0, which switches off a filter that made pages less secure."""
    return _xss_protection(str(value) if value == 0 and not isinstance(value, bool) else value, what)


def origin_agent_cluster(value: object, what: str) -> str:
    """Check for True or False, or the same as a structured field."""
    if value in ("?0", "?1"):
        return str(value)
    return "?1" if flag(value, what) else "?0"


# Strict-Transport-Security (RFC 6797) ------------------------------------------------------------------------------


def hsts(value: object, what: str) -> str:
    """Check for seconds, a timedelta, or the value of the header. What preload lists ask for must be there."""
    if isinstance(value, (int, timedelta)) and not isinstance(value, bool):
        return f"max-age={whole_seconds(value, what)}"
    text = check_value(value, what)
    if text.isdecimal():
        raise ConfigError(f"{what} takes a number for seconds alone: write {text} without quotes, or 'max-age={text}'")
    parts = [part.strip().partition("=") for part in text.split(";") if part.strip()]
    given = {name.lower(): number for name, _, number in parts}
    for name, _, number in parts:
        if name.lower() not in ("max-age", "includesubdomains", "preload") or (number and name.lower() != "max-age"):
            hint = did_you_mean(name, ("max-age", "includeSubDomains", "preload"))
            raise ConfigError(f"{what} takes max-age=SECONDS, includeSubDomains and preload, not {name!r}{hint}")
    seconds = given.get("max-age", "").strip('"')
    if not seconds.isdecimal():
        raise ConfigError(f"{what} needs max-age, in seconds: 'max-age=63072000; includeSubDomains'")
    if "preload" in given and (int(seconds) < A_YEAR or "includesubdomains" not in given):
        raise ConfigError(
            f"{what}: preload lists take a site only with max-age of at least {A_YEAR} and includeSubDomains"
        )
    return text


# Permissions-Policy ------------------------------------------------------------------------------------------------

FEATURES = frozenset({
    "accelerometer", "ambient-light-sensor", "aria-notify", "attribution-reporting", "autoplay", "battery",
    "bluetooth", "browsing-topics", "camera", "captured-surface-control", "clipboard-read", "clipboard-write",
    "compute-pressure", "cross-origin-isolated", "deferred-fetch", "deferred-fetch-minimal",
    "digital-credentials-create", "digital-credentials-get", "display-capture", "document-domain",
    "encrypted-media", "execution-while-not-rendered", "execution-while-out-of-viewport",
    "focus-without-user-activation", "fullscreen", "gamepad", "geolocation", "gyroscope", "hid",
    "identity-credentials-get", "idle-detection", "interest-cohort", "keyboard-map", "language-detector",
    "language-model", "local-fonts", "local-network", "local-network-access", "loopback-network", "magnetometer",
    "media-playback-while-not-visible", "microphone", "midi", "monetization", "on-device-speech-recognition",
    "otp-credentials", "payment", "picture-in-picture", "private-state-token-issuance",
    "private-state-token-redemption", "publickey-credentials-create", "publickey-credentials-get",
    "screen-wake-lock", "serial", "speaker-selection", "storage-access", "summarizer", "sync-xhr", "translator",
    "unload", "usb", "web-share", "window-management", "xr-spatial-tracking",
})  # fmt: skip
_MEMBER = re.compile(
    r"(?P<name>[a-z][a-z0-9-]*)=(?P<allowed>\*|self|\((?P<list>[^()]*)\))(?:;report-to=[a-z0-9_*.-]+)?"
)
_ALLOWED = re.compile(r'self|src|\*|"[a-z]+://[^"\s]+"')


def permissions_policy(value: object, what: str) -> str:
    """Check for the value of the header, or a mapping of features to who may use them."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{name}={_allow_list(allowed)}" for name, allowed in value.items())
    text = check_value(value, what)
    for part in (each.strip() for each in text.split(",")):
        member = _MEMBER.fullmatch(part)
        if member is None or not all(map(_ALLOWED.fullmatch, (member["list"] or "").split())):
            raise ConfigError(
                f"{what}: {part!r} is not a feature and who may use it. Write camera=(), camera=(self) or"
                ' camera=(self "https://partner.example"), with commas between'
            )
        if member["name"] not in FEATURES and (hint := did_you_mean(member["name"], FEATURES)):
            raise ConfigError(f"{what}: {member['name']!r} is not a feature{hint}")
    return text


def _allow_list(allowed: object) -> str:
    if allowed == "*":
        return "*"
    words = [str(each) for each in (listed(allowed) if allowed is not None else ())]
    return f"({' '.join(word if word in ('self', 'src') else f'{chr(34)}{word}{chr(34)}' for word in words)})"


# Caching, clearing, reporting --------------------------------------------------------------------------------------

_CACHE_NUMBERS = ("max-age", "s-maxage", "stale-while-revalidate", "stale-if-error")
_CACHE_WORDS = (
    "no-store", "no-cache", "private", "public", "must-revalidate", "proxy-revalidate", "must-understand",
    "no-transform", "immutable",
)  # fmt: skip


def cache_control(value: object, what: str) -> str:
    """Check for directives (RFC 9111, section 5.2.2). Unknown ones pass unless they look misspelled."""
    text = check_value(value, what)
    for name, _, number in (part.strip().lower().partition("=") for part in text.split(",")):
        known = (*_CACHE_NUMBERS, *_CACHE_WORDS)
        if name not in known and (not name or did_you_mean(name, known)):
            raise ConfigError(f"{what}: {name!r} is not a directive{did_you_mean(name, known)}")
        if name in _CACHE_NUMBERS and not number.strip('"').isdecimal():
            raise ConfigError(f"{what}: {name} needs a number of seconds, such as {name}=60")
    return text


_CLEARED = ("cache", "cookies", "storage", "executionContexts", "clientHints", "prefetchCache", "prerenderCache", "*")


def clear_site_data(value: object, what: str) -> str:
    """Check for a list of the kinds of data, or the value of the header, in which each has double quotes."""
    text = check_value(value, what) if isinstance(value, str) else ", ".join(f'"{each}"' for each in listed(value))
    for kind in (each.strip() for each in text.split(",")):
        name = kind.strip('"')
        if name not in _CLEARED or kind != f'"{name}"':
            hint = "; each has double quotes" if name in _CLEARED else did_you_mean(name, _CLEARED)
            raise ConfigError(f"{what} takes {names(_CLEARED)}, as in ['cache', 'cookies'], not {kind!r}{hint}")
    return text


_ENDPOINT = re.compile(r'([a-z*][a-z0-9_.*-]*)="([^"\\]*)"')


def reporting_endpoints(value: object, what: str) -> str:
    """Check for a mapping of names to URLs, or the value of the header (Reporting API, section 3.3)."""
    if isinstance(value, Mapping):
        value = ", ".join(f'{name}="{url}"' for name, url in value.items())
    text = check_value(value, what)
    for part in (each.strip() for each in text.split(",")):
        match = _ENDPOINT.fullmatch(part)
        if match is None:
            raise ConfigError(f"{what}: {part!r} is not a name and a URL. Write {{'csp': '/csp-reports'}}")
        url = urlsplit(match[2])
        is_local = url.hostname in ("localhost", "127.0.0.1", "::1")
        if not (
            url.scheme == "https" or (url.scheme == "http" and is_local) or (not url.scheme and url.path[:1] == "/")
        ):
            raise ConfigError(
                f"{what}: browsers report over https only, or to a path such as '/csp-reports': {match[2]!r}"
            )
    return text


def endpoint_names(value: str | None) -> list[str]:
    """Return the names in a checked ``Reporting-Endpoints``."""
    return [name for name, _ in _ENDPOINT.findall(value or "")]


def removed(value: object, what: str) -> tuple[str, ...]:
    """Check for the names of headers to remove."""
    return tuple(sorted({name.lower() for name in check_names(value, what)}))
