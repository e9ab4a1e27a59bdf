"""flask_guard: keys, limits, CORS, security headers and request logs, on exactly the endpoints that want them.

>>> from flask import Flask
>>> from flask_guard import Guard, limit, log_timing, secure_headers
>>> app = Flask(__name__)
>>> guard = Guard(app, policies=[log_timing, secure_headers])
>>> @app.get("/orders")
... @limit("10/minute")
... def orders():
...     return []
>>> app.test_client().get("/orders").headers["X-Content-Type-Options"]
'nosniff'
"""

from __future__ import annotations

from .applying import Composition, Exemption, compose, exempt, protect
from .defer import defer
from .errors import ConfigError, GuardError, NotGuarded
from .guard import Guard
from .jwt import JWT
from .keys import ApiKey
from .log_formats import CommonLogFormatter, DevFormatter, JSONFormatter
from .middleware import Middleware, middleware
from .plan import Place, Placed, Plan
from .policies.api_key import RequireApiKey, current_api_key, require_api_key
from .policies.auth import RequireAuth, current_principal, require_auth
from .policies.auth_schemes import Principal
from .policies.ban import Ban, ban
from .policies.concurrency import ConcurrencyLimit
from .policies.cors import Cors, cors
from .policies.inline import LimitStatus
from .policies.limit import Limit, limit
from .policies.log_timing import LogTiming, log_timing
from .policies.metrics import Metrics, metrics, metrics_view
from .policies.secure_headers import SecureHeaders, secure_headers
from .policies.server_timing import timing
from .policy import DenyingPolicy, Phase, Policy, Step
from .problems import (
    Banned,
    Denied,
    InsufficientScope,
    InvalidRequest,
    LimitExceeded,
    StoreUnavailable,
    Unauthenticated,
)
from .request_id import RequestIDFilter, current_request_id
from .run import Run
from .signals import (
    client_banned,
    defer_queue_full,
    key_created,
    key_leaked,
    key_revoked,
    key_rotated,
    key_used,
    request_denied,
    request_would_be_denied,
    store_available,
    store_unavailable,
)

__all__ = [  # noqa: RUF022
    "ApiKey",
    "Ban",
    "Banned",
    "CommonLogFormatter",
    "Composition",
    "ConcurrencyLimit",
    "ConfigError",
    "Cors",
    "Denied",
    "DenyingPolicy",
    "DevFormatter",
    "Exemption",
    "Guard",
    "GuardError",
    "InsufficientScope",
    "InvalidRequest",
    "JSONFormatter",
    "JWT",
    "Limit",
    "LimitExceeded",
    "LimitStatus",
    "LogTiming",
    "Metrics",
    "Middleware",
    "NotGuarded",
    "Phase",
    "Place",
    "Placed",
    "Plan",
    "Policy",
    "Principal",
    "RequestIDFilter",
    "RequireApiKey",
    "RequireAuth",
    "Run",
    "SecureHeaders",
    "Step",
    "StoreUnavailable",
    "Unauthenticated",
    "ban",
    "client_banned",
    "compose",
    "cors",
    "current_api_key",
    "current_principal",
    "current_request_id",
    "defer",
    "defer_queue_full",
    "exempt",
    "key_created",
    "key_leaked",
    "key_revoked",
    "key_rotated",
    "key_used",
    "limit",
    "log_timing",
    "metrics",
    "metrics_view",
    "middleware",
    "protect",
    "request_denied",
    "request_would_be_denied",
    "require_api_key",
    "require_auth",
    "secure_headers",
    "store_available",
    "store_unavailable",
    "timing",
]
