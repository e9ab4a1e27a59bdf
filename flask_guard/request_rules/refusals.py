"""Refusals with a status other than 400 and 403."""

from __future__ import annotations

from werkzeug import exceptions

from ..core.denials import Denied


class ContentTooLarge(Denied, exceptions.RequestEntityTooLarge):
    """413: the body is longer than the limit (RFC 9110, section 15.5.14)."""

    code: int = 413


class UnsupportedContentType(Denied, exceptions.UnsupportedMediaType):
    """415: the body has a content type that is not accepted (RFC 9110, section 15.5.16). Carries ``Accept``."""

    code: int = 415
