"""What works below Flask, on any WSGI application. Its modules import neither Flask nor the rest of the package."""

from .headers import Headers
from .middleware import Middleware
from .request_id import RequestID
from .rewrite_body import NotRewritten, RewriteBody
from .stack import Layer, stack
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
    "RewriteBody",
    "Timing",
    "stack",
]
