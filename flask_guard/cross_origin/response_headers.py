"""The CORS headers of one compiled policy, computed by Flask-CORS.

Flask-CORS guesses which strings are regular expressions, and matches those unanchored. So an origin is matched here
first. Flask-CORS is then asked about that one origin, as a literal that it cannot mistake.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from flask_cors import core as flask_cors
from werkzeug.datastructures import Headers

from ..support.header_fields import Pair, add_vary, append, drop, field_names
from .origins import ANY, Origins

if TYPE_CHECKING:
    from ..core.request_run import Run
    from ..typing import Response

_TOKEN = re.compile(r"[!#%&'+._`|~0-9A-Za-z-]{1,128}")
"""A header name (RFC 9110, section 5.1), without the characters that Flask-CORS would take for a regular expression."""
MOST_REQUESTED = 64
"""How many names of ``Access-Control-Request-Headers`` are looked at."""
_OWN = frozenset(
    f"access-control-{name}"
    for name in ("allow-origin", "allow-credentials", "expose-headers", "allow-methods", "allow-headers", "max-age")
)


ByExposed: TypeAlias = dict[tuple[str, ...], list[Pair]]
"""The headers of a response, by the fields that it exposes beyond the policy's own."""


class Engine:
    """Writes the CORS headers of one compiled policy."""

    def __init__(
        self,
        origins: Origins,
        *,
        allow_headers: tuple[str, ...],
        expose_headers: tuple[str, ...],
        credentials: bool,
        max_age: int | None,
    ) -> None:
        self._origins = origins
        self._any_header = "*" in allow_headers
        self._named_headers = {name.lower(): name for name in allow_headers if name != "*"}
        self._raw = {
            **flask_cors.DEFAULT_OPTIONS,
            "expose_headers": list(expose_headers) or None,
            "supports_credentials": credentials,
            "max_age": None if max_age is None else str(max_age),  # Flask-CORS would leave a 0 out
            "send_wildcard": origins is ANY,
            "always_send": origins is ANY,
            "vary_header": False,
        }
        self._expose = expose_headers
        self._any = self._for("*") if origins is ANY else None
        self._exact = {origin: self._for(origin) for origin in origins.exact}

    def write(self, run: Run, response: Response) -> None:
        """Write the headers of an ordinary response. The page may also read the fields that the run says."""
        allowed = self._any
        if allowed is None:
            origin: str = run.request.environ.get("HTTP_ORIGIN", "")
            allowed = self._exact.get(origin)
            if allowed is None:
                allowed = self._for(origin) if origin and self._origins.allow(origin) else {(): []}
        self._set(response, allowed.get(run.exposed) or self._exposing(allowed, run.exposed))

    def write_preflight(self, run: Run, response: Response, methods: tuple[str, ...] | None) -> None:
        """Write the headers of the answer to a preflight.

        :param methods: the methods to allow; None if the path lacks the announced one.
        """
        environ = run.request.environ
        origin: str = environ.get("HTTP_ORIGIN", "")
        allowed = origin and (self._origins is ANY or self._origins.allow(origin))
        if not allowed or methods is None:
            self._set(response, [])
            return
        requested = self._allowed_headers(environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", ""))
        asked = Headers(
            {
                "Origin": "*" if self._origins is ANY else origin,
                "Access-Control-Request-Method": environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"],
                "Access-Control-Request-Headers": ", ".join(requested),
            }
        )
        self._set(response, self._compute(asked, "OPTIONS", methods=list(methods), allow_headers=requested))

    def _allowed_headers(self, requested: str) -> list[str]:
        """Return those of the requested names that are allowed, and well-formed."""
        names = [name.strip() for name in requested.split(",")[:MOST_REQUESTED]]
        return [
            name
            for name in dict.fromkeys(names)
            if _TOKEN.fullmatch(name)
            and (name.lower() in self._named_headers or (self._any_header and name.lower() != "authorization"))
        ]

    def _for(self, origin: str) -> ByExposed:
        return {(): self._compute(Headers({"Origin": origin}), "GET")}

    def _exposing(self, allowed: ByExposed, exposed: tuple[str, ...]) -> list[Pair]:
        """Return the headers that expose further fields, computed at the first response that has those."""
        origin = next((value for name, value in allowed[()] if name == "Access-Control-Allow-Origin"), None)
        if origin is None:
            return allowed[()]
        names = list(dict.fromkeys((*self._expose, *exposed)))
        pairs = allowed[exposed] = self._compute(Headers({"Origin": origin}), "GET", expose_headers=names)
        return pairs

    def _compute(self, asked: Headers, method: str, **options: Any) -> list[Pair]:
        literal = "*" if self._origins is ANY else _literal(asked["Origin"])
        settings = flask_cors.serialize_options({**self._raw, "origins": [literal], **options})
        computed = flask_cors.get_cors_headers(settings, asked, method)
        return [(name, str(value)) for name, value in computed.items(multi=True)]

    def _set(self, response: Response, pairs: list[Pair]) -> None:
        """Write `pairs`; what a view wrote of these headers by hand gives way, so that there is never a second one."""
        headers = response.headers
        present = field_names(headers)
        if not present.isdisjoint(_OWN):
            drop(headers, _OWN)
        append(headers, pairs)
        if self._any is None:
            if "vary" in present:
                add_vary(headers, "Origin")
            else:
                append(headers, _VARY)
        setattr(response, flask_cors.FLASK_CORS_EVALUATED, True)  # an app-wide Flask-CORS leaves it alone then


_VARY = (("Vary", "Origin"),)


def _literal(origin: str) -> str | re.Pattern[str]:
    """Return `origin` as what Flask-CORS takes literally: the brackets of an IPv6 host look like a pattern to it."""
    return re.compile(re.escape(origin) + r"\Z", re.IGNORECASE) if "[" in origin else origin
