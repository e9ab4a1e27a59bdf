"""`preflight`: checks that a browser lets a page of another origin make a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ..audit.preflight import Call, refusals


@dataclass(frozen=True, slots=True)
class Preflight:
    """The outcome of a preflight; true if the browser sends the call.

    :ivar problems: the reasons for which the browser does not send the call.
    :ivar response: the answer to the preflight; None for a call that browsers send without one.
    """

    problems: tuple[str, ...] = ()
    response: TestResponse | None = None

    def __bool__(self) -> bool:
        return not self.problems


def preflight(
    client: FlaskClient,
    path: str,
    *,
    origin: str,
    method: str = "GET",
    headers: str | Sequence[str] = (),
    credentials: bool = False,
) -> Preflight:
    """Send the preflight of a call, and judge the answer, as Chromium does (Fetch, section 4.8).

    ::

        assert preflight(client, "/orders", origin="https://app.example.com", method="PUT", headers=["X-API-Key"])
        assert not preflight(client, "/orders", origin="https://evil.example", method="PUT")

    The answer to the call itself is not checked: a page needs ``Access-Control-Allow-Origin`` there, too.

    :param origin: the origin of the page.
    :param headers: the names of the request fields that the page sets.
    :param credentials: whether the page sends cookies, as ``fetch(…, {credentials: "include"})`` does.
    :raises ValueError: if `origin` is not an origin.
    """
    call = Call.of(origin, method, (headers,) if isinstance(headers, str) else headers)
    if not call.needs_preflight:
        return Preflight()
    asked = call.announced(path)
    response = client.open(path, method=asked.method, headers=list(asked.headers))
    found = refusals(call, response.status_code, response.headers, credentials=credentials)
    return Preflight(tuple(each.text for each in found), response)
