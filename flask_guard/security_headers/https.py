"""Https: the redirect to it, the flags of the session cookie, and the warning about proxies that are not trusted."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from flask import Flask, redirect
from werkzeug.wrappers import Response as WSGIResponse

from ..core.denials import Denied
from ..core.request_run import Run
from ..errors import ConfigError
from ..support.log import log

SameSite: TypeAlias = Literal["Lax", "Strict"]
PREFIX = "__Host-"


class Insecure(Denied):
    """403: the request was sent over http."""

    code: int = 403
    whatever_mode: ClassVar[bool] = True
    """The mode of `secure_headers` is about its content security policy."""


def insist_on_https(run: Run, *, redirects: bool) -> WSGIResponse | None:
    """Answer a request over http: a redirect if it reads, else a 403, as its body has been sent in the clear.

    :param redirects: whether to redirect at all.
    """
    request = run.request
    if request.scheme == "https" or run.state.app.debug:
        return None
    if redirects and request.method in ("GET", "HEAD"):
        return redirect("https" + request.url.removeprefix("http"), 308)
    raise Insecure("Send this request over https.", policy="secure_headers", reason="https")


def say_why_hsts_is_missing(run: Run) -> None:
    """Log once that a proxy seems to take https requests for an app that sees http."""
    forwarded = run.request.environ.get("HTTP_X_FORWARDED_PROTO", "").lower()
    if forwarded == "https" and run.state.once("X-Forwarded-Proto"):
        log.warning(
            "%r gets requests over http with X-Forwarded-Proto: https, which any client can send."
            " Strict-Transport-Security is left out. If a proxy of yours sends the field, trust it: app.wsgi_app ="
            " ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)",
            run.state.app.name,
        )


def protect_session_cookie(app: Flask, same_site: SameSite) -> None:
    """Set the flags of the session cookie (RFC 6265bis): Secure, HttpOnly, SameSite and the prefix ``__Host-``.

    In debug mode, the cookie must work over http, so Secure and the prefix are left out.

    :raises ConfigError: if the app's configuration says otherwise.
    """
    config = app.config
    if config["SESSION_COOKIE_HTTPONLY"] is False:
        raise ConfigError("SESSION_COOKIE_HTTPONLY is False: leave it out, so that no script can read the session")
    if config["SESSION_COOKIE_SAMESITE"] not in (None, "Lax", "Strict"):
        raise ConfigError(f"SESSION_COOKIE_SAMESITE is {config['SESSION_COOKIE_SAMESITE']!r}: leave it out, or 'Lax'")
    if config["SESSION_COOKIE_DOMAIN"] or (config["SESSION_COOKIE_PATH"] or "/") != "/":
        raise ConfigError(
            "the prefix __Host- of the session cookie needs one host and the path '/': leave SESSION_COOKIE_DOMAIN and"
            " SESSION_COOKIE_PATH out"
        )
    if not config["SESSION_COOKIE_PATH"] and config["APPLICATION_ROOT"] != "/":
        raise ConfigError(
            "the prefix __Host- of the session cookie needs the path '/', and APPLICATION_ROOT is"
            f" {config['APPLICATION_ROOT']!r}: set SESSION_COOKIE_PATH = '/' if every app of the host may get the"
            " cookie. Otherwise leave session_cookie out, and set SESSION_COOKIE_SECURE and SESSION_COOKIE_SAMESITE"
        )
    config["SESSION_COOKIE_SAMESITE"] = config["SESSION_COOKIE_SAMESITE"] or same_site
    name: str = config["SESSION_COOKIE_NAME"].removeprefix(PREFIX)
    config["SESSION_COOKIE_SECURE"] = not app.debug
    config["SESSION_COOKIE_NAME"] = name if app.debug else PREFIX + name
