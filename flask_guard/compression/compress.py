"""`compress`: responses in fewer bytes, by Flask-Compress (RFC 9110, section 8.4)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, overload

from flask import Request

from ..core.app_state import AppState
from ..core.policy import Phase, Policy, Scope, Step, Target
from ..core.request_run import Run
from ..errors import ConfigError
from ..support import options as check
from ..support.extras import extra
from ..support.header_fields import add_vary, append, drop, field_names
from ..support.http_credentials import has_ambient_credentials
from ..support.options import option
from ..support.orders import Comparison, false_is_stronger, irrelevant
from ..support.request_body import has_body
from ..support.text import did_you_mean, names
from ..typing import Response, TargetT
from ..wsgi.fields import OF_BODY
from .codings import chooser
from .streams import CODINGS as STREAM_CODINGS
from .streams import CompressedStream, encoder

CODINGS = ("zstd", "br", "gzip", "deflate")
NOT_WHOLE = frozenset({"content-encoding", "content-range", "x-sendfile", "x-accel-redirect"})
"""Fields (lower case) of responses whose body is encoded, partial, or sent by the server."""


def _codings(value: Any, what: str) -> tuple[str, ...]:
    """Check for content codings."""
    found = check.listed(value)
    for each in found:
        if each not in CODINGS:
            hint = did_you_mean(each, CODINGS) if isinstance(each, str) else ""
            raise ConfigError(f"{what} has no coding {each!r}{hint or '.'} Choose from {names(CODINGS)}")
    if not found:
        raise ConfigError(f"{what} is empty. Name codings, such as ['br', 'gzip'], or leave the option out")
    return found


def _types(value: Any, what: str) -> tuple[str, ...]:
    """Check for content types without parameters."""
    found = check.listed(value)
    for each in found:
        if not isinstance(each, str) or each.count("/") != 1 or ";" in each or "*" in each or " " in each:
            raise ConfigError(
                f"{what}: {each!r} is not a content type; write one such as text/html, without parameters"
            )
    return tuple(each.lower() for each in found)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Compress(Policy):
    """Compress responses: ``compress``. Needs the extra ``compress``, Flask-Compress.

    The configuration of Flask-Compress (``COMPRESS_MIMETYPES``, ``COMPRESS_ALGORITHM``, ``COMPRESS_LEVEL``,
    ``COMPRESS_MIN_SIZE`` and so on) holds, unless an option replaces a value. Its cache (``COMPRESS_CACHE_BACKEND``) is
    not used. The extension need not be set up.

    Each response that may be compressed has ``Vary: Accept-Encoding``. A strong ``ETag`` becomes a weak one, which a
    client can revalidate in any coding. Parts of a file (206), encoded responses, and responses with ``Cache-Control:
    no-transform`` stay unchanged.

    A stream is not collected: each chunk is sent without delay, and can be read when it arrives.

    **Secrets.** A compressed text with repetitions is shorter. Suppose that a page shows input (a search word) beside a
    secret (a CSRF token). A foreign page lets the browser send guesses, and an eavesdropper learns from the sizes of
    the encrypted responses which guess is right, letter by letter. The attack is called BREACH, and https does not
    prevent it. Therefore a response is not compressed if the request has all of:

    - credentials that browsers add automatically: a cookie or HTTP authentication. A key or a token is safe.
    - input that could be repeated: a query string, a body, or text in the path (numbers are safe).
    - a foreign or unknown origin: ``Sec-Fetch-Site`` is not ``same-origin`` or ``none``.

    Files repeat no input, so they are compressed. ``force=True`` compresses everything: use it for a view that shows no
    secret, or no input.
    """

    kind: ClassVar[str] = "compress"
    phase: ClassVar[Phase] = Phase.HEADERS
    presence: ClassVar[Comparison] = "same"

    algorithms: tuple[str, ...] | None = option(None, check.optional(_codings), irrelevant)
    content_types: tuple[str, ...] | None = option(None, check.optional(_types), irrelevant)
    min_size: int | None = option(None, check.optional(check.whole_number(0, "bytes")), irrelevant)
    streams: bool = option(True, check.flag, irrelevant)
    force: bool = option(False, check.flag, false_is_stronger)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        *,
        algorithms: str | Iterable[str] | None = None,
        content_types: str | Iterable[str] | None = None,
        min_size: int | None = None,
        streams: bool = True,
        force: bool = False,
    ) -> Compress: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param algorithms: the content codings to offer, the preferred one first: ``"zstd"``, ``"br"``, ``"gzip"``,
            ``"deflate"``. Streams are never sent as zstd. By default ``COMPRESS_ALGORITHM``.
        :param content_types: the content types to compress, exact and without parameters. By default
            ``COMPRESS_MIMETYPES``: text, JSON, scripts, fonts and the like.
        :param min_size: the smallest response to compress, in bytes. By default ``COMPRESS_MIN_SIZE``, 500.
        :param streams: compress streams, too.
        :param force: compress responses that may have a secret beside input of the request; see the class.
        :raises ConfigError: for an unknown coding or a malformed content type. Applying the policy without
            Flask-Compress raises it, too.
        """
        return Policy.__call__(self, *args, **options)

    def check_app(self, state: AppState) -> None:
        with extra("compress", "Flask-Compress", "compress"):
            import flask_compress  # noqa: F401

    def applies(self, target: Target, scope: Scope) -> bool:
        return not (target.automatic or target.preflight)

    def compile_key(self, target: Target, place: Scope) -> Hashable | None:
        return ()

    def compile(self, target: Target) -> Step:
        return Step(leave=_Compressor(self, target.app.config).leave)

    def settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of Flask-Compress for this policy."""
        own = {
            "COMPRESS_ALGORITHM": self.algorithms,
            "COMPRESS_MIMETYPES": self.content_types,
            "COMPRESS_MIN_SIZE": self.min_size,
        }
        given = {key: value for key, value in config.items() if key.startswith("COMPRESS_")}
        return {
            **given,
            **{key: value for key, value in own.items() if value is not None},
            "COMPRESS_REGISTER": False,
            "COMPRESS_CACHE_BACKEND": None,
            "COMPRESS_EVALUATE_CONDITIONAL_REQUEST": False,
        }


class _Compressor:
    """A compiled policy.

    Flask-Compress compresses complete bodies, in the coding that is chosen here. Streams are compressed here.
    """

    def __init__(self, policy: Compress, config: Mapping[str, Any]) -> None:
        from flask_compress import Compress as FlaskCompress

        app: Any = SimpleNamespace(config=policy.settings(config))  # with the configuration of this policy
        self._engine: Callable[[Response], Response] = FlaskCompress(app).after_request
        self._config: Mapping[str, Any] = app.config
        codings = app.config["COMPRESS_ALGORITHM"]
        codings = tuple(each.strip() for each in codings.split(",")) if isinstance(codings, str) else tuple(codings)
        self._choose = chooser(codings)
        self._choose_for_stream = chooser(tuple(each for each in codings if each in STREAM_CODINGS))
        self._types = frozenset(app.config["COMPRESS_MIMETYPES"])
        self._min_size: int = app.config["COMPRESS_MIN_SIZE"]
        self._streams = policy.streams
        self._force = policy.force

    def leave(self, run: Run, response: Response) -> None:
        """Compress a response, if it may be compressed and the client accepts a coding."""
        if not self._may_be_compressed(response):
            return
        headers, environ = response.headers, run.request.environ
        add_vary(headers, "Accept-Encoding")
        choose = self._choose_for_stream if response.is_streamed else self._choose
        coding = choose(environ.get("HTTP_ACCEPT_ENCODING", ""))
        if coding is None or "no-transform" in ",".join(headers.getlist("Cache-Control")).lower():
            return
        if not self._force and _may_reveal(run, response):
            return
        tag = response.get_etag()[0]
        drop(headers, ("etag",))  # Flask-Compress would add the coding to it, and fail on a malformed one
        if response.status_code != 304:
            self._compress(run, response, coding)
        if tag is not None:
            append(headers, (("ETag", f'W/"{tag}"'),))

    def _may_be_compressed(self, response: Response) -> bool:
        status, headers = response.status_code, response.headers
        if status != 304 and (not 200 <= status < 300 or status in (204, 206)):
            return False
        if headers.get("Content-Type", "").partition(";")[0].strip().lower() not in self._types:
            return False
        if not field_names(headers).isdisjoint(NOT_WHOLE):
            return False
        if status == 304:
            return True
        if response.is_streamed and not self._streams:
            return False
        size = response.content_length if response.is_streamed else response.calculate_content_length()
        return size is None or size >= self._min_size

    def _compress(self, run: Run, response: Response, coding: str) -> None:
        drop(response.headers, OF_BODY)
        if response.is_streamed:
            self._compress_stream(response, coding)
        else:
            self._compress_whole(run, response, coding)

    def _compress_whole(self, run: Run, response: Response, coding: str) -> None:
        environ = run.request.environ
        accepted = environ["HTTP_ACCEPT_ENCODING"]
        environ["HTTP_ACCEPT_ENCODING"] = coding  # Flask-Compress reads it
        try:
            self._engine(response)
        finally:
            environ["HTTP_ACCEPT_ENCODING"] = accepted

    def _compress_stream(self, response: Response, coding: str) -> None:
        is_file = response.direct_passthrough
        response.direct_passthrough = False
        body, chunks = response.response, response.iter_encoded()
        response.response = CompressedStream(body, chunks, encoder(coding, self._config), at_once=not is_file)
        append(response.headers, (("Content-Encoding", coding),))


def _may_reveal(run: Run, response: Response) -> bool:
    """Return whether a foreign page may have chosen input that the response repeats beside the user's secrets.

    Such a request has credentials that the browser adds automatically, input other than a number in the path, and an
    origin that is not the app's own. A file repeats no input.
    """
    request = run.request
    environ = request.environ
    if response.direct_passthrough or not has_ambient_credentials(environ):
        return False
    if environ.get("HTTP_SEC_FETCH_SITE") in ("same-origin", "none"):
        return False
    if environ.get("QUERY_STRING") or request.url_rule is None or _has_body(request):
        return True
    return any(not isinstance(value, (int, float)) for value in (request.view_args or {}).values())


def _has_body(request: Request) -> bool:
    """Return whether a foreign page may have sent a body. Browsers send none with GET and HEAD."""
    found = has_body(request.environ)
    return request.method not in ("GET", "HEAD") if found is None else found


compress: Compress = Compress()
