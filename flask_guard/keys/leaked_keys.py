"""An endpoint to which a secret scanner posts the keys that it has found. Those that are ours are revoked at once.

::

    app.register_blueprint(leak_report(secret=os.environ["SCANNER_SECRET"]))

The body is that of GitHub's secret scanning partner program: a JSON list of objects with a ``token`` and, if known,
its ``type``, ``url`` and ``source``. The signature is a shared one, as :func:`sign` makes it. GitHub itself signs with
ECDSA; between it and this endpoint goes a relay that checks that, and signs anew.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from flask import Blueprint, request

from ..core.app_state import AppState
from ..core.config import ERROR_FORMAT
from ..core.denials import Denied, InvalidRequest, StoreUnavailable
from ..core.flask_versions import current_flask
from ..core.protect import exempt, protect
from ..errors import ConfigError
from ..signals import key_leaked
from ..support.text import printable
from .concern import key_store_of
from .model import ApiKey, KeyStore, KeyStoreUnavailable
from .report_signature import KIND, sign, signed_by
from .sources import KeySource, key_store, single_stores

__all__ = ["leak_report", "sign"]

log: logging.Logger = logging.getLogger("flask_guard")

MOST_TOKENS = 1000
LONGEST_TOKEN = 8192
"""Characters beyond which a token cannot be one of our keys."""
RETRY_WHEN_DOWN = 30
"""Seconds after which a scanner should report again if keys could not be looked up."""


def leak_report(
    *,
    secret: str | bytes | Sequence[str | bytes],
    store: KeyStore | KeySource | None = None,
    url: str = "/leaked-keys",
    rate: str = "60/minute",
    name: str = KIND,
) -> Blueprint:
    """Return a blueprint with one endpoint to which a secret scanner posts leaked keys.

    The answer is a 204 without a body, whatever was posted: which of the tokens were ours, not even the scanner
    learns, so its secret is worth nothing to somebody who wants to sort a heap of stolen keys. For the same reason
    every store is asked for every token; only the time that a revocation itself takes is not hidden. As it says so
    little, a report may be repeated, and after a 503, with ``Retry-After``, it must be.

    Every key that is ours is revoked, by whichever of its secrets it was found. Each is logged as a warning, by id, and
    sent by the signals ``key_revoked`` and ``key_leaked``; one in a store that revokes nothing, such as
    ``GUARD_API_KEYS``, is logged as an error. No API key or login is asked for here, even if the whole app wants one.

    A missing or bad signature is a 401, a body over 1 MiB a 413, and one that is no list of at most 1000 tokens a 400.

    :param secret: what the scanner signs with, at least 16 bytes; several while it is being changed.
    :param store: where leaked keys are looked up and revoked; None for the app's own. Another one is another cache: the
        app goes on accepting a key that it has just verified for up to the ``cache`` seconds of its own store.
    :param url: where the endpoint is.
    :param rate: how many reports one address may post.
    :param name: the name of the blueprint.
    :raises ConfigError: if an option cannot be meant.
    """
    from ..authentication.require_auth import require_auth
    from ..rate_limits.limit import limit
    from .require_api_key import require_api_key  # these import this package

    if store is not None and not isinstance(store, (KeyStore, KeySource)):
        raise ConfigError(f"leak_report(store=…) must be a store, not a {type(store).__name__}")
    if not isinstance(url, str) or not url.startswith("/") or "<" in url:
        raise ConfigError(f"leak_report(url=…) must be a path such as '/leaked-keys', not {url!r}")
    if not isinstance(name, str) or not name or "." in name:
        raise ConfigError(f"leak_report(name=…) must be a name without dots, not {name!r}")
    blueprint = Blueprint(name, __name__)
    protect(blueprint, limit(rate), signed_by(secret))
    exempt(require_api_key, require_auth)(blueprint)
    blueprint.add_url_rule(url, "receive", _receiver(store), methods=["POST"])
    return blueprint


@dataclass(frozen=True, slots=True)
class _Leak:
    """A token, and where it was found."""

    token: str = field(repr=False)
    url: str = field(repr=False)


def _receiver(store: KeyStore | KeySource | None) -> Callable[[], tuple[str, int]]:
    def stores_of(state: AppState) -> tuple[KeyStore, ...]:
        if store is None and key_store_of(state) is None:
            log.warning("%r takes reports of leaked keys, and has no keys", state.app.name)
        return single_stores(key_store_of(state) if store is None else key_store(store, state.app))

    def receive() -> tuple[str, int]:
        state = AppState.of(current_flask())
        try:
            leaks = _leaks(request.get_data())
            reached = [_revoke_leaked(each, leaks) for each in state.service(stores_of)]
            if not all(reached):
                raise _unavailable()
        except Denied as denial:
            denial.error_format = state.config[ERROR_FORMAT]
            raise
        return "", 204

    return receive


def _leaks(body: bytes) -> list[_Leak]:
    """Return what is reported, each token once, without those that no header field could present as a key."""
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError):
        raise _malformed("The report is not JSON.") from None
    if not isinstance(entries, list):
        raise _malformed("The report must be a list.")
    if len(entries) > MOST_TOKENS:
        raise _malformed(f"A report has at most {MOST_TOKENS} tokens.")
    leaks = {leak.token: leak for leak in map(_leak, entries)}
    return [leak for token, leak in leaks.items() if 0 < len(token) <= LONGEST_TOKEN and _is_text(token)]


def _leak(entry: Any) -> _Leak:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        raise _malformed('Each entry of the report must be an object with a "token".')
    if not all(isinstance(entry.get(name), (str, type(None))) for name in ("type", "url", "source")):
        raise _malformed('"type", "url" and "source" must be strings.')
    return _Leak(entry["token"], entry.get("url") or "")


def _is_text(token: str) -> bool:
    """Return whether `token` is text: JSON can write halves of characters, which are none."""
    return not any("\ud800" <= c <= "\udfff" for c in token)


def _revoke_leaked(store: KeyStore, leaks: list[_Leak]) -> bool:
    """Revoke those of `leaks` that are keys of `store`. Return False if it cannot be reached; then it is left alone."""
    try:
        for leak in leaks:
            key = store.lookup(leak.token)
            if key is not None:
                _revoke(store, key, _shown_url(leak.url, leaks))
    except KeyStoreUnavailable as error:
        log.warning("leaked API keys cannot be looked up and revoked just now: %s", error)
        return False
    return True


def _revoke(store: KeyStore, key: ApiKey, url: str) -> None:
    failure = _failure(store, key.id)
    if failure:
        log.error("API key %s has leaked at %s, and CANNOT BE REVOKED: %s", printable(key.id), url, failure)
    else:
        log.warning("API key %s has leaked at %s, and was revoked", printable(key.id), url)
    key_leaked.send(store, key=key, url=url, revoked=not failure)


def _failure(store: KeyStore, key_id: str) -> str:
    """Revoke a key. Return why that cannot be done, or an empty string."""
    revoke = getattr(store, "revoke", None)
    if not callable(revoke):
        return f"{type(store).__name__} revokes no keys, so take it out there"
    try:
        revoke(key_id)
    except ConfigError as error:
        return str(error)
    except LookupError:  # it was removed in the meantime
        pass
    return ""


def _shown_url(url: str, leaks: list[_Leak]) -> str:
    """Return `url` fit for a log, which it is not if it holds a reported token."""
    plain = unquote(url)
    if any(leak.token in plain or leak.token in url for leak in leaks):
        return "(an address that holds a key)"
    return printable(url) if url else "(an unknown place)"


def _malformed(detail: str) -> Denied:
    return InvalidRequest(detail, policy=KIND, reason="malformed")


def _unavailable() -> Denied:
    return StoreUnavailable(
        "Keys cannot be looked up just now. Send this report again.",
        policy=KIND,
        reason="store",
        headers=[("Retry-After", str(RETRY_WHEN_DOWN))],
    )
