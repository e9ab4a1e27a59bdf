"""`cache`: permission for caches to store a response, for a time, and its revalidation (RFC 9111)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

from werkzeug.http import is_resource_modified

from ..core.flask_versions import session_of
from ..core.policy import Phase, Policy, Scope, Step, Target
from ..errors import ConfigError
from ..support import options as check
from ..support.header_fields import append, lines_of, put
from ..support.options import option
from ..support.orders import Comparison, false_is_stronger, irrelevant
from .directives import cache_control, directives, fewer_may_store, for_one_caller

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask.sessions import SessionMixin
    from typing_extensions import Self

    from ..core.app_state import AppState
    from ..core.request_run import Run
    from ..typing import Response, TargetT

STORABLE = frozenset({200, 203, 204, 206, 300, 301, 304, 308})
"""The statuses of responses that caches may store: no errors, and no temporary redirects."""

OTHER_CONDITIONS = frozenset({"HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_RANGE"})
"""Conditions of requests that only a view can check."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cache(Policy):
    """Let caches store a response for a time: ``@cache("public, max-age=300", etag=True)``.

    The policy acts on successful answers to GET and HEAD, with a status such as 200, 204 or 301. ``no-store`` acts on
    every answer, errors included. A ``Cache-Control`` of the view wins over this policy, and this policy wins over
    ``secure_headers``. A response with a nonce is never stored.

    A response for one caller is never shared: ``private`` replaces ``public`` and ``s-maxage``. Such a response:

    - answers a request with ``Authorization``, or with a recognised API key or principal,
    - comes from a view that read or changed the session, or
    - sets a cookie, such as that of a permanent session, which Flask renews.

    A view that reads other cookies must set ``private`` itself.

    With ``etag=True`` a response gets an entity tag, a hash of its body. A client that has the response already gets a
    304 without a body, although the view runs. ``compress`` makes the tag weak. A stream gets no tag.
    """

    kind: ClassVar[str] = "cache"
    phase: ClassVar[Phase] = Phase.PRECONDITION
    """A 304 answers a precondition, and ``compress`` and ``secure_headers`` act on the response after it."""
    presence: ClassVar[Comparison] = "same"

    control: str | None = option(None, check.optional(cache_control), fewer_may_store)
    etag: bool = option(False, check.flag, irrelevant)
    for_everyone: bool = option(False, check.flag, false_is_stronger)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(self, control: str | None = None, /, *, etag: bool = False, for_everyone: bool = False) -> Cache: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param control: the directives of ``Cache-Control``, such as ``"public, max-age=300"``, ``"no-cache"`` or
            ``"no-store"``. Seconds are whole numbers.
        :param etag: give responses an entity tag, and answer 304 to a client that has the response already.
        :param for_everyone: send the directives as written to recognised callers, too. The response must be the same
            for every caller.
        :raises ConfigError: for an unknown directive, and for directives that contradict each other.
        """
        return Policy.__call__(self, *args, **options)

    def __post_init__(self) -> None:
        Policy.__post_init__(self)
        if self.etag and self.control == "no-store":
            raise ConfigError("cache('no-store', etag=True): a response that is not stored needs no tag. Leave one out")
        if self.for_everyone and "public" not in directives(self.control or ""):
            raise ConfigError("cache(for_everyone=True) needs 'public' among the directives: 'public, max-age=300'")

    def refine(self, *args: Any, **options: Any) -> Self:
        if len(args) == 1 and (args[0] is None or isinstance(args[0], str)):
            return super(Cache, self).refine(control=args[0], **options)
        return super(Cache, self).refine(*args, **options)

    def check_target(self, target: object) -> None:
        if self.control is None and not self.etag:
            raise ConfigError("cache needs directives or etag=True: write @cache('public, max-age=300')")

    def exposes(self, state: AppState) -> tuple[str, ...]:
        return ("ETag",) if self.etag else ()

    def applies(self, target: Target, scope: Scope) -> bool:
        return not (target.automatic or target.preflight)

    def compile_key(self, target: Target, place: Scope) -> Hashable | None:
        return target.counted_method

    def compile(self, target: Target) -> Step:
        if self.control == "no-store":
            return Step(leave=_no_store)
        if target.counted_method != "GET":
            return Step()
        etag = self.etag
        write = _writer(self.control, for_everyone=self.for_everyone) if self.control is not None else None

        def leave(run: Run, response: Response) -> None:
            status = response.status_code
            if status not in STORABLE:
                return
            if write is not None:
                write(run, response)
            if etag and status == 200:
                _revalidate(run, response)

        return Step(leave=leave)


def _no_store(_run: Run, response: Response) -> None:
    if not lines_of(response.headers, "cache-control"):
        append(response.headers, (("Cache-Control", "no-store"),))


def _writer(control: str, *, for_everyone: bool) -> Callable[[Run, Response], None]:
    """Return the step that writes the field, unless the view has, and keeps a response for one caller private.

    Later policies and hooks may still make the response personal, so the check runs on the outgoing response.
    """
    public, written = ("Cache-Control", control), directives(control).items()

    def keep_private(run: Run, response: Response) -> None:
        value = response.headers.get("Cache-Control", "")
        is_ours = value == control or written <= directives(value).items()  # a hook may have added directives
        if is_ours and _is_personal(run, response):
            put(response.headers, ("Cache-Control", for_one_caller(value)))

    shown_out = () if for_everyone or for_one_caller(control) == control else (keep_private,)

    def write(run: Run, response: Response) -> None:
        if not lines_of(response.headers, "cache-control"):
            append(response.headers, (public,))
            run.outgoing += shown_out

    return write


def _is_personal(run: Run, response: Response) -> bool:
    """Return whether `response` was made for a credential.

    It was if a policy recognised the caller, if the request has ``Authorization``, if the app looked at the session or
    changed it, and if the response sets a cookie. Flask sets the cookie of the session later.
    """
    if run.identities or "HTTP_AUTHORIZATION" in run.request.environ:
        return True
    session = session_of(run.context)
    if session is not None and (session.accessed or session.modified or _renews_cookie(run, session)):
        return True
    return bool(lines_of(response.headers, "set-cookie"))


def _renews_cookie(run: Run, session: SessionMixin) -> bool:
    """Return whether the response carries the session's cookie once more, as it does for a permanent session."""
    app, was_accessed = run.state.app, session.accessed
    renews = app.session_interface.should_set_cookie(app, session)
    session.accessed = was_accessed  # Flask before 3.1.3 takes this question for an access, and varies the response
    return renews


def _revalidate(run: Run, response: Response) -> None:
    """Give a response an entity tag, and make it a 304 if the client has it.

    A tag of the view stays. A stream gets no tag, because the tag needs the whole body.
    """
    if type(response.response) is list and not response.direct_passthrough:
        response.add_etag()
    environ = run.request.environ
    if _asks_for_news(environ) and not is_resource_modified(
        environ, response.headers.get("ETag"), None, response.headers.get("Last-Modified")
    ):
        response.status_code = 304


def _asks_for_news(environ: WSGIEnvironment) -> bool:
    asks = "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MODIFIED_SINCE" in environ
    return asks and OTHER_CONDITIONS.isdisjoint(environ)


cache: Cache = Cache()
