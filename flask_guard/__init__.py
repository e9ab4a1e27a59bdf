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

from typing import TYPE_CHECKING

from .support.lazy import importing

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .access_log import fields as log_fields
    from .access_log.formats import CommonLogFormatter, DevFormatter, JSONFormatter
    from .access_log.log_timing import LogTiming, log_timing
    from .access_log.request_id import RequestIDFilter, current_request_id
    from .access_log.server_timing import timing
    from .audit.silences import Silence, allow
    from .authentication.jwt import JWT
    from .authentication.principal import Principal
    from .authentication.require_auth import RequireAuth, current_principal, require_auth
    from .caching.cache import Cache, cache
    from .compression.compress import Compress, compress
    from .core.denials import (
        Banned,
        Denied,
        InsufficientScope,
        InvalidRequest,
        LimitExceeded,
        StoreUnavailable,
        Unauthenticated,
    )
    from .core.plan import Plan
    from .core.policy import DenyingPolicy, Exemption, Phase, Placed, Policy, Step, Target
    from .core.protect import Composition, compose, exempt, protect
    from .core.request_run import Run
    from .cross_origin.cors import Cors, cors
    from .deferral import defer
    from .errors import ConfigError, GuardError, NotGuarded
    from .function_policy import Middleware, middleware
    from .guard import Guard
    from .keys import ApiKey
    from .keys.require_api_key import RequireApiKey, current_api_key, require_api_key
    from .prometheus.metrics import Metrics, metrics, metrics_view
    from .rate_limits.ban import Ban, ban
    from .rate_limits.concurrent import ConcurrencyLimit
    from .rate_limits.in_view import LimitStatus
    from .rate_limits.limit import Limit, limit
    from .request_rules.require_request import RequireRequest, require_request
    from .request_rules.same_origin import SameOrigin, same_origin
    from .security_headers.response_nonce import csp_nonce
    from .security_headers.secure_headers import SecureHeaders, secure_headers
    from .signals import (
        client_banned,
        csp_violation,
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
    from .support import options, orders
    from .support.options import option

__all__ = [  # noqa: RUF022
    "ApiKey",
    "Ban",
    "Banned",
    "Cache",
    "CommonLogFormatter",
    "Composition",
    "Compress",
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
    "Placed",
    "Plan",
    "Policy",
    "Principal",
    "RequestIDFilter",
    "RequireApiKey",
    "RequireAuth",
    "RequireRequest",
    "Run",
    "SameOrigin",
    "SecureHeaders",
    "Silence",
    "Step",
    "StoreUnavailable",
    "Target",
    "Unauthenticated",
    "allow",
    "ban",
    "cache",
    "client_banned",
    "compose",
    "compress",
    "cors",
    "csp_nonce",
    "csp_violation",
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
    "log_fields",
    "log_timing",
    "metrics",
    "metrics_view",
    "middleware",
    "option",
    "options",
    "orders",
    "protect",
    "request_denied",
    "request_would_be_denied",
    "require_api_key",
    "require_auth",
    "require_request",
    "same_origin",
    "secure_headers",
    "store_available",
    "store_unavailable",
    "timing",
]

__getattr__: Callable[[str], Any] = importing(
    __name__,
    {
        "access_log.fields:log_fields": (),
        "access_log.formats": ("CommonLogFormatter", "DevFormatter", "JSONFormatter"),
        "access_log.log_timing": ("LogTiming", "log_timing"),
        "access_log.request_id": ("RequestIDFilter", "current_request_id"),
        "access_log.server_timing": ("timing",),
        "audit.silences": ("Silence", "allow"),
        "authentication.jwt": ("JWT",),
        "authentication.principal": ("Principal",),
        "authentication.require_auth": ("RequireAuth", "current_principal", "require_auth"),
        "caching.cache": ("Cache", "cache"),
        "compression.compress": ("Compress", "compress"),
        "core.denials": (
            "Banned",
            "Denied",
            "InsufficientScope",
            "InvalidRequest",
            "LimitExceeded",
            "StoreUnavailable",
            "Unauthenticated",
        ),
        "core.plan": ("Plan",),
        "core.policy": ("DenyingPolicy", "Exemption", "Phase", "Placed", "Policy", "Step", "Target"),
        "core.protect": ("Composition", "compose", "exempt", "protect"),
        "core.request_run": ("Run",),
        "cross_origin.cors": ("Cors", "cors"),
        "deferral": ("defer",),
        "errors": ("ConfigError", "GuardError", "NotGuarded"),
        "guard": ("Guard",),
        "keys": ("ApiKey",),
        "keys.require_api_key": ("RequireApiKey", "current_api_key", "require_api_key"),
        "function_policy": ("Middleware", "middleware"),
        "prometheus.metrics": ("Metrics", "metrics", "metrics_view"),
        "rate_limits.ban": ("Ban", "ban"),
        "rate_limits.concurrent": ("ConcurrencyLimit",),
        "rate_limits.in_view": ("LimitStatus",),
        "rate_limits.limit": ("Limit", "limit"),
        "request_rules.require_request": ("RequireRequest", "require_request"),
        "request_rules.same_origin": ("SameOrigin", "same_origin"),
        "security_headers.response_nonce": ("csp_nonce",),
        "security_headers.secure_headers": ("SecureHeaders", "secure_headers"),
        "support.options": ("option",),
        "support.options:options": (),
        "support.orders:orders": (),
        "signals": (
            "client_banned",
            "csp_violation",
            "defer_queue_full",
            "key_created",
            "key_leaked",
            "key_revoked",
            "key_rotated",
            "key_used",
            "request_denied",
            "request_would_be_denied",
            "store_available",
            "store_unavailable",
        ),
    },
)
