"""The signature of a report of leaked keys: HMAC-SHA256 with a shared secret, over the time and the body."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wsgi import get_input_stream

from ..core.denials import Denied, Unauthenticated
from ..core.policy import Phase
from ..errors import ConfigError
from ..function_policy import Middleware, middleware

if TYPE_CHECKING:
    from flask import Request

KIND = "leak_report"
HEADER = "X-Signature"
TOLERANCE = 300
"""Seconds by which the time of a signature may differ from ours."""
LARGEST_BODY = 2**20
"""Bytes."""
LONGEST_SIGNATURE = 1024
"""Characters of the header that are looked at."""
SHORTEST_SECRET = 16
"""Bytes."""
_SECONDS = re.compile(r"[0-9]{1,12}")


def sign(body: bytes, secret: str | bytes, at: float | None = None) -> str:
    """Return the ``X-Signature`` of a report: HMAC-SHA256 over its time, a dot and its body, as Stripe's webhooks do.

    :param body: the body, byte by byte as it is sent.
    :param at: when it is signed, in seconds since 1970; None for now.
    """
    seconds = str(int(time.time() if at is None else at))
    return f"t={seconds},v1={_hmac(seconds, body, _bytes(secret))}"


class ReportTooLarge(Denied, RequestEntityTooLarge):
    """413: the body is larger than a report may be."""


def signed_by(secret: object) -> Middleware:
    """Return the policy that lets only reports through that are signed with `secret`, or with one of several.

    The secrets are no option of it, so that no repr can show them.
    """
    secrets = _secrets(secret)

    @middleware(phase=Phase.AUTHENTICATE)
    def signature(request: Request) -> None:
        seconds, given = _parts(request.headers.get(HEADER))
        if abs(time.time() - int(seconds)) > TOLERANCE:
            raise _unsigned(f"The time of the signature is more than {TOLERANCE} seconds off.", "stale")
        body = _body(request)
        expected = [_hmac(seconds, body, each).encode() for each in secrets]
        # A list, so that each is compared with each, whichever of them fits.
        fits = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in given]
        if not any(fits):
            raise _unsigned("The signature does not fit the report.", "mismatch")

    return signature


def _parts(header: str | None) -> tuple[str, list[bytes]]:
    """Return the time in a signature, as it is written, and the signatures: several while a secret is being changed."""
    if header is None:
        raise _unsigned(f"The report is not signed: {HEADER} is missing.", "missing")
    fields = [part.strip().partition("=") for part in header[:LONGEST_SIGNATURE].split(",")]
    times = [value for field, _, value in fields if field == "t"]
    given = [value.lower().encode("utf-8", "surrogatepass") for field, _, value in fields if field == "v1"]
    if len(times) != 1 or not _SECONDS.fullmatch(times[0]) or not given:
        raise _unsigned(f"{HEADER} must read t=<seconds since 1970>,v1=<HMAC-SHA256 in hexadecimal>.", "malformed")
    return times[0], given


def _body(request: Request) -> bytes:
    """Return the body, of which no more is read than a report may have.

    It may have been read by a hook of the app's, so Flask is asked for it; and where that has not begun, it is given a
    stream that ends one byte past our limit. (Flask 3.0 cannot set the limit of a single request.)
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


def _hmac(seconds: str, body: bytes, secret: bytes) -> str:
    return hmac.new(secret, seconds.encode("ascii") + b"." + body, hashlib.sha256).hexdigest()


def _secrets(secret: object) -> tuple[bytes, ...]:
    listed = (secret,) if isinstance(secret, (str, bytes)) else secret
    secrets = tuple(listed) if isinstance(listed, Iterable) else ()
    if not secrets or not all(isinstance(each, (str, bytes)) for each in secrets):
        raise ConfigError("leak_report(secret=…) must be the secret that the scanner signs with, or a list of those")
    encoded = tuple(_bytes(each) for each in secrets)
    if min(map(len, encoded)) < SHORTEST_SECRET:
        raise ConfigError(
            f"leak_report(secret=…) must have at least {SHORTEST_SECRET} bytes."
            ' Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    return encoded


def _bytes(secret: str | bytes) -> bytes:
    return secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
