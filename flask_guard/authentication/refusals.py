"""The answers of `require_auth` to callers that it does not let through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from ..core.denials import Denied, InsufficientScope, InvalidRequest, Unauthenticated
from ..core.ready_denials import ready_denial
from ..support.header_fields import Pair
from ..support.http_credentials import quoted


class Refusals:
    """The refusals of one compiled policy, with one challenge for each scheme that the policy offers.

    :param offered: the schemes in the Authorization field: ``basic``, ``bearer``.
    """

    KIND: ClassVar[str] = "require_auth"

    def __init__(self, offered: tuple[str, ...], realm: str) -> None:
        self._offered = offered
        self._plain = challenges(offered, realm)
        self._bad_token = challenges(
            offered, realm, ', error="invalid_token", error_description="The token is not valid."'
        )
        self._no_token = challenges(offered, realm, ', error="invalid_request"')

    def nothing_presented(self, scheme: str) -> Denied:
        """Return the denial of a request without credentials of an offered scheme.

        :param scheme: the first word of the Authorization field: another scheme, or a token without one.
        """
        words = [_WRITTEN[each] for each in self._offered] if scheme else []
        detail = f"Authentication is required{', written as ' if words else ''}{' or '.join(words)}."
        return self._refusal(Unauthenticated, detail, "missing", self._plain)

    def invalid(self, scheme: str) -> Denied:
        headers = self._bad_token if scheme == "bearer" else self._plain
        detail = "The token is not valid." if scheme == "bearer" else "The credentials are not valid."
        return self._refusal(Unauthenticated, detail, "invalid", headers)

    def malformed(self) -> Denied:
        """Return the denial of a bearer scheme without a token (RFC 6750, section 3.1, ``invalid_request``)."""
        return self._refusal(InvalidRequest, "The token after Bearer is missing.", "malformed", self._no_token)

    def lacks_role(self) -> Denied:
        """Return the denial of a principal without the role. ``insufficient_scope`` is for scopes, not for roles."""
        return self._refusal(InsufficientScope, "You may not do this.", "missing_role")

    def _refusal(self, kind: Callable[..., Denied], detail: str, reason: str, headers: tuple[Pair, ...] = ()) -> Denied:
        denial: Denied = ready_denial(kind, detail, self.KIND, reason, headers).copy()
        return denial


_WRITTEN = {"basic": "'Authorization: Basic CREDENTIALS'", "bearer": "'Authorization: Bearer TOKEN'"}


def challenges(schemes: Iterable[str], realm: str, bearer_error: str = "") -> tuple[Pair, ...]:
    """Return a WWW-Authenticate field for each of `schemes` (RFC 9110, section 11.6.1).

    A login session has no HTTP scheme. Without another scheme the challenge is ``Session``: a 401 must carry a
    challenge, and browsers ignore unknown schemes.
    """
    shown = quoted(realm)
    words = {"basic": f'Basic realm={shown}, charset="UTF-8"', "bearer": f"Bearer realm={shown}{bearer_error}"}
    offered = tuple([("WWW-Authenticate", words[scheme]) for scheme in schemes])
    return offered or (("WWW-Authenticate", f"Session realm={shown}"),)
