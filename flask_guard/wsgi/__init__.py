"""Layers below Flask, for any WSGI application. The modules import neither Flask nor the rest of the package."""

from .headers import Headers
from .middleware import Layer, Middleware, stack
from .request_ids import RequestID, RequestIds
from .rewrite_body import NotRewritten, RewriteBody
from .timing import Timing
from .typing import Answer, Ending, HeaderList, Incremental

__all__ = [
    "Answer",
    "Ending",
    "HeaderList",
    "Headers",
    "Incremental",
    "Layer",
    "Middleware",
    "NotRewritten",
    "RequestID",
    "RequestIds",
    "RewriteBody",
    "Timing",
    "stack",
]
