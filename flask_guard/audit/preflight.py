"""A browser's preflight, sent and judged as Chromium does (Fetch, section 3.2).

The document of :mod:`flask_guard.audit.explain` for the OPTIONS request gets one more member::

    "preflight": {"origin": "https://app.example.com", "method": "PUT", "headers": ["x-tenant"], "is_sent": true,
                  "allowed": false, "with_credentials": false, "problems": ["…"], "fix": ["…"],
                  "request": {"status": 401, "readable": true}}

``is_sent`` is false for a request that a browser sends without a preflight, such as a plain GET. ``request`` is about
the announced request, whose answer must carry CORS headers, too. ``readable`` tells whether the page can read the
answer, and is null if the view that would decide did not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask
from werkzeug.datastructures import Headers

from .explain import RunView, explain
from .rehearsal import Asked
from .wording import short_site

SAFELISTED_METHODS = frozenset(("GET", "HEAD", "POST"))
SAFELISTED_HEADERS = frozenset(("accept", "accept-language", "content-language", "range"))
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[^/\s?#@]+")


@dataclass(frozen=True, slots=True)
class Call:
    """A call by a page of `origin`.

    :ivar headers: the names of the request fields that the page sets, in lower case and sorted, as browsers list them.
    """

    origin: str
    method: str
    headers: tuple[str, ...] = ()

    @classmethod
    def of(cls, origin: str, method: str, headers: Sequence[str] = ()) -> Call:
        """Return the call, normalised as browsers do.

        :raises ValueError: if `origin` is not an origin.
        """
        if not _ORIGIN.fullmatch(origin.lower()):
            raise ValueError(f"{origin!r} is not an origin: write scheme://host[:port], without a path")
        names = {name.strip().lower() for each in headers for name in each.split(",") if name.strip()}
        return cls(origin.lower(), method.upper(), tuple(sorted(names - SAFELISTED_HEADERS)))

    @property
    def needs_preflight(self) -> bool:
        """Return whether browsers send a preflight before the call."""
        return self.method not in SAFELISTED_METHODS or bool(self.headers)

    def announced(self, path: str) -> Asked:
        listed = (("Access-Control-Request-Headers", ",".join(self.headers)),) if self.headers else ()
        fields = (("Origin", self.origin), ("Access-Control-Request-Method", self.method), *listed)
        return Asked("OPTIONS", path, fields)


def explain_preflight(
    app: Flask, call: Call, path: str, *, run_view: RunView = "if safe", headers: tuple[tuple[str, str], ...] = ()
) -> dict[str, Any]:
    """Return the explanation of a preflight, the verdict of a browser, and the remedy of a refusal.

    :param headers: further fields of the announced request, such as credentials.
    :raises ConfigError: if a mistake keeps the app from serving.
    """
    document = explain(app, call.announced(path), run_view="always" if run_view == "if safe" else run_view)
    if "answer" not in document:
        return document
    answered = Headers(document["answer"]["headers"])
    request = explain(app, Asked(call.method, path, (("Origin", call.origin), *headers)), run_view=run_view)
    problems = list(_problems(call, document["answer"], answered, request)) if call.needs_preflight else []
    fields = Headers(request["answer"]["headers"])
    readable = _joined(fields, "Access-Control-Allow-Origin") in (call.origin, "*")
    has_policy = any(each["name"] == "cors" for each in request["policies"])
    is_open = request["view"]["outcome"] == "left out" and not has_policy  # the view or a decorator may add the fields
    if not readable and not is_open and not problems:
        problems.append(
            _Problem(f"The answer to the {call.method} itself does not let {call.origin} read it.", "origin")
        )
    judged = fields if not call.needs_preflight else answered
    document["preflight"] = {
        "origin": call.origin,
        "method": call.method,
        "headers": list(call.headers),
        "is_sent": call.needs_preflight,
        "allowed": not problems,
        "with_credentials": not problems and _allows_credentials(call, judged, fields),
        "problems": [each.text for each in problems],
        "fix": list(dict.fromkeys(each.fix(call, request, document) for each in problems)),
        "request": {"status": request["answer"]["status"], "readable": None if is_open and not readable else readable},
    }
    return document


@dataclass(frozen=True, slots=True)
class _Problem:
    """A reason for which a browser refuses a call.

    :ivar about: the part of the CORS policy that decides.
    :ivar missing: the names that the part lacks.
    """

    text: str
    about: str
    missing: tuple[str, ...] = ()

    def fix(self, call: Call, request: Mapping[str, Any], preflight: Mapping[str, Any]) -> str:
        policy = next((each for each in request["policies"] if each["name"] == "cors"), None)
        foreign = next((each for each in request["others"] if each["purpose"] == "cors"), None)
        if self.about == "routing":
            return f"Add the method to a rule of the path: methods=['{call.method}']."
        if self.about == "status":
            return " ".join(preflight["decision"]["fix"]) or "Let OPTIONS through in the code that answered."
        if policy is None and foreign is None:
            where = request["routing"]["endpoint"] or "the app"
            return f"Write @cors(origins=['{call.origin}']) on {where}, its blueprint or the app."
        place = f"at {short_site(policy['site'])}" if policy else f"of Flask-CORS ({foreign and foreign['detail']})"
        if self.about == "methods":
            return f"Add '{call.method}' to methods=… of cors {place}, or leave methods out."
        if self.about == "headers":
            return f"Add {', '.join(map(repr, self.missing))} to allow_headers=… of cors {place}."
        return f"Add '{call.origin}' to origins=… of cors {place}."


def _problems(call: Call, answer: Mapping[str, Any], fields: Headers, request: Mapping[str, Any]) -> Iterator[_Problem]:
    """Yield the reasons for which a browser refuses, in the order of its checks."""
    if request["routing"]["outcome"] in ("no rule", "wrong method"):
        yield _Problem(request["routing"]["text"], "routing")
        return
    listed = next((each["options"].get("methods") for each in request["policies"] if each["name"] == "cors"), None)
    for each in refusals(call, answer["status"], fields):
        if each.about == "origin" and listed and call.method not in listed:
            yield _Problem(f"cors lists the methods {', '.join(listed)}, and not {call.method}.", "methods")
        else:
            yield each


def refusals(call: Call, status: int, fields: Headers, *, credentials: bool = False) -> Iterator[_Problem]:
    """Yield the reasons for which a browser sends no call after the answer to its preflight (Fetch, section 4.8).

    :param credentials: whether the call carries cookies or other credentials. Then ``*`` is not a wildcard.
    """
    wildcard = set() if credentials else {"*"}
    sent = _joined(fields, "Access-Control-Allow-Origin")
    allows_origin, is_ok = sent in {call.origin, *wildcard}, 200 <= status <= 299
    if not allows_origin:
        found = f"names {sent}" if sent else "is missing"
        yield _Problem(f"Access-Control-Allow-Origin {found}: {call.origin} is not allowed.", "origin")
    elif credentials and _joined(fields, "Access-Control-Allow-Credentials") != "true":
        yield _Problem("Access-Control-Allow-Credentials is not true.", "credentials")
    if not is_ok:
        yield _Problem(f"The preflight is answered with {status}; it needs a status from 200 to 299.", "status")
    if not allows_origin or not is_ok:
        return
    methods = _listed(fields, "Access-Control-Allow-Methods")
    if call.method not in methods | SAFELISTED_METHODS and wildcard.isdisjoint(methods):
        yield _Problem(f"Access-Control-Allow-Methods does not list {call.method}.", "methods")
    allowed = {name.lower() for name in _listed(fields, "Access-Control-Allow-Headers")}
    covers = not wildcard.isdisjoint(allowed)
    missing = tuple(name for name in call.headers if name not in allowed and not (covers and name != "authorization"))
    if missing:
        yield _Problem(f"Access-Control-Allow-Headers does not list {', '.join(missing)}.", "headers", missing)


def _joined(fields: Headers, name: str) -> str:
    """Return the values of equal names as browsers join them; an empty string without any."""
    return ", ".join(fields.getlist(name))


def _listed(fields: Headers, name: str) -> set[str]:
    return {each.strip() for each in _joined(fields, name).split(",") if each.strip()}


def _allows_credentials(call: Call, *answers: Headers) -> bool:
    return all(
        _joined(each, "Access-Control-Allow-Origin") == call.origin
        and _joined(each, "Access-Control-Allow-Credentials") == "true"
        and "*" not in _listed(each, "Access-Control-Allow-Headers") | _listed(each, "Access-Control-Allow-Methods")
        for each in answers
    )
