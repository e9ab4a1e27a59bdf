"""Masks for requests and responses that are shown: credentials and the values of queries are replaced."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from ..support.text import printable

MASK = "…"
LONGEST = 2000
SHORTEST = 4
"""The length below which a credential is masked only as a whole word."""

HARMLESS = re.compile(
    r"accept(-.*)?|access-control-request-.*|cache-control|connection|content-(encoding|language|length|type)|date|expect"
    r"|forwarded|from|host|if-.*|origin|pragma|priority|range|referer|sec-(ch|fetch)-.*|sec-(gpc|purpose)|te"
    r"|trace(parent|state)|upgrade.*|user-agent|via|x-forwarded-(by|for|host|port|prefix|proto|scheme|server|ssl)"
    r"|x-real-ip|x-request-id|x-requested-with"
)
"""Request fields whose values are shown. Any other may carry a credential."""
_SUSPICIOUS = re.compile(
    r"secret|token|passw|authorization|api-?key|session|signature|(^|-)(auth|key)($|-)", re.IGNORECASE
)
_CREDENTIALS = frozenset(("authorization", "proxy-authorization", "cookie"))
_URLS = frozenset(("location", "referer", "content-location"))


def shown_request_value(name: str, value: str) -> str:
    """Return the value of a request field, masked if it may be a credential."""
    lowered = name.lower()
    if lowered in ("authorization", "proxy-authorization"):
        scheme, space, _ = value.partition(" ")
        return f"{printable(scheme, 30)} {MASK}" if space and scheme.isalpha() else MASK
    return shown_value(name, value) if HARMLESS.fullmatch(lowered) else MASK


def shown_value(name: str, value: str) -> str:
    """Return the value of a response field, masked if it may be a credential."""
    lowered = name.lower()
    if lowered == "set-cookie":
        cookie, semicolon, attributes = value.partition(";")
        return printable(f"{cookie.partition('=')[0]}={MASK}{semicolon}{attributes}", LONGEST)
    if lowered in _CREDENTIALS or _SUSPICIOUS.search(lowered):
        return MASK
    return shown_url(value) if lowered in _URLS else printable(value, LONGEST)


def shown_url(url: str) -> str:
    """Return a URL or path without the values of its query, and without a user and password."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as "http://["
        return MASK
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    query = "&".join(f"{name}={MASK}" for name in names) if names else MASK if parts.query else ""
    netloc = f"{MASK}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    return printable(parts._replace(query=query, netloc=netloc, fragment="").geturl(), LONGEST)


# Credentials repeated by the app --------------------------------------------------------------------------------------


def secrets_in(
    fields: Iterable[tuple[str, str]], url: str = "", places: Collection[tuple[str, str]] = ()
) -> frozenset[str]:
    """Return the credentials in request fields and in a query, in every form in which an app may repeat them.

    :param places: the places where the policies of the app read credentials, as ``("header", name)``.
    """
    found: set[str] = set()
    for name, value in fields:
        lowered = name.lower()
        if lowered in _CREDENTIALS or ("header", lowered) in places or _SUSPICIOUS.search(lowered):
            found.update(_forms(lowered, value))
    for name, value in parse_qsl(urlsplit(url).query):
        if ("query", name) in places or _SUSPICIOUS.search(name.replace("_", "-")):
            found.update((value, quote(value), quote(value, safe=""), quote_plus(value)))
    return frozenset(each for each in found if each)


def query_values(url: str) -> frozenset[str]:
    """Return the values in the query of a URL, as an app reads them."""
    return frozenset(value for _, value in parse_qsl(urlsplit(url).query) if value)


def _forms(name: str, value: str) -> Iterator[str]:
    yield value
    if name == "cookie":
        for each in value.split(";"):
            yield each.strip().partition("=")[2]
        return
    scheme, _, credentials = value.partition(" ")
    yield credentials.strip()
    if scheme.lower() == "basic":
        try:
            pair = b64decode(credentials.strip()).decode("utf-8", "replace")
        except ValueError:
            return
        yield pair
        yield pair.partition(":")[2]


def without(secrets: Collection[str], value: Any, words: Collection[str] = ()) -> Any:
    """Return a JSON value with `secrets` masked in every string.

    :param words: strings that are kept, such as verdicts, because programs read them.
    """
    if not secrets:
        return value
    wanted = "|".join(_pattern(each) for each in sorted(secrets, key=len, reverse=True))
    return _without(re.compile(wanted), value, words)


def _pattern(secret: str) -> str:
    escaped = re.escape(secret)
    return escaped if len(secret) >= SHORTEST else rf"(?<!\w){escaped}(?!\w)"


def _without(secrets: re.Pattern[str], value: Any, words: Collection[str]) -> Any:
    if isinstance(value, str):
        return value if value in words else secrets.sub(MASK, value)
    if isinstance(value, list):
        return [_without(secrets, each, words) for each in value]
    if isinstance(value, dict):
        return {name: _without(secrets, each, words) for name, each in value.items()}
    return value
