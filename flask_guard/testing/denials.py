"""`assert_denied`: checks that the expected policy denied a request."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, ref

from flask import Flask, request, request_started
from werkzeug.test import TestResponse

from ..audit.rehearsal import Asked
from ..cli.explain import text_of
from ..core.denials import Denied
from ..core.policy import Policy
from ..signals import request_denied


class _Watch:
    """Remembers the denials and the apps of this process, by the body streams of their requests.

    A response of the test client has a copy of the request's environment, with the same stream. Apps and tracebacks are
    not kept, as they refer to the stream, which would then never be freed.
    """

    def __init__(self) -> None:
        self._denials: WeakKeyDictionary[Any, Denied] = WeakKeyDictionary()
        self._apps: WeakKeyDictionary[Any, ref[Flask]] = WeakKeyDictionary()
        request_denied.connect(self._note, weak=False)
        request_started.connect(self._note_app, weak=False)

    def _note(self, _app: object, *, denial: Denied, request: Any, **_more: object) -> None:
        kept = type(denial).__new__(type(denial))
        vars(kept).update(vars(denial))
        self._denials[request.environ["wsgi.input"]] = kept

    def _note_app(self, app: Flask, **_more: object) -> None:
        stream = request.environ["wsgi.input"]
        self._denials.pop(stream, None)  # of an earlier request with the same environment
        self._apps[stream] = ref(app)

    def denial_of(self, response: TestResponse) -> Denied | None:
        return self._denials.get(response.request.environ["wsgi.input"])

    def explanation_of(self, response: TestResponse) -> str:
        """Return the explanation of the request of a response, or an empty string if the app is unknown."""
        asked = response.request
        known = self._apps.get(asked.environ["wsgi.input"])
        app = known() if known is not None else None
        if app is None:
            return ""
        address = asked.environ.get("REMOTE_ADDR", "127.0.0.1")
        return text_of(app, Asked(asked.method, asked.full_path, tuple(asked.headers), address=address))


_watch = _Watch()


def assert_denied(
    response: TestResponse,
    *,
    by: Policy | str | None = None,
    status: int | None = None,
    reason: str | None = None,
) -> Denied:
    """Check that a policy denied the request of `response`, and return the denial.

    ::

        assert_denied(client.post("/orders"), by=require_api_key, reason="missing")

    A 403 of the app itself fails the check. Import ``assert_denied`` before the request is sent.

    :param response: a response of the test client.
    :param by: the expected kind of policy, as a policy or a name such as ``"limit"``.
    :param status: the expected status of the response.
    :param reason: the expected code of the reason, such as ``"missing"``, as in logs and metrics.
    :raises AssertionError: if no policy denied the request, or another policy, status or reason than expected.
    """
    __tracebackhide__ = True
    sent = f"{response.request.method} {response.request.path}"
    denial = _watch.denial_of(response)
    if denial is None:
        fact = f"{sent} was not denied by any policy; the answer was {response.status}"
        raise AssertionError(f"{fact}\n\n{_watch.explanation_of(response)}".rstrip())
    kind = by.name if isinstance(by, Policy) else by
    found = f"{sent} was denied by {denial.policy} ({denial.reason}) with {response.status}"
    if kind is not None and denial.policy != kind:
        raise AssertionError(f"{found}, and not by {kind}")
    if reason is not None and denial.reason != reason:
        raise AssertionError(f"{found}, and not because of {reason!r}")
    if status is not None and response.status_code != status:
        raise AssertionError(f"{found}, and not with {status}")
    return denial
