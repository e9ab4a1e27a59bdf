"""An endpoint for GitHub's secret scanning partner program, which revokes keys that are reported as leaked.

::

    def github_keys():
        answer = requests.get("https://api.github.com/meta/public_keys/secret_scanning", timeout=5).json()
        return {each["key_identifier"]: each["key"] for each in answer["public_keys"]}

    app.register_blueprint(leak_report(public_keys=github_keys))

A report is a JSON list of objects with a ``token`` and, if known, a ``url``. GitHub signs the body with ECDSA (P-256,
SHA-256), without a timestamp, so a report can be replayed. Revoking a key twice does no harm.
"""

from __future__ import annotations

import json
import logging
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from flask import Blueprint, Request, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wsgi import get_input_stream

from ..authentication.require_auth import require_auth
from ..core.app_state import AppState
from ..core.config import ERROR_FORMAT
from ..core.denials import Denied, InvalidRequest, Unauthenticated, store_unavailable
from ..core.flask_versions import current_flask
from ..core.policy import Phase
from ..core.protect import exempt, protect
from ..errors import ConfigError
from ..function_policy import Middleware, middleware
from ..rate_limits.limit import limit
from ..signals import key_leaked
from ..support.extras import extra
from ..support.fetched import Fetched, NotFetched
from ..support.text import printable
from .concern import key_store_of
from .model import ApiKey, KeyStore, KeyStoreUnavailable
from .require_api_key import LONGEST_KEY, require_api_key
from .sources import Source, key_store, single_stores

log: logging.Logger = logging.getLogger("flask_guard")

KIND = "leak_report"
LARGEST_BODY = 2**20
"""Bytes."""
KEYS_FOR = 3600.0
"""Seconds for which public keys are used before they are fetched again."""
RETRY_WHEN_DOWN = 30
"""Seconds after which a report should be sent again."""


class ReportTooLarge(Denied, RequestEntityTooLarge):
    """413: the body is larger than a report may be."""


def leak_report(
    *,
    public_keys: Mapping[str, str] | Callable[[], Mapping[str, str]],
    store: Source | None = None,
    url: str = "/leaked-keys",
    rate: str = "60/minute",
    name: str = KIND,
) -> Blueprint:
    """Return a blueprint with one endpoint to which GitHub posts leaked keys.

    Each reported key of the app is revoked, whether its current or an earlier secret has leaked. A warning in the log
    names the key by its id, and the signals ``key_revoked`` and ``key_leaked`` are sent. A store without ``revoke``,
    such as ``GUARD_API_KEYS``, is an error in the log. The endpoint needs no API key or login, even if the whole app
    does.

    The answer is an empty 204, without labels of true and false positives: a key that an earlier report has revoked
    would count as false. A missing or invalid signature is a 401, a body over 1 MiB a 413, and a malformed report a
    400. While keys cannot be looked up, or public keys cannot be fetched, the answer is a 503 with ``Retry-After``: the
    report must be sent again.

    :param public_keys: the public keys of the reporter in PEM, by identifier; or a callable that returns such a
        mapping. The callable is called once an hour, and for an unknown identifier. Give the callable a timeout.
    :param store: the store in which leaked keys are looked up and revoked; None for the app's store. Another store has
        its own cache: the app accepts a key that it has just verified for up to ``cache`` seconds more.
    :param url: the path of the endpoint.
    :param rate: the rate of reports from one address.
    :param name: the name of the blueprint.
    :raises ConfigError: for an invalid option, and if cryptography is not installed.
    """
    if not isinstance(url, str) or not url.startswith("/") or "<" in url:
        raise ConfigError(f"leak_report(url=…) must be a path such as '/leaked-keys', not {url!r}")
    blueprint = Blueprint(name, __name__)
    protect(blueprint, limit(rate), _signed_by(public_keys))
    exempt(require_api_key, require_auth)(blueprint)
    blueprint.add_url_rule(url, "receive", _receiver(store), methods=["POST"])
    return blueprint


# The signature ----------------------------------------------------------------------------------------------------


def _signed_by(public_keys: Any) -> Middleware:
    """Return the policy that requires a signature with one of `public_keys`."""
    with extra("jwt", "cryptography", "leak_report(…)"):
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256
    if not callable(public_keys):
        _read(public_keys)  # so that an invalid mapping is refused here
    fetch = public_keys if callable(public_keys) else lambda: public_keys
    fetched = Fetched(fetch, _read, "leak_report(public_keys=…)")

    @middleware(phase=Phase.AUTHENTICATE)
    def signature(request: Request) -> None:
        identifier = request.headers.get("Github-Public-Key-Identifier")
        presented = request.headers.get("Github-Public-Key-Signature")
        if not identifier or not presented:
            raise _unsigned("The report is not signed.", "missing")
        try:
            key = fetched.get(KEYS_FOR).get(identifier) or fetched.get_newer(KEYS_FOR).get(identifier)
        except NotFetched as error:
            raise _come_again() from error
        if key is None:
            raise _unsigned("The report is signed with an unknown key.", "unknown_key")
        try:
            key.verify(b64decode(presented, validate=True), _body(request), ECDSA(SHA256()))
        except (ValueError, InvalidSignature):
            raise _unsigned("The signature does not fit the report.", "mismatch") from None

    return signature


def _read(public_keys: Any) -> dict[str, Any]:
    """Return the keys on the curve P-256. Other keys of the mapping may have another purpose."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    keys = {}
    for identifier, pem in public_keys.items() if isinstance(public_keys, Mapping) else ():
        try:
            key: Any = load_pem_public_key(pem.encode())
        except (ValueError, AttributeError, UnsupportedAlgorithm):
            continue
        if getattr(getattr(key, "curve", None), "name", "") == "secp256r1":
            keys[identifier] = key
    if not keys:
        raise ConfigError(
            "leak_report(public_keys=…) has no key on the curve P-256. Write a mapping of identifiers to public keys in"
            " PEM, or a callable that returns one"
        )
    return keys


def _body(request: Request) -> bytes:
    """Return the body. Of a larger body than a report's, only one byte more than the limit is read.

    Flask reads the body, because a hook may have done so before. Before the first read, Flask gets a stream that ends
    one byte past the limit. (Flask 3.0 has no limit for a single request.)
    """
    largest = min(LARGEST_BODY, request.max_content_length or LARGEST_BODY)
    try:
        if "stream" not in vars(request):
            request.stream = get_input_stream(request.environ, max_content_length=largest + 1)
        body = request.get_data()
    except RequestEntityTooLarge:
        body = None
    if body is None or len(body) > largest:
        raise ReportTooLarge(f"A report has at most {largest} bytes.", policy=KIND, reason="size")
    return body


def _unsigned(detail: str, reason: str) -> Denied:
    challenge = [("WWW-Authenticate", f'Signature realm="{KIND}"')]
    return Unauthenticated(detail, policy=KIND, reason=reason, headers=challenge)


def _come_again() -> Denied:
    detail = "The report cannot be processed at the moment. Send it again."
    return store_unavailable(detail, KIND, retry_after=RETRY_WHEN_DOWN)


# The report -------------------------------------------------------------------------------------------------------


def _receiver(source: Source | None) -> Callable[[], tuple[str, int]]:
    def stores_of(state: AppState) -> tuple[KeyStore, ...]:
        return single_stores(key_store_of(state) if source is None else key_store(source, state.app))

    def receive() -> tuple[str, int]:
        state = AppState.of(current_flask())
        try:
            leaks = _leaks(request.get_data())
            reached = [_revoke_leaked(each, leaks) for each in state.service(stores_of)]
            if not all(reached):
                raise _come_again()
        except Denied as denial:
            denial.error_format = state.config[ERROR_FORMAT]
            raise
        return "", 204

    return receive


def _leaks(body: bytes) -> dict[str, str]:
    """Return the reported tokens that could be presented as a key, each with the URL of the leak."""
    try:
        tokens = {entry["token"]: entry.get("url") or "" for entry in json.loads(body)}
        if not all(isinstance(each, str) for pair in tokens.items() for each in pair):
            raise TypeError
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        detail = 'The report must be a JSON list of objects with a "token" and a "url".'
        raise InvalidRequest(detail, policy=KIND, reason="malformed") from None
    return {token: url for token, url in tokens.items() if 0 < len(token) <= LONGEST_KEY and _is_text(token)}


def _is_text(token: str) -> bool:
    """Return whether `token` is text: JSON can write a lone surrogate, which is not a character."""
    return not any("\ud800" <= c <= "\udfff" for c in token)


def _revoke_leaked(store: KeyStore, leaks: dict[str, str]) -> bool:
    """Revoke the keys of `store` among `leaks`. Stop and return False if the store is unreachable."""
    try:
        for token, url in leaks.items():
            if key := store.lookup(token):
                holds_key = any(each in unquote(url) or each in url for each in leaks)
                place = "(an address that holds a key)" if holds_key else printable(url or "(an unknown place)")
                _revoke(store, key, place)
    except KeyStoreUnavailable as error:
        log.warning("leaked API keys cannot be looked up and revoked at the moment: %s", error)
        return False
    return True


def _revoke(store: KeyStore, key: ApiKey, url: str) -> None:
    failure = ""
    try:
        getattr(store, "revoke", _cannot_revoke)(key.id)
    except ConfigError as error:
        failure = str(error)
    except LookupError:  # the key has been removed meanwhile
        pass
    if failure:
        log.error("API key %s has leaked at %s, and CANNOT BE REVOKED: %s", printable(key.id), url, failure)
    else:
        log.warning("API key %s has leaked at %s, and was revoked", printable(key.id), url)
    key_leaked.send(store, key=key, url=url, revoked=not failure)


def _cannot_revoke(_key_id: str) -> None:
    raise ConfigError("its store cannot revoke keys. Remove the key from the store")
