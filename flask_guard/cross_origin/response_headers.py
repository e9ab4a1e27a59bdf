"""The CORS headers of one compiled policy, computed by Flask-CORS.

Flask-CORS guesses which strings are regular expressions, and matches those unanchored. So origins, methods and header
names are matched here. Flask-CORS is asked once, about one literal origin, when the policy is compiled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask_cors import core as flask_cors
from werkzeug.datastructures import Headers

from ..core.request_run import Run
from ..support.header_fields import Pair, add_vary, append, drop, finder, pairs_of
from ..support.origins import ANY, Origins
from ..typing import Response

ALLOW_ORIGIN = "Access-Control-Allow-Origin"
ALLOW_METHODS = "Access-Control-Allow-Methods"
ALLOW_HEADERS = "Access-Control-Allow-Headers"
OWN_NAMES = frozenset(
    f"access-control-{name}"
    for name in ("allow-origin", "allow-credentials", "expose-headers", "allow-methods", "allow-headers", "max-age")
)
BY_POLICY = "flask_guard"
"""The mark on a response whose headers a policy has written. Flask-CORS leaves a response with any mark alone."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
"""A header name or a method (RFC 9110, sections 5.1 and 9.1)."""
MOST_REQUESTED = 64
"""Names in ``Access-Control-Request-Headers`` beyond which none is allowed."""
MOST_PREFLIGHTS = 64
"""Preflights whose answers are kept. Browsers send few different ones to an endpoint."""
LONGEST_KEPT = 256
"""Characters of ``Access-Control-Request-Headers`` beyond which an answer is not kept."""
_PROBE = "https://origin.example"


def own_pairs(headers: Headers) -> list[Pair]:
    """Return the CORS headers among `headers`, the first of each name."""
    found: dict[str, Pair] = {}
    for pair in pairs_of(headers):
        if pair[0].lower() in OWN_NAMES:
            found.setdefault(pair[0].lower(), pair)
    return list(found.values())


find_fields: Callable[[Headers], Mapping[str, list[int]]] = finder("vary", *OWN_NAMES)
"""Finds the headers that a policy writes: where each stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsOptions:
    """The options of a policy on an app, all of them settled. :class:`~flask_guard.Cors` explains them."""

    origins: Origins
    methods: tuple[str, ...] | None
    allow_headers: tuple[str | re.Pattern[str], ...]
    expose_headers: tuple[str, ...]
    credentials: bool
    max_age: int | None
    reject_unlisted: bool


class Engine:
    """Writes the CORS headers of one compiled policy.

    :param exposes: the response fields that other policies declare.
    """

    def __init__(self, options: CorsOptions, exposes: tuple[str, ...]) -> None:
        allow_headers, max_age = options.allow_headers, options.max_age
        self._origins = options.origins
        self._is_open = options.origins is ANY
        self._any_header = "*" in allow_headers
        self._named_headers = {name.lower() for name in allow_headers if isinstance(name, str) and name != "*"}
        self._header_patterns: list[re.Pattern[str]] = [each for each in allow_headers if isinstance(each, re.Pattern)]
        self._expose = ("*",) if "*" in options.expose_headers else (*options.expose_headers, *exposes)
        self._options = {
            **flask_cors.DEFAULT_OPTIONS,
            "origins": [_PROBE],
            "methods": ["GET"],
            "supports_credentials": options.credentials,
            "max_age": None if max_age is None else str(max_age),  # Flask-CORS would leave a 0 out
            "vary_header": False,
        }
        self._beside_origin: dict[tuple[str, ...], list[Pair]] = {}
        self._kept: dict[tuple[str, tuple[str, ...]], list[Pair]] = {}
        self._preflight = self._compute("OPTIONS")
        self._preflights: dict[tuple[str, tuple[str, ...], str], list[Pair]] = {}

    def pairs(self, run: Run) -> list[Pair]:
        """Return the headers of an ordinary response, ``Vary`` apart. The list is kept: do not change it."""
        origin: str = "*" if self._is_open else run.request.environ.get("HTTP_ORIGIN", "")
        kept = self._kept.get((origin, run.exposed))
        return self._pairs_for(origin, run.exposed) if kept is None else kept

    def _pairs_for(self, origin: str, exposed: tuple[str, ...]) -> list[Pair]:
        """Return the headers for an origin. Those for an origin that the policy names are kept."""
        if not self._allows(origin):
            return []
        rest = self._beside_origin.get(exposed)
        pairs = [(ALLOW_ORIGIN, origin), *(self._exposing(exposed) if rest is None else rest)]
        if self._is_open or origin in self._origins.exact:
            self._kept[origin, exposed] = pairs
        return pairs

    def write(self, response: Response, pairs: list[Pair], found: Mapping[str, list[int]]) -> None:
        """Write `pairs` in place of all such headers, so that there is never a second one.

        :param found: the headers of the response, by `find_fields`.
        """
        headers = response.headers
        if "vary" in found and not self._is_open:
            add_vary(headers, "Origin", lines=found["vary"])
        elif not self._is_open:
            append(headers, _VARY)
        if found and not OWN_NAMES.isdisjoint(found):
            drop(headers, OWN_NAMES)
        append(headers, pairs)
        setattr(response, flask_cors.FLASK_CORS_EVALUATED, BY_POLICY)

    def write_preflight(self, run: Run, response: Response, announced: str, methods: tuple[str, ...]) -> None:
        """Write the headers of the answer to a preflight.

        :param announced: the method of the request that may follow.
        :param methods: the methods to allow.
        """
        environ = run.request.environ
        origin = "*" if self._is_open else environ.get("HTTP_ORIGIN", "")
        pairs: list[Pair] = []
        if announced and announced in methods and self._allows(origin):
            asked = (origin, methods, environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", ""))
            pairs = self._preflights.get(asked) or self._preflight_pairs(*asked)
        self.write(response, pairs, find_fields(response.headers))

    def _preflight_pairs(self, origin: str, methods: tuple[str, ...], requested: str) -> list[Pair]:
        """Return the headers that allow a request. Those of the first preflights that differ are kept."""
        values = {
            ALLOW_ORIGIN: origin,
            ALLOW_METHODS: ", ".join(methods),
            ALLOW_HEADERS: self._allowed_headers(requested),
        }
        filled = [(name, values.get(name, value)) for name, value in self._preflight]
        pairs = [pair for pair in filled if pair[1]]
        if len(self._preflights) < MOST_PREFLIGHTS and len(requested) <= LONGEST_KEPT:
            self._preflights[origin, methods, requested] = pairs
        return pairs

    def _allows(self, origin: str) -> bool:
        """Return whether pages of `origin` may read a response; an empty string stands for a request without one."""
        return self._is_open or (bool(origin) and self._origins.allow(origin))

    def _allowed_headers(self, requested: str) -> str:
        """Return the requested names that are allowed, or an empty string if they are too many."""
        if requested.count(",") >= MOST_REQUESTED:
            return ""
        asked = dict.fromkeys(name.strip() for name in requested.split(","))
        return ", ".join(name for name in asked if _TOKEN.fullmatch(name) and self._allows_header(name))

    def _allows_header(self, name: str) -> bool:
        if name.lower() in self._named_headers or any(each.fullmatch(name) for each in self._header_patterns):
            return True
        return self._any_header and name.lower() != "authorization"

    def _exposing(self, exposed: tuple[str, ...]) -> list[Pair]:
        """Return the headers that expose further fields, computed at the first response that has those."""
        names = list(dict.fromkeys(self._expose if "*" in self._expose else (*self._expose, *exposed)))
        pairs = self._beside_origin[exposed] = self._compute("GET", expose_headers=names or None)
        return pairs

    def _compute(self, method: str, **options: Any) -> list[Pair]:
        """Return the headers that Flask-CORS sends to an allowed origin, whose place is left to the first of them."""
        asked = {"Origin": _PROBE, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x"}
        settings = flask_cors.serialize_options({**self._options, **options})
        computed = flask_cors.get_cors_headers(settings, Headers(asked), method)
        pairs = [(name, str(value)) for name, value in computed.items(multi=True)]
        return pairs if method == "OPTIONS" else [pair for pair in pairs if pair[0] != ALLOW_ORIGIN]


_VARY = (("Vary", "Origin"),)


def announced_method(run: Run) -> str:
    """Return the method that a preflight announces, or an empty string if it is not one."""
    method: str = run.request.environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"].upper()
    return method if _TOKEN.fullmatch(method) else ""
